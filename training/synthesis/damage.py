"""Degradations of one number, as in the TID2013 list: noise, blur, coding, colour.

`cooperative-restoration.md`, section 3.1. Values are the paper's; pictures come out as arrays and
are to be saved as PNG: the paper's own files went through JPEG once more, these do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.dither import dither
from training.synthesis.frequency import cut_weak, high_pass
from training.synthesis.noise import grain
from training.synthesis.scene import SynthesisError, pixels

_RAMP = np.arange(256, dtype=np.float32)
_SOFT = cv2.getGaussianKernel(3, 0.5, cv2.CV_32F)
_PATCH, _ASIDE, _BLOCK = 15, 5, 32


@dataclass(frozen=True)
class Damage:
    """One degradation.

    Attributes:
        kind: a name of `LEVELS`.
        value: how much, in the unit of that degradation.
        seed: chance, where there is any in it.
    """

    kind: str
    value: float
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist."""
        if self.kind not in LEVELS:
            known = ", ".join(LEVELS)
            raise SynthesisError(f"damage: expected one of {known}, found {self.kind!r}")


def render_damage(image: UInt8Array, damage: Damage) -> UInt8Array:
    """Damage the picture: (H, W, 3) uint8 RGB, the same geometry."""
    return _KINDS[damage.kind](image, damage.value, damage.seed)


def _noise(image: UInt8Array, variance: float, seed: int) -> UInt8Array:
    """Gaussian; variance on values of 0 to 1."""
    return _add(image, grain(image.shape, seed), 255.0 * variance**0.5)


def _add(image: UInt8Array, noise: Float32Array, deviation: float) -> UInt8Array:
    return pixels(cv2.convertScaleAbs(np.maximum(image + np.float32(deviation) * noise, 0.0)))


def _chroma_noise(image: UInt8Array, variance: float, seed: int) -> UInt8Array:
    """Gaussian in each plane of YCbCr; turned back to RGB, colour has the most of it."""
    planes = pixels(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    return pixels(cv2.cvtColor(_noise(planes, variance, seed), cv2.COLOR_YCrCb2RGB))


def _high_frequency_noise(image: UInt8Array, variance: float, seed: int) -> UInt8Array:
    """Gaussian without what is smooth: 10 cycles per picture and less are taken out."""
    return _add(image, high_pass(grain(image.shape, seed), 10), 255.0 * variance**0.5)


def _impulse_noise(image: UInt8Array, density: float, seed: int) -> UInt8Array:
    """Salt and pepper: that share of the values becomes 0 or 255, evenly."""
    chance = np.random.default_rng(seed).random(image.shape, np.float32)
    hit = np.where(chance < density, np.uint8(0), image)
    return np.where(chance < 0.5 * density, np.uint8(255), hit)


def _quantisation(image: UInt8Array, step: float, seed: int) -> UInt8Array:
    """Values in steps of `step`."""
    return _by_value(image, np.rint(_RAMP / step) * step)


def _by_value(image: UInt8Array, curve: Float32Array) -> UInt8Array:
    return pixels(cv2.LUT(image, np.clip(np.rint(curve), 0, 255).astype(np.uint8)))


def _blur(image: UInt8Array, kernel: float, seed: int) -> UInt8Array:
    """Gaussian of `kernel` pixels, deviation a sixth of that, symmetric border."""
    side = int(kernel)
    return pixels(
        cv2.GaussianBlur(image, (side, side), kernel / 6.0, borderType=cv2.BORDER_REFLECT)
    )


def _denoising(image: UInt8Array, variance: float, seed: int) -> UInt8Array:
    """Noise, then what a denoiser of deviation 25 leaves of the picture. The paper takes CBM3D."""
    planes = pixels(cv2.cvtColor(_noise(image, variance, seed), cv2.COLOR_RGB2YCrCb))
    return pixels(cv2.cvtColor(cut_weak(planes, 2.7 * 25.0), cv2.COLOR_YCrCb2RGB))


def _jpeg(image: UInt8Array, quality: float, seed: int) -> UInt8Array:
    return _coded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, round(quality))


def _jpeg2000(image: UInt8Array, bits_per_pixel: float, seed: int) -> UInt8Array:
    share = max(1, round(1000 * bits_per_pixel / 24))
    return _coded(image, ".jp2", cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, share)


def _coded(image: UInt8Array, ending: str, option: int, value: int) -> UInt8Array:
    coded = cv2.imencode(ending, image[..., ::-1], [option, value])[1]
    if not len(coded):
        raise SynthesisError(
            f"{ending}: expected a picture that its header alone does not outweigh, found "
            f"{image.shape[1]}x{image.shape[0]}; take a larger picture or a lower level"
        )
    return pixels(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)))[..., ::-1].copy()


def _eccentric_patches(image: UInt8Array, count: float, seed: int) -> UInt8Array:
    """That many patches of 15x15 copied 5 pixels aside."""
    shown, side = image.copy(), min(_PATCH, *image.shape[:2])
    for (top, left), aside in zip(
        _places(image, side, int(count), seed),
        np.random.default_rng(seed + 1).choice([-_ASIDE, _ASIDE], (int(count), 2)).tolist(),
        strict=True,
    ):
        y = min(max(top + aside[0], 0), image.shape[0] - side)
        x = min(max(left + aside[1], 0), image.shape[1] - side)
        shown[y : y + side, x : x + side] = image[top : top + side, left : left + side]
    return shown


