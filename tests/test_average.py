"""Averaging runs that began alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.nights import toy_of  # noqa: E402
from tests.toys import ALONE, TOY, TOY_WEATHER  # noqa: E402
from training import average  # noqa: E402
from training.checkpoints import open_checkpoint  # noqa: E402
from training.night_recipes import NIGHT_RECIPES  # noqa: E402
from training.recipes import Recipe  # noqa: E402
from training.run import Run  # noqa: E402


def checkpoint(recipe: Recipe, folder: Path, *learnt_from: str) -> Path:
    run = Run(recipe, folder, ALONE)
    run.learnt_from = learnt_from
    run.save()
    return run.checkpoint


def test_mean_has_the_shares_asked_for(tmp_path: Path) -> None:
    paths = [
        checkpoint(replace(TOY, seed=seed), tmp_path / str(seed), "camvid", f"set_{seed}")
        for seed in (1, 2)
    ]
    out = tmp_path / "mean.pt"
    command = [f"{path}={share}" for path, share in zip(paths, (3, 1), strict=True)]
    assert average.main([*command, "--out", str(out)]) == 0
    one, other, mean = (open_checkpoint(path) for path in (*paths, out))
    for name, value in mean.network.state_dict().items():
        wanted = 0.75 * one.network.state_dict()[name] + 0.25 * other.network.state_dict()[name]
        assert torch.allclose(value.double(), wanted.double(), atol=1e-6)
    assert mean.learnt_from == ("camvid", "set_1", "set_2")


def test_segmenter_of_an_adaptive_channel_counts(tmp_path: Path) -> None:
    plain = checkpoint(TOY, tmp_path / "plain")
    adaptive = checkpoint(toy_of(NIGHT_RECIPES["night_adaptive"]), tmp_path / "adaptive")
    mean = average.averaged([(plain, 1e-9), (adaptive, 1.0)]).network.state_dict()
    wanted = open_checkpoint(adaptive).network.state_dict()
    for name, value in mean.items():
        assert torch.allclose(value, wanted[f"segmenter.{name}"], atol=1e-6)


def test_others_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, weather = checkpoint(TOY, tmp_path / "a"), checkpoint(TOY_WEATHER, tmp_path / "b")
    out = ["--out", str(tmp_path / "mean.pt")]
    assert average.main([f"{plain}=1", f"{weather}=1", *out]) == 2
    assert "expected weights for" in capsys.readouterr().err
    for share in ("0", "-1", "nan", "inf"):
        assert average.main([f"{plain}=1", f"{plain}={share}", *out]) == 2
        assert "expected numbers above 0" in capsys.readouterr().err
    adaptive, wider = (toy_of(NIGHT_RECIPES[f"night_adaptive{full}"]) for full in ("", "_full"))
    both = (checkpoint(one, tmp_path / str(n)) for n, one in enumerate((adaptive, wider)))
    assert average.main([*(f"{path}=1" for path in both), *out]) == 2
    assert "with other parts" in capsys.readouterr().err
    assert average.main([f"{tmp_path / 'none.pt'}=1", *out]) == 2
    assert "found no file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        average.main([f"{plain}=much", *out])
    assert "expected CHECKPOINT=SHARE with a number" in capsys.readouterr().err
    assert not (tmp_path / "mean.pt").exists()
