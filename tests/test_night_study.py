"""The study of the night: what its figures mean, and that it measures what it is given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adverse_perception.files import write_picture  # noqa: E402
from adverse_perception.frames import UInt8Array  # noqa: E402
from adverse_perception.scores import ConfusionMatrix, ScoreError  # noqa: E402
from tests.conftest import write_segmentation_engine, write_weather_engine  # noqa: E402
from tests.packs import road, write_camvid  # noqa: E402
from tests.toys import TOY  # noqa: E402
from training.calibration import Calibration  # noqa: E402
from training.checkpoints import Checkpoint, save_weights  # noqa: E402
from training.datasets import open_pack, read_image  # noqa: E402
from training.studies import night, night_sheet  # noqa: E402
from training.studies.night_scores import ORACLE, Tally, difference  # noqa: E402
from training.studies.night_sets import NIGHTS, sets_of  # noqa: E402
from training.studies.night_ways import Answer, best_patches  # noqa: E402

SIZE = (48, 64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_camvid(folder / "camvid", test=3, test_day=2, test_dusk=2)
    return folder


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Toy engines, and a toy checkpoint as the night engine."""
    folder, given = tmp_path_factory.mktemp("ways"), []
    for seed, name in enumerate(("clear", "all_weather", "real", "adaptive", "soft_fusion")):
        path = write_segmentation_engine(folder / f"{name}.onnx", seed=seed, size=SIZE)
        given.append(f"{name}={path}")
    torch.manual_seed(0)
    checkpoint = Checkpoint(TOY, TOY.network().eval(), 0, 0.1, ("camvid",))
    save_weights(folder / "last.pt", checkpoint)
    return [*given, f"night={folder / 'last.pt'}"]


