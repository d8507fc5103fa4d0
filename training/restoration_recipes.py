"""Recipes of networks that give back the picture without the weather.

Narrow ones that two CPU cores train in an hour or two, and the paper's, for a GPU, as `*_full`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from training.recipes import NOTICEABLE, RECIPES, Augmentation, Recipe, Schedule, Stage

_MATCHING = {"matching": 0.005}
_DROPS = Augmentation(photometry=0.3, weather=1.0, conditions={"drops": 1.0}, strength=NOTICEABLE)


@dataclass(frozen=True)
class _Plan:
    """The stages of a training of a derainer.

    Attributes:
        name: of the recipe.
        role: `srrn`, or `durn_r`, which has no mask network.
        stages: their names.
        guided: a frozen segmenter's features are matched in the last stage.
    """

    name: str
    role: str
    stages: tuple[str, ...]
    guided: bool = False


# Shares of the steps, and rates, from the paper's section 5: 155, 173 and 90 epochs (rounded)
# at 2e-4, 2e-4 and 1e-3. One-stage training takes as long as coarse and refinement together.
_STAGES = {
    "mask": Stage("mask", 0.2, ("mask.",)),
    "coarse": Stage("coarse", 0.45, ("coarse.",)),
    "refine": Stage("refine", 0.35, ("refine.",), rate=5.0),
    "joint": Stage("joint", 0.8, ("coarse.", "refine.")),
}

_PLANS = (
    _Plan("srrn", "srrn", ("mask", "coarse", "refine"), guided=True),
    _Plan("srrn_plain", "srrn", ("mask", "coarse", "refine")),
    _Plan("srrn_ojt", "srrn", ("mask", "joint"), guided=True),
    _Plan("srrn_coarse", "srrn", ("mask", "coarse")),
    _Plan("durn_r", "durn_r", ("coarse", "refine"), guided=True),
    _Plan("durn_r_plain", "durn_r", ("coarse", "refine")),
    _Plan("durn_r_ojt", "durn_r", ("joint",), guided=True),
    _Plan("durn", "durn_r", ("coarse",)),
)

_WIDTHS = {"srrn": 8, "durn_r": 32}
"""Of the narrow networks: a half and a quarter of the paper's."""
_FULL_WIDTHS = {"srrn": 16, "durn_r": 128}


def _narrow(plan: _Plan) -> Recipe:
    stages = tuple(_STAGES[name] for name in plan.stages)
    return Recipe(
        plan.name,
        plan.role,
        ("rain",),
        Schedule(  # narrow networks and short runs bear five times the paper's rates
            6000, batch=4, rate=1e-3, decay=0.0, betas=(0.5, 0.999), stages=stages
        ),
        width=_WIDTHS[plan.role],
        crop=(192, 256),
        augmentation=_DROPS,
        losses=_MATCHING if plan.guided else {},
    )


def _full(plan: _Plan) -> Recipe:
    """Widths, crop, batch and rates of the paper."""
    recipe = _narrow(plan)
    return replace(
        recipe,
        name=f"{plan.name}_full",
        schedule=replace(recipe.schedule, steps=90_000, batch=12, rate=2e-4),
        width=_FULL_WIDTHS[plan.role],
        size=(512, 1024),
        crop=(512, 512),
    )


DERAINING = {recipe.name: recipe for plan in _PLANS for recipe in (_narrow(plan), _full(plan))}
"""Two-stage, plain and one-stage trainings of both derainers, and their first networks alone."""

_ADVERSE = Augmentation(
    photometry=0.3,
    weather=0.9,  # and now and then a picture to leave alone
    conditions={"fog": 0.25, "rain": 0.25, "drops": 0.25, "reflection": 0.25},
)
_SIX = Augmentation(
    photometry=0.0,  # nothing is changed but what the degradation changes
    weather=0.95,
    conditions=dict.fromkeys(
        ("watermark", "irregular_mask", "noise", "blur", "jpeg", "chromatic_aberration"), 1 / 6
    ),
)

