"""The real node whose backend cannot run here: it drives on and says so, or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from adverse_perception.kernels import device
from tests.ros_bench import Bench, Image, bench, image, one_bench

__all__ = ["bench", "one_bench"]

NO_DRIVER = "tensorrt cannot: GPU: expected NVIDIA's driver, found none"


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_DRIVER", "libno_driver_of_this_name.so.1")


def test_onnx_runtime_stands_in_and_diagnostics_warn_of_it(
    bench: Bench, engines_path: Path
) -> None:
    bench.start(engines_path, backend="tensorrt")
    assert bench.answer(image(), bench.listen(Image, "camera/labels"))
    status = bench.until(lambda: bench.status("node"))
    assert (status.level, NO_DRIVER in status.message) == (b"\x01", True)
    assert bench.values("node")["state"] == "active"
    assert len([line for line in bench.log() if NO_DRIVER in line]) == 1


def test_where_that_is_not_allowed_the_node_refuses_with_the_reason(
    bench: Bench, engines_path: Path
) -> None:
    bench.start(engines_path, backend="tensorrt", backend_fallback=False)
    status = bench.until(lambda: bench.status("node"))
    assert status.level == b"\x02"
    assert status.message.startswith("GPU: expected NVIDIA's driver, found none")
    assert bench.values("node")["state"] == "unconfigured"
    assert [line for line in bench.log() if "install NVIDIA's driver" in line]
