"""What can run engines on this machine."""

from __future__ import annotations

from importlib.util import find_spec

from adverse_perception.inference.tensorrt_module import usable


def backends() -> list[str]:
    """ONNX Runtime, and OpenVINO and TensorRT where they are here."""
    found = ["onnxruntime"]
    found += ["openvino"] if find_spec("openvino") else []
    found += ["tensorrt"] if usable() else []
    return found
