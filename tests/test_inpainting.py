"""Filling from around: what is sure stays, what is not is between what is around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")

from training.networks.inpainting import pull_push  # noqa: E402


def ramp(height: int = 48, width: int = 64) -> torch.Tensor:
    """(1, 1, H, W) float, 0 at the left to 1 at the right."""
    return torch.linspace(0, 1, width).expand(1, 1, height, width)


def test_what_is_sure_stays_as_it_is() -> None:
    x = torch.rand(2, 3, 33, 50)
    torch.testing.assert_close(pull_push(x, torch.ones(2, 1, 33, 50)), x)


def test_hole_is_filled_by_what_is_around_it() -> None:
    x, sure = ramp().clone(), torch.ones(1, 1, 48, 64)
    x[:, :, 16:32, 40:56], sure[:, :, 16:32, 40:56] = 9.0, 0.0  # far from the mean of the whole
    filled = pull_push(x, sure)
    assert (filled - ramp()).abs().max() < 0.14
    torch.testing.assert_close(filled[sure > 0], x[sure > 0])


def test_half_sure_is_half_filled() -> None:
    x, sure = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    x[:, :, 16, 16], sure[:, :, 16, 16] = 1.0, 0.5
    assert 0.5 <= float(pull_push(x, sure)[0, 0, 16, 16]) < 0.65


def test_picture_of_which_nothing_is_sure_stays_finite() -> None:
    assert pull_push(torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)).isfinite().all()


class Filling(torch.nn.Module):
    def forward(self, x: torch.Tensor, sure: torch.Tensor) -> torch.Tensor:
        return pull_push(x, sure)


@pytest.mark.parametrize("size", [(45, 61), (32, 48)])
def test_runtimes_fill_alike_up_to_the_last_row(size: tuple[int, int], tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    x, sure = (torch.rand(1, c, *size, generator=generator) for c in (3, 1))
    sure[:, :, -9:] = 0.0
    path, free = tmp_path / "filling.onnx", {2: "h", 3: "w"}
    torch.onnx.export(
        Filling(),
        (torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)),
        path,
        input_names=["x", "sure"],
        output_names=["filled"],
        dynamic_axes={"x": free, "sure": free},
        opset_version=17,
        dynamo=False,
    )
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (filled,) = session.run(None, {"x": x.numpy(), "sure": sure.numpy()})
    np.testing.assert_allclose(filled, pull_push(x, sure).numpy(), atol=1e-5)


def test_gradient_reaches_picture_and_confidence() -> None:
    x, sure = ramp().clone().requires_grad_(), torch.full((1, 1, 48, 64), 0.7, requires_grad=True)
    pull_push(x, sure).square().sum().backward()
    for value in (x.grad, sure.grad):
        assert value is not None
        assert value.isfinite().all()
        assert value.abs().sum() > 0
