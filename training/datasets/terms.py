"""On what terms data may be used, and whom to cite: a line each."""

from __future__ import annotations

TERMS = {
    "acdc": "non-commercial use, cite Sakaridis et al. 2021",
    "ade20k": "non-commercial research use (images), cite Zhou et al. 2017",
    "bdd100k": "the licence on its site, for research among other uses, cite Yu et al. 2020",
    "camvid": "research use (CC BY-NC 4.0), cite Brostow et al. 2008 and 2009",
    "celebamask_hq": "non-commercial research use, cite Lee et al. 2020",
    "cityscapes": "non-commercial use, no passing on, cite Cordts et al. 2016",
    "coco_stuff": "annotations CC BY 4.0, images on Flickr's terms, cite Caesar et al. 2018",
    "dark_zurich": "non-commercial use, cite Sakaridis et al. 2019",
    "fog_dawn": "research use, cite Kenk and Hassaballah 2020",
    "foggy_cityscapes": "terms of Cityscapes, cite Sakaridis et al. 2018 and Cordts et al. 2016",
    "idd": "non-commercial research use, cite Varma et al. 2019",
    "idd_lite": "non-commercial research use, cite Varma et al. 2019",
    "imagenet": "weights of a backbone: non-commercial research use, cite Russakovsky et al. 2015",
    "kitti_semantic": "CC BY-NC-SA 3.0, cite Geiger et al. 2013 and Alhaija et al. 2018",
    "mapillary_vistas": "CC BY-NC-SA 4.0, cite Neuhold et al. 2017",
    "night_rain_clips": "research use",
    "nighttime_driving": "non-commercial use, cite Dai and Van Gool 2018",
    "rain_cityscapes": "terms of Cityscapes, cite Hu et al. 2019 and Cordts et al. 2016",
    "raindrop_cityscapes": "terms of Cityscapes, cite Guo et al. 2020 and Cordts et al. 2016",
    "street": "drawn by this project's street renderer, Apache-2.0",
    "undd": "stated by no one: ask its authors, cite Nag et al. 2019",
    "voc2012": "images on Flickr's terms, cite Everingham et al. 2012",
}
TERMS |= {
    "acdc_night": TERMS["acdc"],
    "bdd100k_night": TERMS["bdd100k"],
    "vistas_night": TERMS["mapillary_vistas"],
}
"""Data sets that engines here learn from, and on what terms."""
