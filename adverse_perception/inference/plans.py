"""TensorRT's plans, kept between drives: built once, rebuilt by themselves when they do not fit.

A plan is a file beside a JSON file that says what it was built for and which bytes it has. Both
are written aside and renamed, and a lock keeps two processes from building the same plan.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from adverse_perception.files import FileError, explained, write_bytes, write_json

NO_GPU = "none"
"""Name and architecture of the GPU where a plan was built without one."""
_FORMAT = 1
_TOLD_EVERY_S = 5.0

Tell = Callable[[str], None]
"""Is told, in lines for the user, what takes its time and why."""


def silent(line: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class PlanSettings:
    """How plans are built and kept.

    Attributes:
        folder: where they are kept; None = the user's cache folder.
        batch: the most pictures a plan takes at once.
        tell: is told what is built and how long it takes.
    """

    folder: Path | None = None
    batch: int = 1
    tell: Tell = silent


USUAL_SETTINGS = PlanSettings()


@dataclass(frozen=True)
class Request:
    """What a plan is to be built for; one that was built for anything else is not used.

    Precision needs no word of its own: networks are strongly typed, so it is in the weights.

    Attributes:
        engine: name of the engine.
        weights_sha256: checksum of its graph with its weights.
        outputs: the outputs it computes.
        module: tensorrt or tensorrt_rtx.
        version: of that module.
        gpu: name of the GPU, `NO_GPU` without one.
        architecture: of the GPU, such as sm_87.
        sizes: batch, height and width: the least, the usual and the greatest.
    """

    engine: str
    weights_sha256: str
    outputs: tuple[str, ...]
    module: str
    version: str
    gpu: str
    architecture: str
    sizes: tuple[tuple[int, int, int], ...]

    @property
    def stem(self) -> str:
        """Name of its files. The version is not in it: a newer one replaces the plan."""
        told = {**asdict(self), "version": ""}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return re.sub(r"[^\w.+-]", "_", f"{self.engine}-{'+'.join(self.outputs)}-{digest[:16]}")

    def __str__(self) -> str:
        gpu = "no GPU" if self.gpu == NO_GPU else f"{self.gpu} ({self.architecture})"
        return f"{self.engine} ({', '.join(self.outputs)}) for {gpu}, {self.module} {self.version}"


@dataclass(frozen=True)
class Plan:
    """A plan and how it came about.

    Attributes:
        content: its bytes.
        path: where it is kept; None where it could not be.
        built_s: how long building it took; 0 when it was there already.
        problem: why it could not be kept.
    """

    content: bytes
    path: Path | None = None
    built_s: float = 0.0
    problem: str = ""


class PlanCache:
    """A folder of plans; it may be deleted at any time, and used by any number of processes."""

    def __init__(self, folder: Path | None = None, tell: Tell = silent) -> None:
        """Use a folder, which is made when it is needed; None = the user's cache folder."""
        self._folder = folder or cache_folder()
        self._tell = tell

    def get(self, request: Request, build: Callable[[], bytes], refused: bytes = b"") -> Plan:
        """Give the plan that was asked for, built now where it is not there or does not fit.

        One that cannot be kept costs time at every start, and nothing else.

        Args:
            request: what it is for.
            build: makes it; what it raises is passed on.
            refused: bytes that the GPU has refused although they seemed to fit.
        """
        path = self._folder / f"{request.stem}.plan"
        with suppress(_Unfit):
            return _kept(path, request, refused)
        try:
            with self._alone(path, request):
                return self._renewed(path, request, build, refused)
        except FileError as error:
            return self._lost(self._built(request, build, "none can be kept"), error)

    def _renewed(
        self, path: Path, request: Request, build: Callable[[], bytes], refused: bytes
    ) -> Plan:
        try:
            return _kept(path, request, refused)  # another process was faster
        except _Unfit as unfit:
            reason = str(unfit)
        plan = self._built(request, build, reason)
        try:
            _write(path, request, plan)
        except FileError as error:
            return self._lost(plan, error)
        return replace(plan, path=path)

    def _built(self, request: Request, build: Callable[[], bytes], reason: str) -> Plan:
        self._tell(f"building a plan of {request}: {reason}")
        started = time.monotonic()
        with _telling(f"building a plan of {request}", self._tell):
            content = build()
        built_s = time.monotonic() - started
        self._tell(f"built a plan of {request} in {built_s:.1f} s")
        return Plan(content, None, built_s)

    def _lost(self, plan: Plan, error: FileError) -> Plan:
        self._tell(f"{error}; until then, plans are built at every start")
        return replace(plan, problem=str(error))

    @contextmanager
    def _alone(self, path: Path, request: Request) -> Iterator[None]:
        """Keep other processes from the same plan; they find it built when their turn comes.

        Raises:
            FileError: the folder cannot be written.
        """
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_suffix(".lock").open("ab")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._tell(f"waiting for another process that builds {request}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def cache_folder() -> Path:
    """Where plans are kept when nobody says otherwise, by the usual rules for such files."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "adverse_perception" / "plans"


class _Unfit(Exception):
    """Why what is kept cannot be used."""


def _kept(path: Path, request: Request, refused: bytes) -> Plan:
    """What the folder has. Raises `_Unfit`."""
    described = path.with_suffix(".json")
    try:
        told = json.loads(described.read_bytes())
        content = path.read_bytes()
    except FileNotFoundError as error:
        none = not path.exists() and not described.exists()
        missing = "there is none yet" if none else f"{Path(error.filename).name} is missing"
        raise _Unfit(missing) from None
    except (OSError, ValueError) as error:
        raise _Unfit(f"{described.name} cannot be read ({error})") from None
    _check(told, request)
    if told.get("plan_sha256") != hashlib.sha256(content).hexdigest():
        raise _Unfit(f"{path.name} is truncated or damaged")
    if content == refused:
        raise _Unfit(f"{path.name} is refused by {request.module}")
    return Plan(content, path)


def _check(told: Any, request: Request) -> None:
    """Compare what a plan was built for with what is wanted. Raises `_Unfit`."""
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise _Unfit("its description is of another format")
    wanted = json.loads(json.dumps(asdict(request)))
    for field in fields(request):
        found = told.get(field.name)
        if found != wanted[field.name]:
            raise _Unfit(f"{field.name} was {str(found)[:64]}, is {wanted[field.name]}")


def _write(path: Path, request: Request, plan: Plan) -> None:
    """Keep a plan: first the bytes, then what makes them valid. Raises `FileError`."""
    write_bytes(path, plan.content)
    record = {
        "format": _FORMAT,
        **asdict(request),
        "plan_sha256": hashlib.sha256(plan.content).hexdigest(),
        "built_s": round(plan.built_s, 2),
    }
    write_json(path.with_suffix(".json"), record)


@contextmanager
def _telling(line: str, tell: Tell) -> Iterator[None]:
    """Say every few seconds that something still goes on."""
    started = time.monotonic()
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(_TOLD_EVERY_S):
            tell(f"{line}: {time.monotonic() - started:.0f} s so far")

    teller = threading.Thread(target=go_on, name="telling", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
