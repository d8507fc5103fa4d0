"""The real node as a process of its own: started, watched, ended with SIGINT."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from demo.footage import DemoError

END_S = 15.0
"""How long the node may take to end after SIGINT before it is killed."""
_PR_SET_PDEATHSIG = 1


class NodeProcess:
    """A running perception node; leaving the block ends it, whatever happened inside.

    What it says goes to a log file, the end of which is part of every error.
    """

    def __init__(self, parameters: Mapping[str, str], log: Path) -> None:
        """Start the node with the environment of this process.

        Args:
            parameters: ROS parameters by name, as YAML values.
            log: file for what the node prints; overwritten.
        """
        self._log = log
        settings = [word for name, value in parameters.items() for word in _setting(name, value)]
        with log.open("wb") as output:
            # a session of its own: Ctrl-C in the terminal reaches this process, which then ends
            # the node once; it must not get the signal twice
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adverse_perception.node", "--ros-args", *settings],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    @property
    def pid(self) -> int:
        """Process id of the node."""
        return self._process.pid

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._interrupt()
        if kind is None and self._process.returncode != 0:
            raise DemoError(self.told(f"did not end cleanly ({self._outcome()})"))

    def check(self) -> None:
        """Raise `DemoError` when the node is no longer running."""
        if self._process.poll() is not None:
            raise DemoError(self.told(f"ended by itself ({self._outcome()})"))

    def told(self, what: str) -> str:
        """Say in one line what happened to the node and what it said last."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines()]
        last = " | ".join([line for line in lines if line][-3:]) or "nothing"
        return f"the node {what}; it said last: {last} (all of it: {self._log})"

    def _interrupt(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(END_S)
        except BaseException as error:  # a second Ctrl-C must not leave the node behind either
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    def _outcome(self) -> str:
        code = self._process.returncode
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _end_with_parent() -> None:
    """Ask Linux to end this process when its parent is gone, were it by SIGKILL."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _setting(name: str, value: str) -> tuple[str, str]:
    return "-p", f"{name}:={value}"
