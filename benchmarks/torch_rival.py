"""The road of a frame in PyTorch, the rival of TensorRT and our kernels: eager, compiled, graph.

The same network, from picture to labels and confidence: pinned upload, the network (on a GPU in
half precision), bilinear upsampling, softmax and maximum, download.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from adverse_perception.frames import UInt8Array
from training.checkpoints import open_checkpoint
from training.network_engine import engine_module
from training.networks.blocks import Normalise

WAYS = ("eager", "compiled", "graph")
_WARM_UP = 3


class TorchRoad:
    """One network for pictures of one size, on one device."""

    @torch.no_grad()
    def __init__(self, weights: Path, size: tuple[int, int], way: str, device: str) -> None:
        """Get ready to label.

        Args:
            weights: a checkpoint or a file of training/weights, of a segmentation network.
            size: (H, W) of the pictures, multiples of 8.
            way: one of `WAYS`; "graph" needs a GPU.
            device: "cuda" or "cpu".
        """
        self._device = torch.device(device)
        self._on_gpu = self._device.type == "cuda"
        network = engine_module(open_checkpoint(weights).network).eval().to(self._device)
        network = halved(network) if self._on_gpu else network
        self._network: nn.Module = network.to(memory_format=torch.channels_last)
        self._given = torch.zeros(1, *size, 3, dtype=torch.uint8, pin_memory=self._on_gpu)
        self._made = torch.zeros(2, *size, dtype=torch.uint8, pin_memory=self._on_gpu)
        self._picture = torch.zeros(1, *size, 3, dtype=torch.uint8, device=self._device)
        self._labelled = torch.zeros(2, *size, dtype=torch.uint8, device=self._device)
        self._graph: Any = None
        self._work = torch.compile(self._label) if way == "compiled" else self._label
        self._warm_up()
        if way == "graph":
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._whole()

    @torch.no_grad()
    def run(self, image: UInt8Array) -> tuple[UInt8Array, UInt8Array]:
        """Labels and confidence, (H, W) uint8 each, of a picture (H, W, 3) uint8 RGB."""
        self._given[0].copy_(torch.from_numpy(image))
        if self._graph is not None:
            self._graph.replay()
        else:
            self._whole()
        if self._on_gpu:
            torch.cuda.synchronize()
        labels, confidence = np.array(self._made.numpy())
        return labels, confidence

    def _whole(self) -> None:
        self._picture.copy_(self._given, non_blocking=True)
        self._work()
        self._made.copy_(self._labelled, non_blocking=True)

    def _label(self) -> None:
        logits = self._network(self._picture).float()
        large = functional.interpolate(
            logits, size=self._picture.shape[1:3], mode="bilinear", align_corners=False
        )
        sure, labels = large.softmax(1).max(1)
        self._labelled[0] = labels[0].to(torch.uint8)
        self._labelled[1] = (sure[0] * 255).round().to(torch.uint8)

    def _warm_up(self) -> None:
        """Compile and choose algorithms, on a stream of its own as capturing wants it."""
        if not self._on_gpu:
            self._whole()
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._whole()
        stream.synchronize()


def halved(network: nn.Module) -> nn.Module:
    """The network itself in half precision; the picture is normalised in float32 before."""
    network.half()
    for module in network.modules():
        if isinstance(module, Normalise):
            exact = Normalise().to(module.mean.device)
            module.mean, module.std = exact.mean, exact.std
            module.register_forward_hook(lambda _module, _given, planes: planes.half())
    return network
