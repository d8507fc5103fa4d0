"""The newest picture of every camera: where the reader is slower, the older ones are dropped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """One slot per sender; putting replaces what was not taken yet. Safe between threads.

    Senders are served in turn: whoever was taken from goes behind those who wait.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Item] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, sender: str, item: Item) -> bool:
        """Leave the newest item of a sender; True when it replaced one that still lay there."""
        with self._changed:
            replaced = sender in self._waiting
            self._waiting[sender] = item  # who waits already keeps its place in the queue
            self._changed.notify()
            return replaced

    def take(self) -> tuple[str, Item] | None:
        """Wait for an item; returns its sender and it, or None as soon as the box is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return None if self._closed else self._waiting.popitem(last=False)

    def close(self) -> None:
        """Wake the reader for the last time; what still lies there is forgotten."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
