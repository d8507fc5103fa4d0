"""What sticks to the glass: what is hidden, and what a restoration network should give back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.test_synthesis import DEPTH, IMAGE, LABELS, H, W
from training.synthesis import State, clear_view, degrade, draw, occlusion, render
from training.synthesis.drops import Drops, drop_alpha
from training.synthesis.effects import Effect
from training.synthesis.fog import Fog
from training.synthesis.night import draw_night
from training.synthesis.overcast import Overcast
from training.synthesis.rain import Streaks
from training.synthesis.reflection import Reflection, bell
from training.synthesis.scene import SynthesisError
from training.synthesis.sensor import Sensor
from training.synthesis.snow import Flakes, SnowCover
from training.synthesis.wet import WetRoad


def test_a_clear_view_keeps_light_and_surfaces_only() -> None:
    night = draw_night(np.random.default_rng(0), 0.5)
    kept: tuple[Effect, ...] = (Overcast(), WetRoad(), SnowCover(), night)
    gone = (Fog(80.0), Streaks(5.0), Flakes(), Drops(), Reflection(), Sensor())
    assert clear_view(State((*kept[:2], *gone, *kept[2:]))).effects == kept
    assert clear_view(Fog(80.0)).effects == ()


def test_what_is_clear_stays_clear() -> None:
    state = draw("clear", np.random.default_rng(0))
    assert clear_view(state) == state
    assert not occlusion((H, W), state).any()


def test_air_hides_nothing_from_the_glass() -> None:
    assert not occlusion((H, W), State((Fog(50.0), Streaks(50.0), WetRoad()))).any()


def test_occlusion_is_the_share_that_rendering_mixes_with() -> None:
    drops = Drops(count=60, radius=0.02, sliding=0.4, seed=3)
    np.testing.assert_array_equal(occlusion((H, W), drops, 1.5), drop_alpha((H, W), drops, 1.5))
    black = np.zeros((H, W, 3), np.uint8)
    before = np.full((H, W, 3), 200, np.uint8)
    alpha = occlusion((H, W), drops)
    shown = render(before, DEPTH, drops).astype(float)
    behind = alpha[..., None] > 0.999
    np.testing.assert_allclose(shown[alpha == 0], 200)
    assert (render(black, DEPTH, drops) == 0).all()  # glass itself shines nowhere
    assert np.abs(shown - 200)[np.broadcast_to(behind, shown.shape)].max() > 20


def test_two_panes_hide_more_than_one() -> None:
    one, other = Drops(seed=1, count=80), Drops(seed=2, count=80)
    both = occlusion((H, W), State((one, other)))
    first, second = occlusion((H, W), one), occlusion((H, W), other)
    np.testing.assert_allclose(both, 1 - (1 - first) * (1 - second), atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_drops_weather_always_has_drops(seed: int) -> None:
    state = draw("drops", np.random.default_rng(seed))
    assert occlusion((H, W), state).max() > 0.5


def test_a_window_reflects_the_picture_it_is_given() -> None:
    red = np.zeros((50, 30, 3), np.uint8)
    red[..., 0] = 200
    shown = degrade(
        IMAGE, "reflection", np.random.default_rng(0), strength=(1.0, 1.0), reflected=red
    )
    added = shown.astype(int) - IMAGE
    assert added[..., 0].mean() > 20 > added[..., 1:].max()


def test_a_window_without_another_picture_reflects_this_one_turned_over() -> None:
    state = Reflection()
    np.testing.assert_array_equal(
        render(IMAGE, DEPTH, state),
        render(IMAGE, DEPTH, state, reflected=np.ascontiguousarray(IMAGE[:, ::-1])),
    )


def reference(image: np.ndarray, other: np.ndarray, state: Reflection) -> np.ndarray:
    """The paper's model 2, line by line, at full size."""
    back, light = ((p / 255.0) ** 2.2 for p in (image, other))
    sigma = state.blur_px * image.shape[1] / 500
    kernel = 2 * int(np.ceil(2 * sigma)) + 1
    light = cv2.GaussianBlur(light, (kernel, kernel), sigma)
    for channel in range(3):
        total = back[..., channel] + light[..., channel]
        mean = max(1.0, total[total > 1].mean() if (total > 1).any() else 1.0)
        light[..., channel] -= (mean - 1) * state.attenuation
    mixed = light.clip(0, 1) * bell(image.shape[:2], state.place)[..., None]
    return 255 * (mixed + state.transmitted * back).clip(0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("place", [(0.5, 0.5), (0.0, 1.0)])
def test_model_2_is_its_equation(place: tuple[float, float]) -> None:
    state = Reflection(blur_px=4.0, place=place, attenuation=1.1, transmitted=0.85)
    flat, other = np.full((60, 90, 3), 230, np.uint8), np.full((60, 90, 3), (90, 200, 0), np.uint8)
    exact = render(flat, np.full((60, 90), 9.0, np.float32), state, reflected=other)
    assert np.abs(exact - reference(flat, other, state)).max() <= 1.0
    smooth = cv2.GaussianBlur(IMAGE[::-1].copy(), (0, 0), 2.0)
    shown = render(IMAGE, DEPTH, state, reflected=smooth)
    assert np.abs(shown - reference(IMAGE, smooth, state)).mean() < 1.0


def test_the_bell_covers_any_picture_and_peaks_at_one() -> None:
    for shape in ((1024, 2048), (360, 480), (90, 60), (9, 16)):
        middle = bell(shape, (0.5, 0.5))
        assert middle.shape == shape and 0.9 < middle.max() <= 1.0
        for corner in ((0.0, 0.0), (1.0, 1.0)):
            assert bell(shape, corner).shape == shape


def test_model_1_adds_display_values_and_steps_back_from_white() -> None:
    depth = np.full((40, 40), 9.0, np.float32)
    dark, bright, other = (np.full((40, 40, 3), v, np.uint8) for v in (50, 200, 100))
    state = Reflection(model=1, attenuation=1.3)
    np.testing.assert_allclose(render(dark, depth, state, reflected=other), 150, atol=1)
    # 300 / 255 is too bright by 45 / 255: the reflection loses 1.3 times that.
    expected = 200 + 100 - 1.3 * 45
    np.testing.assert_allclose(render(bright, depth, state, reflected=other), expected, atol=1)


def test_unknown_models_and_pictures_of_no_colour_are_refused() -> None:
    with pytest.raises(SynthesisError, match="reflection model: expected 1 or 2, found 3"):
        Reflection(model=3)
    with pytest.raises(SynthesisError, match=r"reflected: expected \(H, W, 3\)"):
        render(IMAGE, DEPTH, Reflection(), labels=LABELS, reflected=IMAGE[..., 0])
