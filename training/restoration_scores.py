"""How close a restored picture comes to the clean one, by the rules of the papers.

SR-Net scores the colours (PSNR) and the grey picture (SSIM), SRRN the luma of YCrCb (both). Grey
and OpenCV's luma are one formula, 0.299 R + 0.587 G + 0.114 B, so that SSIM is the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from adverse_perception.frames import UInt8Array
from adverse_perception.scores import ConfusionMatrix, ScoreError

_WINDOW = 7


def psnr(restored: UInt8Array, clean: UInt8Array) -> float:
    """Peak signal-to-noise ratio in dB, over all colours; 361 of equal pictures, not infinite.

    Args:
        restored: (H, W, 3) uint8 RGB.
        clean: the same scene, of the same shape.

    Raises:
        ScoreError: the pictures cannot be compared.
    """
    _check(restored, clean)
    return float(cv2.PSNR(restored, clean))


def ssim(restored: UInt8Array, clean: UInt8Array) -> float:
    """Structural similarity of the grey pictures, -1 to 1, in even windows of 7, as of `psnr`.

    As scikit-image defines it without further wishes; `losses.ssim` is the same, of the colours.
    """
    _check(restored, clean)
    similarity = structural_similarity(_luma(restored), _luma(clean))  # type: ignore[no-untyped-call]
    return float(similarity)


def luma_psnr(restored: UInt8Array, clean: UInt8Array) -> float:
    """PSNR in dB of the Y of YCrCb, as of `psnr`."""
    _check(restored, clean)
    return float(cv2.PSNR(_luma(restored), _luma(clean)))


@dataclass(frozen=True)
class PictureScores:
    """How well one picture is labelled, 0 to 1 each; nan of a picture without labels.

    SR-Net averages these over pictures. It is not the measure of Cityscapes and of `scores`, one
    confusion matrix over all pictures, which is the one to report.

    Attributes:
        pixel_accuracy: share of the pixels that are right.
        mean_accuracy: mean share of the right pixels of a class that occurs in the labels.
        miou: sum of the IoU of all classes seen, divided by the number of classes in the labels.
        weighted_iou: IoU weighted by the share of pixels of its class in the labels.
    """

    pixel_accuracy: float
    mean_accuracy: float
    miou: float
    weighted_iou: float


def score_picture(predicted: UInt8Array, truth: UInt8Array, classes: int) -> PictureScores:
    """Score one picture by itself.

    Args:
        predicted: (H, W) uint8 class ids.
        truth: (H, W) uint8 class ids; pixels of 255 are ignored.
        classes: number of class ids.

    Raises:
        ScoreError: the shapes differ, or an id is no class.
    """
    matrix = ConfusionMatrix(classes)
    matrix.add(predicted, truth)
    pixels = matrix.counts.sum(1)
    present = pixels > 0
    if not present.any():
        return PictureScores(*[float("nan")] * 4)
    accuracy = np.diagonal(matrix.counts)[present] / pixels[present]
    iou = matrix.iou()
    return PictureScores(
        pixel_accuracy=matrix.accuracy(),
        mean_accuracy=float(accuracy.mean()),
        miou=float(np.nansum(iou) / present.sum()),
        weighted_iou=float((iou[present] * pixels[present]).sum() / pixels.sum()),
    )


def _check(restored: UInt8Array, clean: UInt8Array) -> None:
    for picture in (restored, clean):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ScoreError(
                "picture: expected (H, W, 3) uint8 RGB, found "
                f"{picture.shape} {picture.dtype}; round it to 8 bits as it would be saved"
            )
    if restored.shape != clean.shape or min(clean.shape[:2]) < _WINDOW:
        raise ScoreError(
            f"pictures: expected two of one shape with sides of at least {_WINDOW}, found "
            f"{restored.shape} and {clean.shape}; score in the camera's geometry"
        )


def _luma(picture: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[:, :, 0], np.uint8)
