"""Studies measure what they are given and write what they measured: tables and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.conftest import write_joint_engine, write_segmentation_engine  # noqa: E402
from tests.packs import road  # noqa: E402
from tests.toys import TOY, write_data  # noqa: E402
from training.checkpoints import EVERY_RECIPE, Checkpoint, save_weights  # noqa: E402
from training.datasets import open_pack  # noqa: E402
from training.recipes import Recipe  # noqa: E402
from training.studies import cooperation, derain, gallery, joint, restorers, scoreboard  # noqa: E402
from training.studies.tables import table  # noqa: E402
from training.synthesis import REGULAR  # noqa: E402
from training.trials import OTHERS, OWN  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def untrained(recipe: Recipe, path: Path, step: int = 0) -> Path:
    """A checkpoint of a network that has learnt nothing, another one for every step."""
    torch.manual_seed(step)
    network = recipe.network().eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.02 * step * torch.randn_like(value))
    save_weights(path, Checkpoint(recipe, network, step, 0.1, ("camvid",)))
    return path


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(TOY, tmp_path_factory.mktemp("guide") / "toy.pt")


def small(name: str, width: int) -> Recipe:
    return replace(EVERY_RECIPE[name], width=width, size=TOY.size, crop=TOY.crop)


def test_table_says_a_dash_where_there_is_no_figure() -> None:
    rows = [{"": "a", "mIoU": 0.51234, "ms": None}, {"": "b", "mIoU": float("nan"), "ms": 7.0}]
    assert table(rows, {"ms": 1}).splitlines() == [
        "|  | mIoU | ms |",
        "| --- | --- | --- |",
        "| a | 0.512 | - |",
        "| b | - | 7.0 |",
    ]


def test_scoreboard_has_every_way_in_every_weather(data: Path, tmp_path: Path) -> None:
    engines = tmp_path / "engines"
    engines.mkdir()
    for name in ("clear", "all_weather"):
        write_segmentation_engine(engines / f"{name}.onnx", size=(48, 64))
    write_joint_engine(engines / "joint.onnx", size=(48, 64))
    out = tmp_path / "docs" / "board.md"
    command = ["--engines", str(engines), "--data", str(data), "--out", str(out)]
    assert scoreboard.main([*command, "--drive-frames", "1"]) == 0
    figures = json.loads(out.with_suffix(".json").read_text())
    board = figures["CamVid test, 3 frames"]
    assert len(board) == 6
    assert all(set(row) == {*OWN, *OTHERS} for row in board.values())
    blind, restoring = board["clear engine"]["fog"], board["joint engine, restoring"]["fog"]
    assert blind["psnr"] > restoring["psnr"]  # the toy "restores" to the negative
    assert board["joint engine"]["fog"]["psnr"] is None
    clean = board["clear engine on clean frames"]
    assert clean["fog_600m"]["miou"] == clean["fog_150m"]["miou"]
    assert {"machine", "The drawn drive, 1 frames"} <= figures.keys()
    text = out.read_text()
    assert "python -m training.studies.scoreboard" in text
    assert "mean, other" in text


def test_scoreboards_two_steps_can_begin_with_another_restorer(
    data: Path, segmenter: Path, tmp_path: Path
) -> None:
    srnet = untrained(small("srnet", 4), tmp_path / "srnet" / "last.pt")
    for name in ("clear", "all_weather"):
        write_segmentation_engine(tmp_path / f"{name}.onnx", size=(48, 64))
    write_joint_engine(tmp_path / "joint.onnx", size=(48, 64))
    command = ["--engines", str(tmp_path), "--data", str(data), "--drive-frames", "0"]
    command += ["--weathers", "fog", "rain"]
    command += ["--out", str(tmp_path / "board.md")]
    assert scoreboard.main([*command, "--restorer", str(srnet), "--guide", str(segmenter)]) == 0
    assert "--restorer srnet/last.pt" in (tmp_path / "board.md").read_text()
    (board,) = (
        figures
        for place, figures in json.loads((tmp_path / "board.json").read_text()).items()
        if place.startswith("CamVid")
    )
    two_steps, joint_alone = board["restore, then segment"], board["joint engine, restoring"]
    assert two_steps["fog"]["psnr"] != joint_alone["fog"]["psnr"]
    assert two_steps.keys() == {"fog", "rain"}
    text = (tmp_path / "board.md").read_text()
    assert "| fog | rain | mean, own |" in text
    assert "--weathers fog rain" in text


def test_scoreboard_without_a_joint_engine_says_what_is_missing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segmentation_engine(tmp_path / "clear.onnx", size=(48, 64))
    assert scoreboard.main(["--engines", str(tmp_path), "--data", str(data)]) == 2
    assert "all_weather.onnx" in capsys.readouterr().err


def test_clean_pictures_are_judged_perfect(data: Path, segmenter: Path) -> None:
    pack = open_pack(data / "camvid", "test")
    cases = restorers.cases_of(pack, ["drops", "fog"], 1)
    label = restorers.segmenter(segmenter)
    best = restorers.judge(lambda case: case.trial.clean, cases, label, label).figures()
    worst = restorers.judge(lambda case: case.trial.image, cases, label, label).figures()
    assert best["PSNR"] > 300 > worst["PSNR"]
    assert best["SSIM"] == pytest.approx(1)
    assert best["mIoU, guide"] == best["mIoU, second"]


def test_deraining_study_lists_trainings_and_correlates_kept_checkpoints(
    data: Path, segmenter: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    for name in ("srrn", "durn"):
        untrained(small(name, 4), runs / name / "last.pt")
    whole = small("srrn", 4)
    last_stage = replace(whole.schedule, stages=whole.schedule.stages[-1:])
    untrained(whole, runs / "srrn" / "kept" / "000000.pt", 1)  # of the first stage: left out
    for step in range(1, 5):
        recipe = replace(whole, schedule=last_stage)
        untrained(recipe, runs / "srrn" / "kept" / f"{step:06d}.pt", step)
    out = tmp_path / "derain.md"
    command = [str(runs), "--data", str(data), "--guide", str(segmenter)]
    command += ["--second", str(segmenter), "--every", "1", "--out", str(out)]
    assert derain.main(command) == 0
    figures = json.loads(out.with_suffix(".json").read_text())
    titles = [row[""] for row in figures["rows"]]
    assert titles == ["as the camera sees it", "A/C/R + TJT", "DuRN", "clean"]
    assert figures["rows"][1]["paper PSNR"] == 34.57
    assert figures["rows"][-1]["PSNR, metaball drops"] > 300
    assert [row["scores"] for row in figures["rho"]] == [
        "PSNR (luma) and SSIM",
        "PSNR (luma) and mIoU, guide",
        "SSIM and mIoU, guide",
    ]
    first = figures["rho"][0]
    assert first["checkpoints"] == "4"
    assert -1 <= first["from"] <= first["rho"] <= first["to"] <= 1


def test_cooperation_study_has_its_rows_and_the_regular_degradations(
    data: Path, segmenter: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    for name in ("srnet", "srnet_s0", "srnet_label", "srnet_constant"):
        untrained(small(name, 4), runs / name / "last.pt")
    untrained(small("srnet_regular", 4), runs / "srnet_regular" / "last.pt", step=3)
    rival = write_segmentation_engine(tmp_path / "all_weather.onnx", size=(48, 64))
    out = tmp_path / "cooperation.md"
    command = [str(runs), "--data", str(data), "--guide", str(segmenter), "--every", "1"]
    command += ["--second", str(segmenter), "--rival", str(rival), "--out", str(out)]
    assert cooperation.main(command) == 0
    figures = json.loads(out.with_suffix(".json").read_text())
    assert len(figures["rows"]) == 9
    regular = {row[""]: row for row in figures["regular"]}
    told = {"watermark, told where", "irregular_mask, told where"}
    assert regular.keys() == {*REGULAR, *told}
    hidden = regular["watermark"], regular["watermark, told where"]
    assert hidden[0]["PSNR before"] == hidden[1]["PSNR before"]
    assert hidden[0]["PSNR after"] != hidden[1]["PSNR after"]
    seen, refined = (figures["rows"][number]["mIoU, guide"] for number in (0, 1))
    assert refined == pytest.approx(seen, abs=0.02)  # SGA begins with the segmenter's own map
    assert 0 <= seen <= 1


def test_joint_study_scores_what_it_finds(data: Path, tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "joint.md"
    for name in ("joint_small", "joint_unrefined"):
        untrained(small(name, 16), runs / name / "last.pt")
    command = [str(runs), "--data", str(data), "--every", "1", "--out", str(out)]
    assert joint.main(command) == 0
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert [row[""] for row in rows] == ["whole", "without the second step"]
    assert all(np.isfinite([row["mIoU"], row["PSNR"], row["SSIM"]]).all() for row in rows)


@pytest.mark.parametrize("study", [derain, cooperation, joint])
def test_study_of_nothing_says_what_to_train(
    study: object, data: Path, segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(tmp_path), "--data", str(data)]
    if study is not joint:
        command += ["--guide", str(segmenter), "--second", str(segmenter)]
    if study is cooperation:
        rival = write_segmentation_engine(tmp_path / "all_weather.onnx", size=(48, 64))
        command += ["--rival", str(rival)]
    assert study.main(command) == 2  # type: ignore[attr-defined]
    said = capsys.readouterr().err
    assert "expected" in said
    assert "found none; train" in said


def test_gallery_shows_every_weather_in_four_tiles(tmp_path: Path) -> None:
    engine = write_joint_engine(tmp_path / "joint.onnx", size=(48, 64))
    cv2.imwrite(str(tmp_path / "street.png"), road(np.random.default_rng(1), 96, 128)[0])
    out = tmp_path / "sheet.png"
    command = ["--engine", str(engine), "--images", str(tmp_path / "street.png")]
    assert gallery.main([*command, "--out", str(out)]) == 0
    sheet = cv2.imread(str(out))
    assert sheet.shape == (len(OWN) * 96, 4 * 128, 3)
    seen, restored = sheet[40:90, :128], sheet[40:90, 128:256]
    assert np.abs(seen.astype(int) + restored - 255).mean() < 25  # the toy "restores" the negative


def test_gallery_wants_pictures_of_one_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = write_joint_engine(tmp_path / "joint.onnx", size=(48, 64))
    for name, height in (("one.png", 96), ("two.png", 90)):
        cv2.imwrite(str(tmp_path / name), np.zeros((height, 128, 3), np.uint8))
    images = [str(tmp_path / name) for name in ("one.png", "two.png")]
    assert gallery.main(["--engine", str(engine), "--images", *images]) == 2
    assert "two.png: expected the size of one.png (96, 128)" in capsys.readouterr().err


def test_gallery_without_an_engine_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gallery.main(["--engine", str(tmp_path / "joint.onnx")]) == 2
    assert "joint.onnx" in capsys.readouterr().err
