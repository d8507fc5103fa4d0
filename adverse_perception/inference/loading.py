"""From a file to a running engine, or to a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from adverse_perception.inference.engine import Engine
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import EngineFile, read_engine
from adverse_perception.inference.plans import USUAL_SETTINGS, PlanSettings
from adverse_perception.inference.tensorrt_module import usable
from adverse_perception.share import shares

STAND_IN = "onnxruntime"
"""The backend that runs everywhere."""
ON_GPU = ("tensorrt", "tensorrt_rtx")
"""Backends that run on a GPU."""


@dataclass(frozen=True)
class Wish:
    """How engines are to be run.

    Attributes:
        backend: "onnxruntime", "openvino", "tensorrt" (TensorRT, or TensorRT-RTX where that is
            what is installed), "tensorrt_rtx", or "auto": TensorRT where there are a driver and a
            module, else OpenVINO where it is installed, else ONNX Runtime.
        threads: threads one inference may use on the CPU.
        fallback: an engine that the backend refuses runs on ONNX Runtime instead.
        plans: how TensorRT's plans are built and kept.
    """

    backend: str = STAND_IN
    threads: int = 1
    fallback: bool = False
    plans: PlanSettings = USUAL_SETTINGS


@dataclass(frozen=True)
class Loaded:
    """An engine and what runs it.

    Attributes:
        engine: the engine.
        backend: what runs it.
        refusal: why not another backend, which was wished for; empty when it is that one.
    """

    engine: Engine
    backend: str
    refusal: str = ""


def load_engine(
    path: Path | str,
    *,
    backend: str = STAND_IN,
    threads: int = 1,
    role: str | None = None,
    plans: PlanSettings = USUAL_SETTINGS,
) -> Engine:
    """Load one engine file and check that it fits this package.

    Args:
        path: the ONNX file.
        backend: see `Wish`; what it refuses is an error.
        threads: threads one inference may use on the CPU.
        role: the role the engine must have; None = any.
        plans: how TensorRT's plans are built and kept.

    Raises:
        EngineError: the file, its role, its classes or the backend does not fit.
    """
    return open_engine(path, Wish(backend, threads, plans=plans), role).engine


def open_engine(path: Path | str, wish: Wish, role: str | None = None) -> Loaded:
    """Load one engine file as wished for, or on ONNX Runtime where that is allowed.

    Args:
        path: the ONNX file.
        wish: how it is to be run.
        role: the role the engine must have; None = any.

    Raises:
        EngineError: the file, its role, its classes or the backend does not fit.
    """
    path = Path(path)
    backend = _chosen(wish.backend)
    file = read_engine(path)
    if role is not None and file.metadata.role != role:
        raise EngineError(
            f"{path}: expected an engine of role {role!r}, found {file.metadata.role!r};"
            " name another file"
        )
    try:
        return Loaded(_BACKENDS[backend](file, backend, wish), backend)
    except EngineError as error:
        if not wish.fallback or backend == STAND_IN:
            raise
        return Loaded(_onnxruntime(file, STAND_IN, wish), STAND_IN, f"{backend} cannot: {error}")


def engines_folder() -> Path:
    """Folder of the shipped engines: the checkout's, else the installation's `share`.

    Raises:
        EngineError: neither is there.
    """
    for share in shares():
        if (share / "engines").is_dir():
            return share / "engines"
    raise EngineError(
        "engines: expected them in the checkout or in share/adverse_perception of the"
        " installation, found neither; name their folder with engines_folder"
    )


def engine_files(folder: Path | str = "") -> list[Path]:
    """The engine files of a folder in order of name; empty = the shipped engines.

    Raises:
        EngineError: the folder is not there or has no engine.
    """
    where = Path(folder) if str(folder) else engines_folder()
    files = sorted(where.glob("*.onnx"))
    if not files:
        raise EngineError(
            f"{where}: expected engine files (*.onnx), found none;"
            " check engines_folder, or export them with training/export.py"
        )
    return files


def _chosen(wished: str) -> str:
    """The backend that a wish comes to on this machine, see `Wish`.

    Raises:
        EngineError: there is no such backend.
    """
    if wished == "auto":
        if usable():
            return "tensorrt"
        return "openvino" if find_spec("openvino") else STAND_IN
    if wished not in _BACKENDS:
        raise EngineError(f"backend: expected one of {sorted(_BACKENDS)} or auto, found {wished}")
    return wished


def _onnxruntime(file: EngineFile, backend: str, wish: Wish) -> Engine:
    from adverse_perception.inference.onnxruntime_backend import OnnxRuntimeEngine

    return OnnxRuntimeEngine(file.content, file.metadata, file.path, wish.threads)


def _openvino(file: EngineFile, backend: str, wish: Wish) -> Engine:
    from adverse_perception.inference.openvino_backend import OpenVinoEngine

    return OpenVinoEngine(file.content, file.metadata, file.path, wish.threads)


def _tensorrt(file: EngineFile, backend: str, wish: Wish) -> Engine:
    from adverse_perception.inference.tensorrt_backend import TensorRtEngine

    return TensorRtEngine(file, backend, wish.plans)


_BACKENDS: dict[str, Callable[[EngineFile, str, Wish], Engine]] = {
    STAND_IN: _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "tensorrt_rtx": _tensorrt,
}
