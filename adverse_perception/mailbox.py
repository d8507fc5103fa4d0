"""The newest picture of every camera: where the readers are slower, the older ones are dropped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """One slot per sender; putting replaces what was not taken yet. Safe between threads.

    Senders are served in turn: whoever was taken from goes behind those who wait. Of one sender,
    no second item is taken while the first is being worked on, so that its order is kept.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Item] = OrderedDict()
        self._at_work: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, sender: str, item: Item) -> bool:
        """Leave the newest item of a sender; True when it replaced one that still lay there."""
        with self._changed:
            replaced = sender in self._waiting
            self._waiting[sender] = item  # who waits already keeps its place in the queue
            self._changed.notify()
            return replaced

    @contextmanager
    def taken(self) -> Iterator[tuple[str, Item] | None]:
        """Wait for an item and work on it: its sender and it, or None once the box is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next() is not None)
            sender = None if self._closed else self._next()
            if sender is not None:
                self._at_work.add(sender)
                taken = sender, self._waiting.pop(sender)
        if sender is None:
            yield None
            return
        try:
            yield taken
        finally:
            with self._changed:
                self._at_work.discard(sender)
                self._changed.notify()

    def close(self) -> None:
        """Wake the readers for the last time; what still lies there is forgotten."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _next(self) -> str | None:
        return next((one for one in self._waiting if one not in self._at_work), None)
