"""The contact sheet and its command."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_synthesis import IMAGE, LABELS
from training.synthesis import EFFECTS, OTHER_GENERATORS, REGULAR, TID, WEATHERS, SynthesisError
from training.synthesis.__main__ import main
from training.synthesis.preview import NAMES, contact_sheet


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "clear.png"
    cv2.imwrite(str(path), IMAGE[..., ::-1])
    cv2.imwrite(str(tmp_path / "labels.png"), LABELS)
    return path


def test_preview_writes_a_sheet_of_everything(picture: Path, tmp_path: Path) -> None:
    everything = {*WEATHERS, *OTHER_GENERATORS, *EFFECTS, *REGULAR, *TID, "foggy_cityscapes"}
    assert set(NAMES) == everything - {"clear"}
    out = tmp_path / "sheet.png"
    arguments = ["preview", str(picture), "--out", str(out), "--columns", "2", "--width", "64"]
    assert main([*arguments, "--labels", str(tmp_path / "labels.png")]) == 0
    assert cv2.imread(str(out)).shape == ((48 + 14) * len(NAMES), 64 * 3, 3)


def test_preview_shows_only_what_is_asked_for_in_that_order(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    arguments = ["preview", str(picture), "--out", str(out), "--width", "96", "--columns", "3"]
    assert main([*arguments, "--only", "blur", "fog"]) == 0
    sheet = cv2.imread(str(out))
    assert sheet.shape == (2 * (72 + 14), 96 * 4, 3)
    blur, fog = (sheet[top + 16 : top + 84, 96 * 3 : 96 * 4 - 2] for top in (0, 86))
    clear = sheet[16:84, : 96 - 2]
    assert cv2.Laplacian(blur, cv2.CV_32F).std() < 0.2 * cv2.Laplacian(clear, cv2.CV_32F).std()
    assert not np.array_equal(blur, fog)


def test_windows_reflect_the_picture_that_preview_is_given(picture: Path, tmp_path: Path) -> None:
    red = np.full((40, 60, 3), (0, 0, 200), np.uint8)  # BGR
    cv2.imwrite(str(tmp_path / "red.png"), red)
    out = tmp_path / "sheet.png"
    arguments = ["preview", str(picture), "--only", "reflection", "--columns", "1"]
    assert main([*arguments, "--reflected", str(tmp_path / "red.png"), "--out", str(out)]) == 0
    sheet = cv2.imread(str(out)).astype(int)
    added = (sheet[40:380, 480:950] - sheet[40:380, :470]).mean(axis=(0, 1))
    assert added[2] > 5 > max(added[:2])


def test_a_sheet_repeats_itself_and_leaves_the_picture() -> None:
    before = IMAGE.copy()
    first, again = (contact_sheet(IMAGE, LABELS, ["rain", "dither"], columns=2) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(IMAGE, before)


def test_preview_of_something_unknown_says_what_there_is(
    picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", str(picture), "--only", "hail"]) == 1
    said = capfd.readouterr().err
    assert "SynthesisError: preview: expected names of rain, fog" in said and "hail" in said
    with pytest.raises(SynthesisError, match="found hail, rust"):
        contact_sheet(IMAGE, only=["rain", "hail", "rust"])


def test_preview_of_a_missing_picture_ends_with_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", str(tmp_path / "none.png"), "--out", str(tmp_path / "s.png")]) == 1
    assert "none.png" in capfd.readouterr().err
    assert not (tmp_path / "s.png").exists()
