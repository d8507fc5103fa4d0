"""Labels made visible."""

from __future__ import annotations

import numpy as np
import pytest

from adverse_perception.drawing import caption, colour, overlay, write_text
from adverse_perception.frames import Condition, Weather
from adverse_perception.labels import UNLABELLED, palette
from tests.drives import picture


def every_id() -> np.ndarray:
    return np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_every_id_gets_its_colour_in_rgb_order() -> None:
    np.testing.assert_array_equal(colour(every_id()), palette()[every_id()])
    # a view with gaps between its rows, as labels cut out of a larger picture are
    np.testing.assert_array_equal(colour(every_id()[:, ::2]), palette()[every_id()[:, ::2]])


@pytest.mark.parametrize("opacity", [0.0, 0.25, 1.0])
def test_the_overlay_mixes_picture_and_colour(opacity: float) -> None:
    image, labels = picture(0, 16, 16), np.full((16, 16), 3, np.uint8)

    mixed = overlay(image, labels, opacity)

    np.testing.assert_allclose(
        mixed, palette()[3] * opacity + image * (1 - opacity), rtol=0, atol=0.51
    )


def test_unlabelled_pixels_show_the_picture() -> None:
    image, labels = picture(0, 16, 16), every_id()

    shown = overlay(image, labels, 1.0)

    unlabelled = labels == UNLABELLED
    np.testing.assert_array_equal(shown[unlabelled], image[unlabelled])
    np.testing.assert_array_equal(shown[~unlabelled], palette()[labels][~unlabelled])


def test_a_condition_is_captioned_with_its_score_or_as_set() -> None:
    assert caption(Condition(Weather.RAIN, {Weather.RAIN: 0.934})) == "rain 0.93"
    assert caption(Condition(Weather.FOG, forced=True)) == "fog (set)"
    assert caption(Condition(Weather.NIGHT)) == "night"


@pytest.mark.parametrize("brightness", [0, 255])
def test_text_stays_readable_on_dark_and_bright_and_leaves_the_picture_alone(
    brightness: int,
) -> None:
    image = np.full((90, 160, 3), brightness, np.uint8)

    written = write_text(image, "rain 0.93")

    assert (image == brightness).all()
    corner = written[:20, :80].astype(int)
    assert corner.max() - corner.min() > 120
    np.testing.assert_array_equal(written[45:], image[45:])
