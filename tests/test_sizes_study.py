"""The study of working sizes: what it counts and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from adverse_perception import kernels
from adverse_perception.inference import load_engine
from tests.conftest import write_segmentation_engine
from tests.packs import Labelled, road, write_camvid, write_pack
from training.studies import sizes

NOMINAL = (72, 40)
"""The size of the engine's area that a picture of 128x72 is brought to."""


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    write_segmentation_engine(tmp_path / "clear.onnx", size=(48, 64))
    return tmp_path


def test_labels_made_at_one_size_are_found_there_and_missed_at_others(engines: Path) -> None:
    engine = load_engine(engines / "clear.onnx")

    def labelled_at_the_nominal_area(rng: np.random.Generator) -> Labelled:
        image = road(rng, 72, 128)[0]
        logits = engine.run(kernels.resize(image, *NOMINAL[::-1]), ("logits",))["logits"]
        return image, kernels.label(logits, 72, 128)[0]

    classes = json.loads((write_camvid(engines / "any", val=1) / "classes.json").read_text())
    data = write_pack(engines / "data", {"val": 2}, classes, labelled_at_the_nominal_area)
    command = ["--data", str(data), "--splits", "val", "--names", "clear", "--every", "1"]
    out = engines / "sizes.md"
    assert sizes.main([*command, "--engines", str(engines), "--out", str(out)]) == 0
    (found,) = (row for name, row in json.loads(out.with_suffix(".json").read_text()).items()
                if name.startswith("clear"))  # fmt: skip
    name = f"{NOMINAL[0]}x{NOMINAL[1]}"
    assert found.pop(name) == 1.0
    assert found
    assert all(value < 1.0 for value in found.values())
    assert name in out.read_text()


def test_pictures_narrower_than_the_camera_are_refused(
    engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_camvid(engines / "data", val=1)
    command = ["--data", str(data), "--splits", "val", "--names", "clear"]
    assert sizes.main([*command, "--engines", str(engines)]) == 2
    assert "64x48: expected one at least 85 wide" in capsys.readouterr().err
