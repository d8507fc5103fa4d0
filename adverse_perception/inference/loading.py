"""From a file to a running engine, or to a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from adverse_perception.inference.engine import Engine
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import EngineMetadata, read_metadata
from adverse_perception.inference.onnx_file import read_bytes
from adverse_perception.share import shares


def load_engine(
    path: Path | str, *, backend: str = "onnxruntime", threads: int = 1, role: str | None = None
) -> Engine:
    """Load one engine file and check that it fits this package.

    Args:
        path: the ONNX file.
        backend: "onnxruntime", "openvino", or "auto": OpenVINO where it is installed.
        threads: threads one inference may use.
        role: the role the engine must have; None = any.

    Raises:
        EngineError: the file, its role, its classes or the backend does not fit.
    """
    path = Path(path)
    if backend == "auto":
        backend = "openvino" if find_spec("openvino") else "onnxruntime"
    if backend not in _BACKENDS:
        raise EngineError(f"backend: expected one of {sorted(_BACKENDS)} or auto, found {backend}")
    content = read_bytes(path)
    metadata = read_metadata(path, content)
    if role is not None and metadata.role != role:
        raise EngineError(
            f"{path}: expected an engine of role {role!r}, found {metadata.role!r};"
            " name another file"
        )
    return _BACKENDS[backend](content, metadata, path, threads)


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


def _onnxruntime(content: bytes, metadata: EngineMetadata, path: Path, threads: int) -> Engine:
    from adverse_perception.inference.onnxruntime_backend import OnnxRuntimeEngine

    return OnnxRuntimeEngine(content, metadata, path, threads)


def _openvino(content: bytes, metadata: EngineMetadata, path: Path, threads: int) -> Engine:
    from adverse_perception.inference.openvino_backend import OpenVinoEngine

    return OpenVinoEngine(content, metadata, path, threads)


_BACKENDS: dict[str, Callable[[bytes, EngineMetadata, Path, int], Engine]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
