"""Weather that scores are measured in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.packs import road, write_camvid  # noqa: E402
from tests.toys import LIGHT, TOY  # noqa: E402
from training.datasets import open_pack  # noqa: E402
from training.evaluate import VALIDATION_EVERY, restored_psnr  # noqa: E402
from training.methods import Batch  # noqa: E402
from training.recipes import RECIPES  # noqa: E402
from training.restoration_recipes import RESTORATION_RECIPES  # noqa: E402
from training.restoration_scores import psnr  # noqa: E402
from training.synthesis import SynthesisError, estimate_depth, regular, render  # noqa: E402
from training.trials import FOGS_M, OTHERS, OWN, trial_of  # noqa: E402

IMAGE, LABELS = road(np.random.default_rng(4), 96, 128)


@pytest.mark.parametrize("name", [*OWN, *OTHERS])
def test_trial_is_the_same_in_every_run_and_another_on_every_frame(name: str) -> None:
    first, again, other = (trial_of(IMAGE, name, number, labels=LABELS) for number in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.occlusion, again.occlusion)
    assert not np.array_equal(first.image, first.clean)
    if name not in FOGS_M:  # the same fog lies on all
        assert not np.array_equal(first.image, other.image)


def test_thicker_fog_hides_more() -> None:
    trials = [trial_of(IMAGE, name, 0, labels=LABELS) for name in FOGS_M]
    changed = [np.abs(t.image.astype(int) - t.clean).mean() for t in trials]
    assert changed == sorted(changed)
    assert all(np.array_equal(t.clean, IMAGE) for t in trials)


def test_occlusion_is_where_drops_are() -> None:
    trial = trial_of(IMAGE, "metaball_drops", 1, labels=LABELS)
    changed = np.abs(trial.image.astype(int) - trial.clean).max(2) > 0
    assert trial.occlusion.max() > 0.5
    assert not changed[trial.occlusion == 0].any()


def test_regular_degradations_are_tried_at_their_heaviest() -> None:
    depth = estimate_depth(IMAGE, LABELS)
    seen = trial_of(IMAGE, "blur", 3, labels=LABELS).image
    heaviest, lighter = (render(IMAGE, depth, regular("blur", level)) for level in (4, 3))
    np.testing.assert_array_equal(seen, heaviest)
    assert not np.array_equal(seen, lighter)


def test_no_recipe_trains_on_the_generators_kept_for_tests() -> None:
    for recipe in (RECIPES | RESTORATION_RECIPES).values():
        assert not set(recipe.augmentation.conditions) & set(OTHERS), recipe.name


def test_unknown_trial_is_named() -> None:
    with pytest.raises(SynthesisError, match="'hail'"):
        trial_of(IMAGE, "hail", 0)


class LeavingAlone:
    """A method that restores nothing."""

    def loss(self, network: torch.nn.Module, batch: Batch, stage: str) -> torch.Tensor:
        return torch.zeros(())

    def restore(self, network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
        return image


def test_validation_looks_at_every_weather_of_a_recipe_in_turn(tmp_path: Path) -> None:
    write_camvid(tmp_path / "camvid", val=2 * VALIDATION_EVERY + 1)  # two of them are looked at
    pack = open_pack(tmp_path / "camvid", "val")
    augmentation = replace(LIGHT, conditions={"fog": 0.5, "clear": 0.5})
    recipe, network = replace(TOY, augmentation=augmentation), torch.nn.Conv2d(1, 1, 1)
    trial = trial_of(pack.load(0)[0], "fog", 0)
    foggy, clear = psnr(trial.image, trial.clean), psnr(trial.clean, trial.clean)
    found = restored_psnr(recipe, network, pack, LeavingAlone())
    assert found == pytest.approx((foggy + clear) / 2)