# 50 epochs of SGA, 100 of EGS, half of them by maps of the labels, 20 of both; section 2.3 of the
# reference design for SR-Net (ours).
_EGS = (Stage("egs_labels", 50, ("egs.",)), Stage("egs", 50, ("egs.",)))
_SRNET = Recipe(
    "srnet",
    "srnet",
    ("rain", "fog"),
    Schedule(
        5100,
        batch=4,
        rate=1e-3,  # narrow networks and short runs bear ten times the design's
        decay=0.01,
        stages=(
            Stage("sga", 50, ("sga.",)),
            *_EGS,
            Stage("joint", 20, ("sga.", "egs."), rate=0.1),
        ),
    ),
    width=16,
    crop=(192, 256),
    augmentation=_ADVERSE,
    losses={"cooperation": 0.1},
)


def restoring_by(source: str, recipe: Recipe) -> Recipe:
    """The same restorer by another map than the refined one: a row of the ablation.

    EGS learns as long as it does in the whole, SGA not at all.

    Args:
        source: `s0` the frozen segmenter's map, `label` the true one, `constant` none.
        recipe: of the whole SR-Net.
    """
    stages = (*_EGS, Stage("joint", 20, ("egs.",), rate=0.1))
    shares = [sum(stage.share for stage in some) for some in (stages, recipe.schedule.stages)]
    steps = round(recipe.schedule.steps * shares[0] / shares[1])
    return replace(
        recipe,
        name=f"{recipe.name}_{source}",
        schedule=replace(recipe.schedule, steps=steps, stages=stages),
        options={source: True},
    )


def _full_srnet(recipe: Recipe) -> Recipe:
    """The reference widths, and crops between its 256 and 512."""
    return replace(
        recipe,
        name=f"{recipe.name}_full",
        schedule=replace(recipe.schedule, steps=85_000, batch=8, rate=1e-4),
        width=64,
        size=(512, 1024),
        crop=(384, 384),
    )


_REGULAR = replace(_SRNET, name="srnet_regular", conditions=("clear",), augmentation=_SIX)
_WHOLE = (_SRNET, _REGULAR, _full_srnet(_SRNET), _full_srnet(_REGULAR))
_ROWS = (restoring_by(source, _SRNET) for source in ("s0", "label", "constant"))
COOPERATING = {recipe.name: recipe for recipe in (*_WHOLE, *_ROWS)}
"""SR-Net in adverse weather and for the six regular degradations, and its rows of the ablation."""

_JOINT = RECIPES["joint"]
_SMALL = replace(_JOINT.schedule, steps=600, batch=6)


def _small(name: str, changed: Mapping[str, float], options: Mapping[str, bool]) -> Recipe:
    """The joint network in a short training, with a part changed."""
    return replace(
        _JOINT,
        name=name,
        schedule=_SMALL,
        crop=(192, 256),
        losses={**_JOINT.losses, **changed},
        options=options,
    )


ABLATED = {
    recipe.name: recipe
    for recipe in (
        _small("joint_small", {}, {}),
        _small("joint_unmodulated", {}, {"modulated": False}),
        _small("joint_unfilled", {}, {"filled": False}),
        _small("joint_unrefined", {}, {"refined": False}),
        _small("joint_undistilled", {"distillation": 0.0}, {}),
        _small("joint_matched", {"matching": 0.005}, {}),
        replace(
            _small("joint_unrestored", {"restoration": 0.0, "occlusion": 0.0}, {}),
            schedule=replace(_SMALL, stages=(Stage("joint"),)),
        ),
    )
}
"""What each part of the joint network and of its loss is worth, at a scale of minutes."""

_JOINT_DROPS = replace(
    _JOINT,
    name="joint_drops",
    schedule=replace(_JOINT.schedule, steps=700, batch=5, stages=(Stage("joint"),)),
    augmentation=replace(
        _JOINT.augmentation, weather=1.0, conditions={"drops": 1.0}, strength=NOTICEABLE
    ),
    losses={**_JOINT.losses, "occlusion": 3.0},
)
"""To begin `joint` with: drops are found sooner where there is nothing else."""

RESTORATION_RECIPES = DERAINING | COOPERATING | ABLATED | {_JOINT_DROPS.name: _JOINT_DROPS}
