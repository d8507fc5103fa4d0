"""Logits carried along with optical flow: where they arrive, and what tells how far to trust."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adverse_perception import propagation
from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.propagation import EVIDENCE, Propagation, halved

HEIGHT, WIDTH = 192, 256
BORDER = 16  # pixels of the grid that the drive below may move in or out


def world(seed: int = 0) -> UInt8Array:
    """A texture larger than a picture, (H, W, 3) uint8 RGB, with something at every scale."""
    random = np.random.default_rng(seed)
    size = HEIGHT + 80, WIDTH + 80
    layers = [
        cv2.resize(
            random.normal(0, 1, (size[0] // cell, size[1] // cell, 3)),
            size[::-1],
            interpolation=cv2.INTER_CUBIC,
        )
        for cell in (4, 8, 16, 32)
    ]
    return np.asarray((128 + 30 * sum(layers)).clip(0, 255), np.uint8)


def view(across: int, down: int, seed: int = 0) -> UInt8Array:
    """What a camera sees of the world that has moved so many pixels."""
    top, left = 40 + down, 40 + across
    return np.ascontiguousarray(world(seed)[top : top + HEIGHT, left : left + WIDTH])


def logits_of(picture: UInt8Array) -> Float32Array:
    """(3, H/2, W/2) float32 that are fixed to what is seen."""
    small = cv2.resize(picture, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), 2).astype(np.float32)
    return np.ascontiguousarray(smooth.transpose(2, 0, 1) / 16)


def plain(value: int, height: int, width: int) -> UInt8Array:
    return np.full((height, width, 3), value, np.uint8)


def textured(height: int, width: int) -> UInt8Array:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def some_logits(height: int, width: int, classes: int = 5) -> Float32Array:
    shape = classes, max(height // 2, 1), max(width // 2, 1)
    return np.random.default_rng(2).normal(0, 3, shape).astype(np.float32)


inside = np.s_[..., BORDER:-BORDER, BORDER:-BORDER]


@pytest.mark.parametrize(("across", "down"), [(0, 0), (6, 0), (0, -4), (-5, 3)])
def test_logits_arrive_where_what_they_speak_of_is(across: int, down: int) -> None:
    before, after = view(0, 0), view(across, down)
    step = Propagation(before, logits_of(before)).step(after)
    there, stayed = logits_of(after)[inside], logits_of(before)[inside]
    error = np.abs(step.warped[inside] - there).mean()
    assert error < 0.15
    if across or down:
        assert error < 0.2 * np.abs(stayed - there).mean()


def test_the_flow_of_several_frames_is_the_sum_of_their_shifts() -> None:
    shifts = [(3, 1), (5, -2), (-2, 4), (4, 0)]
    across = down = 0
    propagation = Propagation(view(0, 0), logits_of(view(0, 0)))
    for right, below in shifts:
        across, down = across + right, down + below
        propagation.step(view(across, down))
    flow = propagation.motion.flow[BORDER:-BORDER, BORDER:-BORDER]
    # the camera went there, so what it sees came from there; two pixels are one of the grid
    assert np.median(flow.reshape(-1, 2), axis=0) == pytest.approx((across / 2, down / 2), abs=0.1)
    assert np.abs(flow - (across / 2, down / 2)).mean() < 0.25


def test_motion_leaves_little_and_another_scene_much() -> None:
    before = view(0, 0)
    moved = Propagation(before, logits_of(before)).step(view(6, 4)).residual
    stood = Propagation(before, logits_of(before)).step(before).residual
    cut = Propagation(before, logits_of(before)).step(view(0, 0, seed=5)).residual
    assert stood < 0.005
    assert moved < 0.03
    assert cut > 0.1


def test_what_the_key_frame_did_not_see_is_marked() -> None:
    before = view(0, 0)
    outside = Propagation(before, logits_of(before)).step(view(12, 0)).evidence[-1]
    assert EVIDENCE[-1] == "outside"
    assert outside[BORDER:-BORDER, -4:].mean() > 0.8
    assert outside[BORDER:-BORDER, :-12].mean() < 0.05


def test_flows_that_disagree_are_marked() -> None:
    before = view(0, 0)
    moved = Propagation(before, logits_of(before)).step(view(4, 0)).evidence[3]
    cut = Propagation(before, logits_of(before)).step(view(0, 0, seed=5)).evidence[3]
    assert EVIDENCE[3] == "wandered"
    assert moved[inside].mean() < 0.15 < cut.mean()


def test_flows_that_once_disagreed_stay_marked() -> None:
    before, other = view(0, 0), view(0, 0, seed=5)
    propagation = Propagation(before, logits_of(before))
    cut = propagation.step(other).evidence[3]
    stood = propagation.step(other).evidence[3]
    assert (stood[inside] > cut[inside] - 0.01).mean() > 0.95


def test_entropy_is_nought_where_one_class_is_sure_and_one_where_all_are_alike() -> None:
    picture = view(0, 0)
    # as good as alike: here rounding passes 1
    logits = np.float32(1e-4) * some_logits(HEIGHT, WIDTH, classes=11)
    logits[1, :, : WIDTH // 4] = 1e4
    entropy = Propagation(picture, logits).step(picture).evidence[4]
    assert EVIDENCE[4] == "entropy"
    assert entropy[:, : WIDTH // 4 - 4].max() == pytest.approx(0, abs=1e-6)
    assert entropy[:, WIDTH // 4 + 4 :].min() == pytest.approx(1, abs=1e-6)
    assert 0 <= entropy.min() <= entropy.max() <= 1


# the thin ones, without the rule for small pictures, take the process down in OpenCV
SIZES = [(4, 4), (8, 12), (4, 8), (8, 40), (12, 64), (16, 128), (28, 128), (8, 1752), (120, 8)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_evidence_is_a_share_however_small_or_thin_the_picture(height: int, width: int) -> None:
    for drive in [
        [textured(height, width), np.roll(textured(height, width), 1, 1)],
        [plain(0, height, width)] * 2,
        [plain(255, height, width)] * 2,
        [textured(height, width), plain(0, height, width), textured(height, width)],
        [plain(255, height, width), plain(0, height, width)],
    ]:
        propagation = Propagation(drive[0], some_logits(height, width))
        for picture in drive[1:]:
            step = propagation.step(picture)
            assert step.evidence.shape == (len(EVIDENCE), height // 2, width // 2)
            assert step.evidence.dtype == step.warped.dtype == np.float32
            assert 0 <= step.evidence.min() <= step.evidence.max() <= 1
            assert np.isfinite(step.warped).all()


def test_nothing_moves_in_a_picture_too_small_for_an_estimator() -> None:
    logits = some_logits(6, 40)
    propagation = Propagation(textured(6, 40), logits)
    step = propagation.step(np.roll(textured(6, 40), 2, 1))
    np.testing.assert_array_equal(propagation.motion.flow, 0)
    np.testing.assert_array_equal(step.warped, logits)


def test_flow_that_is_no_number_shows_in_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    def mad(seen: UInt8Array, before: UInt8Array) -> Float32Array:
        return np.full((*seen.shape, 2), np.nan, np.float32)

    monkeypatch.setattr(propagation, "_flow_estimator", lambda *_: mad)
    step = Propagation(view(0, 0), logits_of(view(0, 0))).step(view(2, 0))
    assert np.isnan(step.evidence[3]).all()
    assert np.isfinite(step.warped).all()


def test_a_picture_of_another_size_is_refused() -> None:
    propagation = Propagation(view(0, 0), logits_of(view(0, 0)))
    with pytest.raises(ValueError, match=r"of \(192, 256\) as the key frame's, found \(96, 128\)"):
        propagation.step(textured(96, 128))


def test_flow_sees_half_of_the_working_picture() -> None:
    picture = textured(16, 24)
    small = halved(picture)
    assert (small.shape, small.dtype) == ((8, 12, 3), np.uint8)
    expected = picture.reshape(8, 2, 12, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - expected).max() <= 0.51