def _blocks(image: UInt8Array, count: float, seed: int) -> UInt8Array:
    """That many 32x32 blocks of one random colour each."""
    shown, side = image.copy(), min(_BLOCK, *image.shape[:2])
    colours = np.random.default_rng(seed + 1).integers(0, 256, (int(count), 3), np.uint8)
    for (top, left), colour in zip(_places(image, side, int(count), seed), colours, strict=True):
        shown[top : top + side, left : left + side] = colour
    return shown


def _places(image: UInt8Array, side: int, count: int, seed: int) -> list[list[int]]:
    """Upper left corners (top, left) of squares inside the picture."""
    most = (image.shape[0] - side + 1, image.shape[1] - side + 1)
    corners = np.random.default_rng(seed).integers(0, most, (count, 2))
    return [[int(top), int(left)] for top, left in corners]


def _mean_shift(image: UInt8Array, shift: float, seed: int) -> UInt8Array:
    return _by_value(image, _RAMP + np.float32(shift))


def _contrast(image: UInt8Array, factor: float, seed: int) -> UInt8Array:
    return _by_value(image, _RAMP * np.float32(factor))


def _saturation(image: UInt8Array, factor: float, seed: int) -> UInt8Array:
    """Factor on Cb and Cr about their middle; below 0, colours turn into their opposites."""
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    curve = np.stack([_RAMP, *[128 + (_RAMP - 128) * np.float32(factor)] * 2], axis=-1)[None]
    turned = cv2.LUT(planes, np.clip(np.rint(curve), 0, 255).astype(np.uint8))
    return pixels(cv2.cvtColor(turned, cv2.COLOR_YCrCb2RGB))


def _multiplicative_noise(image: UInt8Array, variance: float, seed: int) -> UInt8Array:
    """Each value times 1 + n, n uniform of mean 0 and this variance."""
    even = np.random.default_rng(seed).random(image.shape, np.float32) - np.float32(0.5)
    factor = np.float32(1.0) + np.float32((12.0 * variance) ** 0.5) * even
    return pixels(cv2.multiply(image, np.maximum(factor, 0.0), dtype=cv2.CV_8U))


def _dither(image: UInt8Array, colours: float, seed: int) -> UInt8Array:
    return dither(image, int(colours), seed)


def _chromatic_aberration(image: UInt8Array, level: float, seed: int) -> UInt8Array:
    """Red moves right by level - 1 pixels, green by level / 2 - 1; then a 3x3 Gaussian of 0.5."""
    shown = image.copy()
    for channel, shift in ((0, int(level) - 1), (1, int(level) // 2 - 1)):
        if shift > 0:
            shown[:, shift:, channel] = image[:, :-shift, channel]
    soft = cv2.sepFilter2D(shown, cv2.CV_32F, _SOFT, _SOFT, borderType=cv2.BORDER_REFLECT)
    return pixels(cv2.convertScaleAbs(soft))


_KINDS: dict[str, Callable[[UInt8Array, float, int], UInt8Array]] = {
    "noise": _noise,
    "chroma_noise": _chroma_noise,
    "high_frequency_noise": _high_frequency_noise,
    "impulse_noise": _impulse_noise,
    "quantisation": _quantisation,
    "blur": _blur,
    "denoising": _denoising,
    "jpeg": _jpeg,
    "jpeg2000": _jpeg2000,
    "eccentric_patches": _eccentric_patches,
    "blocks": _blocks,
    "mean_shift": _mean_shift,
    "contrast": _contrast,
    "saturation": _saturation,
    "multiplicative_noise": _multiplicative_noise,
    "dither": _dither,
    "chromatic_aberration": _chromatic_aberration,
}
LEVELS: dict[str, tuple[float, ...]] = {
    "noise": (0.001, 0.005, 0.01, 0.05),
    "chroma_noise": (0.0140, 0.0198, 0.0343, 0.0524),
    "high_frequency_noise": (0.001, 0.005, 0.01, 0.05),
    "impulse_noise": (0.005, 0.01, 0.05, 0.1),
    "quantisation": (27, 39, 55, 76),
    "blur": (7, 15, 39, 91),
    "denoising": (0.001, 0.005, 0.01, 0.05),
    "jpeg": (43, 12, 7, 4),
    "jpeg2000": (0.46, 0.16, 0.07, 0.04),
    "eccentric_patches": (30, 70, 150, 300),
    "blocks": (2, 4, 8, 16, 32),
    "mean_shift": (15, 30, 45, 60),
    "contrast": (0.85, 0.7, 0.55, 0.4),
    "saturation": (0.4, 0, -0.4, -0.8),
    "multiplicative_noise": (0.05, 0.09, 0.13, 0.2),
    "dither": (64, 32, 16, 8, 4),
    "chromatic_aberration": (2, 6, 10, 14),
}
"""The paper's values, level 1 first."""
