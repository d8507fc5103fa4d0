"""Finding TensorRT: `tensorrt` 10 or 11, or `tensorrt_rtx`. The only file that imports them.

Without a driver, `tensorrt` fails in words of its own, or takes the process down when a runtime
is let go. So whoever makes one of its objects asks `check_driver` first; `tensorrt_rtx` alone
builds without one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol, cast

from adverse_perception.inference import tensorrt_api as api
from adverse_perception.inference.errors import EngineError
from adverse_perception.kernels import device
from adverse_perception.kernels.errors import DeviceError

TENSORRT, TENSORRT_RTX = "tensorrt", "tensorrt_rtx"
CHOICES = {TENSORRT: (TENSORRT, TENSORRT_RTX), TENSORRT_RTX: (TENSORRT_RTX,)}
"""Backend -> the modules that can run it, the preferred first."""
_OLDEST = {TENSORRT: 10, TENSORRT_RTX: 1}
"""Module -> the first major version that has every name we use."""
_WAY_OUT = (
    "install TensorRT 10 or 11 from NVIDIA (JetPack brings it), or, for GPUs that it knows:"
    " pip install 'adverse_perception[tensorrt_rtx]'; or set backend to onnxruntime"
)


class Module(Protocol):
    """What we use of the module itself."""

    __version__: str
    ILogger: Any
    NetworkDefinitionCreationFlag: api.NetworkDefinitionCreationFlag
    Builder: Callable[[api.ILogger], api.Builder]
    OnnxParser: Callable[[api.INetworkDefinition, api.ILogger], api.OnnxParser]
    Runtime: Callable[[api.ILogger], api.Runtime]


@dataclass(frozen=True)
class Library:
    """TensorRT as it is installed here.

    Attributes:
        name: of the module.
        version: such as 10.16.1.11.
        module: the module.
        logger: what every object of it reports to; one for the process, as TensorRT wants it.
        complaints: the last errors reported, of all threads.
    """

    name: str
    version: str
    module: Module
    logger: api.ILogger
    complaints: deque[str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def said(self) -> str:
        """The last errors in one line; they are forgotten then."""
        lines = [" ".join(line.split()) for line in self.complaints]
        self.complaints.clear()
        return "; ".join(dict.fromkeys(lines)) or "no reason given"


def find_library(backend: str = TENSORRT) -> Library:
    """Import the module that runs a backend.

    Args:
        backend: "tensorrt": that module, or else tensorrt_rtx; "tensorrt_rtx": that one alone.

    Raises:
        EngineError: none is installed, or its version is too old.
    """
    missing = []
    for name in CHOICES[backend]:
        try:
            return _library(name)
        except (ImportError, OSError) as error:  # OSError: the libraries beside it
            missing.append(f"{name}: {error}")
    raise EngineError(
        f"backend {backend}: expected the package {' or '.join(CHOICES[backend])},"
        f" found none ({'; '.join(missing)}); {_WAY_OUT}"
    )


def check_driver() -> None:
    """Look for NVIDIA's driver and a GPU.

    Raises:
        EngineError: there is none.
    """
    try:
        device.check_driver()
    except DeviceError as error:
        raise EngineError(str(error)) from error


def usable() -> bool:
    """Whether there is a driver and a module, without importing it."""
    try:
        check_driver()
    except EngineError:
        return False
    return any(find_spec(name) is not None for name in CHOICES[TENSORRT])


@cache
def _library(name: str) -> Library:
    module = cast(Module, _IMPORTS[name]())
    version = module.__version__
    if int(version.partition(".")[0]) < _OLDEST[name]:
        raise EngineError(
            f"backend tensorrt: expected {name} {_OLDEST[name]} or newer, found {version};"
            f" {_WAY_OUT}"
        )
    complaints: deque[str] = deque(maxlen=4)
    return Library(name, version, module, _logger(module, complaints), complaints)


def _logger(module: Module, complaints: deque[str]) -> api.ILogger:
    """Keeps the errors and is silent: what matters is told once, by whom it concerns."""
    serious = (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR)

    class Listener(module.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in serious:
                complaints.append(msg)

    return cast(api.ILogger, Listener())


def _tensorrt() -> ModuleType:
    import tensorrt

    return cast(ModuleType, tensorrt)


def _tensorrt_rtx() -> ModuleType:
    import tensorrt_rtx

    return cast(ModuleType, tensorrt_rtx)


_IMPORTS = {TENSORRT: _tensorrt, TENSORRT_RTX: _tensorrt_rtx}