def guess(seed: int, truth: UInt8Array, wrong: float = 0.5) -> Answer:
    """An answer in which a share of the blocks of 8x8 pixels is wrong."""
    rng = np.random.default_rng(seed)
    height, width = truth.shape
    blocks = rng.random((height // 8 + 1, width // 8 + 1)) < wrong
    missed = blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    labels = np.where(missed, (truth + 1) % 11, truth).astype(np.uint8)
    return Answer(labels, rng.integers(0, 256, truth.shape, np.uint8))


def tally_of(*answers: tuple[Answer, UInt8Array]) -> Tally:
    tally = Tally()
    for answer, truth in answers:
        tally.add(answer, truth)
    return tally


def calibrated(confidence: list[int], right: list[bool]) -> Calibration:
    calibration = Calibration()
    labels = np.array([right], np.uint8)
    calibration.add(labels, np.array([confidence], np.uint8), np.ones_like(labels))
    return calibration


def test_calibration_error_is_the_formula() -> None:
    # (10, 17] of 255 is the first bin of 15, 255 the last: 3 pixels of mean confidence
    # 44/765 of which one is right, and one that is sure and wrong
    found = calibrated([10, 17, 17, 255], [True, False, False, False])
    assert found.error() == pytest.approx((3 * abs(1 / 3 - 44 / 765) + 1) / 4)


def test_a_confidence_on_a_border_belongs_to_the_bin_below() -> None:
    apart, together = ([17, 18], [False, True]), ([18, 34], [False, True])
    assert calibrated(*apart).error() == pytest.approx((17 / 255 + 237 / 255) / 2)
    assert calibrated(*together).error() == pytest.approx(abs(1 - (18 + 34) / 255) / 2)
    assert calibrated([0], [False]).error() == 0


def test_what_is_right_as_often_as_it_says_is_calibrated_and_the_overconfident_is_not() -> None:
    right = [number < 4 for number in range(5)]
    assert calibrated([204] * 5, right).error() == pytest.approx(0)
    assert calibrated([255] * 5, right).error() == pytest.approx(0.2)


def test_calibration_ignores_what_is_unlabelled_and_refuses_other_shapes() -> None:
    calibration = Calibration()
    plane = np.full((2, 3), 255, np.uint8)
    calibration.add(plane, plane, plane)
    assert np.isnan(calibration.error())
    with pytest.raises(ScoreError, match=r"expected labels and confidence of the truth's shape"):
        calibration.add(plane, plane[:1], plane)


@pytest.mark.parametrize("shape", [(40, 60), (47, 65), (7, 9)])
def test_the_oracle_takes_the_better_answer_patch_by_patch(shape: tuple[int, int]) -> None:
    truth = road(np.random.default_rng(1), *shape)[1]
    one, other = guess(1, truth), guess(2, truth)
    best = best_patches(one, other, truth)
    for top in range(0, shape[0], 20):
        for left in range(0, shape[1], 20):
            patch = np.s_[top : top + 20, left : left + 20]
            right = [(answer.labels[patch] == truth[patch]).sum() for answer in (one, other)]
            chosen = other if right[1] > right[0] else one  # ties take the first
            assert (best.labels[patch] == chosen.labels[patch]).all()
            assert (best.confidence[patch] == chosen.confidence[patch]).all()


def test_the_oracle_is_no_worse_than_either_channel() -> None:
    truth = road(np.random.default_rng(1), 120, 160)[1]
    channels = guess(1, truth), guess(2, truth)
    scores = []
    for answer in (*channels, best_patches(*channels, truth)):
        matrix = ConfusionMatrix()
        matrix.add(answer.labels, truth)
        scores.append((matrix.accuracy(), matrix.miou()))
    assert scores[2] > max(scores[:2])
    assert scores[2][1] > max(miou for _, miou in scores[:2])


def test_unlabelled_pixels_do_not_choose() -> None:
    truth = np.full((20, 20), 255, np.uint8)
    truth[0, 0] = 3
    one = Answer(np.where(truth == 3, 3, 0).astype(np.uint8), truth)
    elsewhere = Answer(np.where(truth == 3, 0, 255).astype(np.uint8), truth)
    assert (best_patches(one, elsewhere, truth).labels == one.labels).all()


def test_share_closed_is_0_at_the_better_channel_and_1_at_the_oracle() -> None:
    assert night.closed(50, 50, 54) == 0
    assert night.closed(54, 50, 54) == 1
    assert night.closed(53, 50, 54) == 0.75
    assert np.isnan(night.closed(50, 50, 50))


def test_a_difference_lies_in_its_interval_and_nothing_differs_from_itself() -> None:
    truths = [road(np.random.default_rng(number), *SIZE)[1] for number in range(12)]
    good, bad = (
        tally_of(*((guess(number, truth, wrong), truth) for number, truth in enumerate(truths)))
        for wrong in (0.2, 0.6)
    )
    found = difference([good, good], [bad, bad])
    assert 0 < found.low < found.found < found.high
    assert found.found == pytest.approx(good.miou() - bad.miou())
    assert difference([good], [good]) == (0, 0, 0)


def test_the_same_night_comes_again_and_gets_darker_with_its_strength(data: Path) -> None:
    sets = {one.name: one for one in sets_of(data, drive_frames=0)}
    again = {one.name: one for one in sets_of(data, drive_frames=0)}
    clean, labels = open_pack(data / "camvid", "test").load(1)
    pictures = [sets[name].load(1)[0] for name in NIGHTS]
    assert (pictures[0] == again[NIGHTS[0]].load(1)[0]).all()
    assert clean.mean() > pictures[0].mean() > pictures[2].mean()
    curve = 255 * (clean / 255) ** (1 / 0.35)
    assert np.abs(sets["lookup"].load(1)[0] - curve).max() <= 1
    assert all((sets[name].load(1)[1] == labels).all() for name in NIGHTS)
    assert [one.count for one in sets_of(data, every=2, drive_frames=0)][:3] == [2, 2, 2]


def test_every_way_is_scored_on_every_set(data: Path, ways: list[str], tmp_path: Path) -> None:
    out = tmp_path / "docs" / "night.md"
    command = [*ways, "--data", str(data), "--frames", "1", "--out", str(out)]
    assert night.main(command) == 0
    figures = json.loads(out.with_suffix(".json").read_text())
    rows = [way.partition("=")[0] for way in ways]
    scores = {row[""]: row for row in figures["miou"]}
    assert list(scores) == [*rows, ORACLE]
    assert scores["clear"]["day loss"] == 0
    assert figures["frames"]["night 0.6"] == 3
    assert figures["frames"]["drive"] == 1
    assert [row[""] for row in figures["gap"]] == ["soft_fusion", "night"]
    assert [row[""] for row in figures["error"]] == rows
    asked = [row[""] for row in figures["asked"]]
    assert asked[1:] == ["night over all_weather, mean night", "night over all_weather, dusk"]
    assert asked[0].startswith("soft_fusion over ")
    times = {row[""]: row["times clear"] for row in figures["time"]}
    assert times["clear"] == 1
    assert times["night"] is None  # by PyTorch, which says nothing of the vehicle
    text = out.read_text()
    folder = Path(ways[-1].partition("=")[2]).parent.name
    assert f"night={folder}/last.pt --every 1 --frames 1`" in text
    assert "## IoU by class, dusk, in percent" in text


def test_a_single_engine_is_measured_without_channels_and_rivals(
    data: Path, ways: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "night.md"
    command = [ways[2], "--data", str(data), "--frames", "0", "--out", str(out)]
    assert night.main([*command, "--every", "3"]) == 0
    figures = json.loads(out.with_suffix(".json").read_text())
    assert figures["asked"] == figures["gap"] == []
    assert "drive" not in figures["frames"]
    assert "day loss" not in figures["miou"][0]
    assert "Asked for" not in out.read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("engines/clear.onnx", "expected NAME=PATH, found 'engines/clear.onnx'"),
        ("=clear.onnx", "expected NAME=PATH"),
        ("clear=", "expected NAME=PATH"),
        ("night=none.onnx", "none.onnx"),
        ("night=none.pt", "none.pt: expected a checkpoint, found no file"),
        ("night=weather.onnx", "found one of weather, which labels nothing"),
    ],
)
@pytest.mark.parametrize("study", [night, night_sheet])
def test_a_way_that_is_none_is_named(
    study: object,
    given: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_weather_engine(tmp_path / "weather.onnx")
    assert study.main([given]) == 2  # type: ignore[attr-defined]
    assert said in capsys.readouterr().err


def test_a_name_comes_once(ways: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert night.main([ways[0], ways[0]]) == 2
    assert "expected every name once, found clear twice" in capsys.readouterr().err


def test_a_sheet_shows_pictures_of_ones_own_beside_every_way(
    ways: list[str], tmp_path: Path
) -> None:
    write_picture(tmp_path / "street.png", road(np.random.default_rng(1), 96, 128)[0])
    out = tmp_path / "sheet.png"
    images = ["--images", str(tmp_path / "street.png"), str(tmp_path / "street.png")]
    assert night_sheet.main([*ways[:2], *images, "--out", str(out)]) == 0
    sheet = read_image(out)
    assert sheet.shape == (2 * 240 + night_sheet.legend(960).shape[0], 3 * 320, 3)
    assert (sheet[120:230, :320] != sheet[120:230, 320:640]).any()


def test_a_sheet_of_drawn_streets_ends_with_the_truth(
    ways: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = road(np.random.default_rng(1), *SIZE)
    monkeypatch.setattr(night_sheet, "drawn_frames", lambda: ([frame[0]], [frame[1]]))
    assert night_sheet.main([*ways[:1], "--out", str(tmp_path / "sheet.png")]) == 0
    assert read_image(tmp_path / "sheet.png").shape[1] == 3 * 320


def test_a_sheet_has_room_for_six(ways: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert night_sheet.main([*ways, "more=engines/clear.onnx"]) == 2
    assert "expected at most 6 in one sheet, found 7" in capsys.readouterr().err
