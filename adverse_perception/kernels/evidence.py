"""What is kept of a key frame beside its logits, and what tells where carrying it on failed.

Numpy is fast enough for it on the CPU, so this is the definition and what drives there; a GPU has
it in `frame.cu`. Planes lie on the grid of the logits.
"""

from __future__ import annotations

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array

COLOURS, ENTROPY = 3, 1
"""Planes that `key_planes` adds to the logits."""
PLANES = 6
"""Planes of `evidence_of`."""
NEAR_PX = 2.0
"""Disagreement of forward and backward flow, in pixels of the grid, that counts for 63 %."""


def key_planes(logits: Float32Array, small: UInt8Array) -> Float32Array:
    """Everything of a key frame that is carried on.

    Args:
        logits: (K, h, w) float32.
        small: (h, w, 3) uint8 RGB, the picture on the grid.

    Returns:
        (K + 4, h, w) float32: the logits, the colours from 0 to 1, and the entropy of the
        logits' softmax, 0 (sure) to 1 (every class is as likely).
    """
    return np.concatenate([logits, _colours(small), _entropy(logits)])


def evidence_of(
    moved: Float32Array, small: UInt8Array, flow: Float32Array, wandered: Float32Array
) -> Float32Array:
    """Where the carried planes cannot be trusted.

    Args:
        moved: (K + 4, h, w) float32, `key_planes` along the flow.
        small: (h, w, 3) uint8 RGB, the new picture on the grid.
        flow: (h, w, 2) float32, back to the key frame, in pixels of the grid.
        wandered: (1, h, w) float32, how far forward and backward flow have disagreed since.

    Returns:
        (6, h, w) float32, 0 to 1: what the pictures differ by in each colour, how far the flows
        have disagreed, the entropy, and 1 where the key frame did not see. What is not a number
        stays so.
    """
    colours, entropy = moved[-4:-1], moved[-1:]
    evidence = np.concatenate(
        [
            np.abs(_colours(small) - colours),
            1 - np.exp(-wandered / np.float32(NEAR_PX)),
            entropy,
            _outside(flow),
        ]
    )
    # interpolation rounds past the ends now and then
    return np.asarray(np.clip(evidence, 0, 1), np.float32)


def _colours(small: UInt8Array) -> Float32Array:
    """(h, w, 3) uint8 to (3, h, w) float32, 0 to 1."""
    shares = np.asarray(small, np.float32) / np.float32(255)
    return np.ascontiguousarray(shares.transpose(2, 0, 1))


def _entropy(logits: Float32Array) -> Float32Array:
    """(1, h, w), 0 to 1."""
    shifted = logits - logits.max(axis=0)
    weights = np.exp(shifted)
    total = weights.sum(axis=0)
    nats = np.log(total) - (weights * shifted).sum(axis=0) / total
    return np.asarray(nats[None] / max(np.log(len(logits)), 1e-6), np.float32)


def _outside(flow: Float32Array) -> Float32Array:
    """1 where the flow leads out of the key frame, (1, h, w)."""
    height, width = flow.shape[:2]
    column = np.arange(width, dtype=np.float32) + flow[..., 0]
    row = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    out = (column < 0) | (column > width - 1) | (row < 0) | (row > height - 1)
    return np.asarray(out[None], np.float32)
