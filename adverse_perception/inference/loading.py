"""From a file to a running engine, or to a clear refusal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from adverse_perception.inference.engine import Engine
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import (
    FULL,
    PRECISIONS,
    ROLE_VARIANTS,
    EngineFile,
    read_engine,
)
from adverse_perception.inference.plans import USUAL_SETTINGS, PlanSettings
from adverse_perception.inference.tensorrt_module import usable
from adverse_perception.share import shares

STAND_IN = "onnxruntime"
"""The backend that runs everywhere."""
ON_GPU = ("tensorrt", "tensorrt_rtx")
"""Backends that run on a GPU."""
AUTO = "auto"
FASTER = "fp16"
"""The precision that a GPU takes by itself, where it costs at most `TOLERATED_LOSS`."""
TOLERATED_LOSS = 0.005
"""Half a point of the score: a variant that loses more runs only where somebody asks for it."""


_SHARED = ("name", "role", "conditions", "classes", "input_height", "input_width", "stride")
"""What an engine and its variants say of themselves alike."""


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
        precision: which variant of the file, see `read_variant`; "fp32" = the file itself.
    """

    backend: str = STAND_IN
    threads: int = 1
    fallback: bool = False
    plans: PlanSettings = USUAL_SETTINGS
    precision: str = FULL


@dataclass(frozen=True)
class Variant:
    """The file of an engine in the precision that is to run.

    Attributes:
        file: the file.
        remark: what its user should know: that it is not as wished for, or what that costs.
    """

    file: EngineFile
    remark: str = ""


@dataclass(frozen=True)
class Loaded:
    """An engine and what runs it.

    Attributes:
        engine: the engine.
        backend: what runs it.
        path: the file it is from.
        refusal: why not another backend, which was wished for; empty when it is that one.
        remark: see `Variant`.
    """

    engine: Engine
    backend: str
    path: Path
    refusal: str = ""
    remark: str = ""


def load_engine(
    path: Path | str,
    *,
    backend: str = STAND_IN,
    threads: int = 1,
    role: str | None = None,
    plans: PlanSettings = USUAL_SETTINGS,
    precision: str = FULL,
) -> Engine:
    """Load one engine file and check that it fits this package.

    Args:
        path: the ONNX file.
        backend: see `Wish`; what it refuses is an error.
        threads: threads one inference may use on the CPU.
        role: the role the engine must have; None = any.
        plans: how TensorRT's plans are built and kept.
        precision: see `Wish`.

    Raises:
        EngineError: the file, its role, its classes or the backend does not fit.
    """
    return open_engine(path, Wish(backend, threads, False, plans, precision), role).engine


def open_engine(path: Path | str, wish: Wish, role: str | None = None) -> Loaded:
    """Load one engine file as wished for, or on ONNX Runtime where that is allowed.

    What runs there because nothing else can is the file itself, not a variant for a GPU.

    Args:
        path: the ONNX file.
        wish: how it is to be run.
        role: the role the engine must have; None = any.

    Raises:
        EngineError: the file, its role, its classes or the backend does not fit.
    """
    path = Path(path)
    backend = _chosen(wish.backend)
    variant = read_variant(path, wish.precision, backend)
    found = variant.file.metadata.role
    if role is not None and found != role:
        raise EngineError(
            f"{path}: expected an engine of role {role!r}, found {found!r}; name another file"
        )
    try:
        engine = _BACKENDS[backend](variant.file, backend, wish)
        return Loaded(engine, backend, variant.file.path, remark=variant.remark)
    except EngineError as error:
        if not wish.fallback or backend == STAND_IN:
            raise
        engine = _onnxruntime(read_engine(path), STAND_IN, wish)
        return Loaded(engine, STAND_IN, path, f"{backend} cannot: {error}")


def variant_path(path: Path, precision: str) -> Path:
    """Where an engine file's variant of that precision lies."""
    return path.parent / precision / path.name


def read_variant(path: Path, precision: str, backend: str = STAND_IN) -> Variant:
    """Read an engine file in the precision that is wished for, or in its own.

    Args:
        path: the engine file.
        precision: "fp32" for the file itself, "fp16", "int8"; or "auto": on a GPU the fp16 variant
            where one is there that loses at most `TOLERATED_LOSS`, else the file itself.
        backend: what is to run it; see `Wish`, but for "auto".

    Raises:
        EngineError: no such precision, or a file is missing, damaged or not ours.
    """
    if precision not in (AUTO, *PRECISIONS):
        raise EngineError(
            f"precision: expected one of {', '.join((AUTO, *PRECISIONS))}, found {precision}"
        )
    itself, automatic = read_engine(path), precision == AUTO
    wished = (FASTER if backend in ON_GPU else FULL) if automatic else precision
    if wished in (FULL, itself.metadata.precision):
        return Variant(itself)
    if automatic and not variant_path(path, wished).exists():
        return Variant(itself)
    variant = _made_from(itself, wished)
    costly = variant.file.metadata.loss > TOLERATED_LOSS
    return Variant(itself) if automatic and costly else variant


def _made_from(itself: EngineFile, wished: str) -> Variant:
    """An engine file's variant with what it costs, or the file itself with why it has none."""
    place = variant_path(itself.path, wished)
    file = read_engine(place) if place.exists() else None
    problem = _unfit(file, itself, wished)
    if file is None or problem:
        told = itself.metadata
        if wished not in ROLE_VARIANTS[told.role]:
            return Variant(itself)  # nobody makes one
        return Variant(
            itself,
            f"{told.name} runs in {told.precision}: expected {place} in {wished}, made from"
            f" {itself.path}, found {problem}; make it with python -m training.precision",
        )
    return Variant(file, _cost(file))


def _unfit(variant: EngineFile | None, itself: EngineFile, wished: str) -> str:
    """Why a file is no variant of another one in the wished precision; empty where it is."""
    if variant is None:
        return "none"
    if variant.metadata.precision != wished:
        return f"one in {variant.metadata.precision}"
    if variant.metadata.made_from != itself.metadata.weights_sha256:
        return "one made from other weights"
    one, other = variant.metadata, itself.metadata
    differ = [name for name in _SHARED if getattr(one, name) != getattr(other, name)]
    return f"one of another {' and '.join(differ)}" if differ else ""


def _cost(variant: EngineFile) -> str:
    """In words; empty where it is tolerated."""
    told = variant.metadata
    if told.loss <= TOLERATED_LOSS:
        return ""
    if math.isinf(told.loss):
        return f"{told.name} runs in {told.precision}, which nobody has scored against {FULL}"
    points = f"{100 * told.loss:.1f} points"
    return f"{told.name} runs in {told.precision}, which scores up to {points} less than {FULL}"


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
