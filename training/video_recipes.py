"""Recipes of networks that carry a keyframe's labels along: Zhuang et al. 2020.

`davss` has the paper's flow, DMNet and CFNet at their full size behind our clear segmenter;
`davss_full` has the paper's segmenter and crops too, for GPUs. Each stage by itself:

    python -m training.train davss --stages distortion --init runs/davss/last.pt --out runs/stage1
"""

from __future__ import annotations

from dataclasses import replace

from training.networks.xception import XCEPTION
from training.recipes import RECIPES, Augmentation, Recipe, Schedule, Stage

# The paper begins with trained flow, which is a stage of its own here. DMNet's 764 parameters
# bear a high rate, and need it where a run is much shorter than the paper's 100 epochs.
_STAGES = (
    Stage("flow", 0.45, ("flow.",)),
    Stage("distortion", 0.1, ("distortion.",), rate=10.0),
    Stage("correction", 0.45, ("flow.", "correction.")),
)

_DAVSS = Recipe(
    "davss",
    "davss",
    ("clear",),
    Schedule(4000, batch=4, rate=4e-4, decay=0.0, stages=_STAGES),
    width=32,
    crop=(256, 384),
    data={"camvid": 0.5, "street": 0.5},
    augmentation=Augmentation(scales=(0.9, 1.6), photometry=0.3),
    rare_class_power=0.0,  # no weights of classes in the paper
    losses={"photometric": 10.0},  # an error of a pixel at 1/4 costs about as much either way
)

_DAVSS_FULL = replace(
    _DAVSS,
    name="davss_full",
    # Of the paper: Adam at 1e-4 without decay, 4 crops a GPU.
    schedule=replace(
        _DAVSS.schedule,
        steps=180_000,
        rate=1e-4,
        stages=(_STAGES[0], replace(_STAGES[1], rate=1.0), _STAGES[2]),
    ),
    backbone=XCEPTION,
    size=(1024, 2048),
    crop=(512, 1024),
)

_KEYFRAMES = replace(
    RECIPES["clear_full"], name="keyframe_full", backbone=XCEPTION, width=32, size=(1024, 2048)
)
"""The paper's segmenter, to guide `davss_full`; the authors do not say how they trained it."""

# The segmenter begins as the key network's. Where it counts is learnt first; at the rate at which
# that is learnt, it would forget what trees look like within 200 steps.
_LIGHT_STAGES = (
    Stage("distortion", 0.4, ("weigh.",)),
    Stage("correction", 0.6, rate=0.05),
)
_CORRECTION = Recipe(
    "correction",
    "correction",
    ("clear",),
    Schedule(1200, batch=12, rate=2e-3, stages=_LIGHT_STAGES),
    size=(216, 288),
    crop=(432, 576),  # what it sees in a drive: at two thirds of that its context is another
    data={"street": 0.25, "camvid": 0.45, "idd_lite": 0.15, "kitti_semantic": 0.15},
    augmentation=Augmentation(scales=(0.9, 1.6), photometry=0.5),
    losses={"distortion": 0.2, "distillation": 0.5, "seeing": 0.5},
)

_LARGE = replace(_CORRECTION, name="correction_large", options={"shrunk": (5, 6)})
"""A fifth of the key network's cost instead of a ninth."""

VIDEO_RECIPES = {
    recipe.name: recipe for recipe in (_CORRECTION, _LARGE, _DAVSS, _DAVSS_FULL, _KEYFRAMES)
}
