"""Recipes for the dark: NiSeNet (Nag et al. 2019), and what came after it."""

from __future__ import annotations

from dataclasses import replace

from training.recipes import Augmentation, Recipe, Schedule, Stage

_DARK = Augmentation(
    photometry=0.6,
    weather=0.9,  # and now and then a day, which dusk is nearer to
    conditions={"night": 1.0},
)

_REAL = Recipe(
    "night_real",
    "segmentation",
    ("night",),
    Schedule(1500, rate=8e-4),
    augmentation=_DARK,
    losses={"brier": 1.0},
)

_ADAPTIVE = replace(
    _REAL,
    name="night_adaptive",
    role="adaptive",
    schedule=Schedule(
        1500,
        batch=4,
        rate=8e-4,
        # Judges that are much faster than the segmenter are always right, and teach nothing.
        stages=(Stage(rates={"judge": 0.4}),),
        curve="poly",
    ),
    losses={"auxiliary": 0.1, "adversarial": 0.001, "adversarial_auxiliary": 0.0002},
    options={"judge": 32},
)

_SELF_TRAINING = replace(
    _REAL,
    name="night_self_training",
    method="self_training",
    schedule=Schedule(1500, batch=4, rate=8e-4),
    losses={"target": 0.5},
)


def _fusion(kind: str, batch: int) -> Recipe:
    """Begun with both channels (`--init REAL ADAPTIVE`), which learn no more."""
    return replace(
        _REAL,
        name=f"night_fusion_{kind}",
        role="fusion",
        schedule=Schedule(300, batch=batch, rate=2e-3, stages=(Stage(trains=("fuse.",)),)),
        losses={},
        options={"fusion": kind},
    )


_PATCHES = _fusion("patch", 2)  # some three hundred patches a picture
_SOFT = _fusion("soft", 8)

_NIGHT = replace(
    _REAL,
    name="night",
    method="distilling",
    schedule=Schedule(1500, batch=4, rate=8e-4),
    crop=(360, 480),
    augmentation=replace(_DARK, scales=(0.9, 1.8), weather=0.8),
    losses={"brier": 1.0, "privileged": 0.5, "target": 0.25},
)


def _full(recipe: Recipe) -> Recipe:
    """Of the paper: ResNet-101; for a GPU. What decides between channels stays as it is."""
    schedule = replace(recipe.schedule, steps=30_000, batch=8, rate=2.5e-4)
    return replace(
        recipe,
        name=f"{recipe.name}_full",
        schedule=recipe.schedule if recipe.role == "fusion" else schedule,
        backbone="resnet101",
        width=256,
        size=(512, 1024),
        crop=(512, 512),
    )


_OTHERS = (_REAL, _SELF_TRAINING, _PATCHES, _SOFT, _NIGHT)
NIGHT_RECIPES = {
    recipe.name: recipe
    for recipe in (
        *_OTHERS,
        _ADAPTIVE,
        *(_full(one) for one in _OTHERS),
        replace(_full(_ADAPTIVE), options={}),  # judges as wide as the paper's
    )
}
"""Both channels, what decides between them, self-training, and the network that drives."""
