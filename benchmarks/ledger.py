"""What was sent and what came of it; every result is held against its picture. Free of ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

STUCK_S = 5.0
"""A camera that sends good pictures gets labels at least this often."""
SETTLING_S = 1.0
"""At best effort, pictures right after two ends have found each other may be lost uncounted."""
_KEPT_FAULTS = 50
_LOST_RESULTS = 0.02
"""Share of the results that may be lost on the way to us, who listen to a queue of few."""


@dataclass(frozen=True)
class Picture:
    """A picture that was sent.

    Attributes:
        stamp_ns: its stamp.
        frame_id: that of its camera, in this incarnation.
        size: width and height in pixels.
        number: what its labels say, where they can be read.
        settled: both ends had known each other for a while.
    """

    stamp_ns: int
    frame_id: str
    size: tuple[int, int]
    number: int
    settled: bool = True


@dataclass(frozen=True)
class Result:
    """Something that was published of a picture; what a topic does not say is None.

    Several may listen to a topic: each `listener` must hear everything once and in order.
    """

    camera: str
    topic: str
    stamp_ns: int
    frame_id: str | None = None
    size: tuple[int, int] | None = None
    number: int | None = None
    listener: int = 0


class Ledger:
    """Books pictures, results and silences; what is wrong is in `faults`, in words."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.results: Counter[str] = Counter()
        self.longest_silence_s = 0.0
        self.back_after_s: list[float] = []
        self._sent: dict[str, dict[int, Picture]] = {}
        self._newest: dict[tuple[str, str, int], int] = {}
        self._since_s: dict[str, float] = {}  # camera -> begin of the silence that still lasts
        self._fresh: dict[str, float] = {}  # camera -> when it came, until its first labels

    def fault(self, what: str) -> None:
        """Note something that must not be."""
        if len(self.faults) < _KEPT_FAULTS:
            self.faults.append(what)

    def connected(self, camera: str, now_s: float) -> None:
        """The node listens to a camera that has come."""
        self._since_s[camera] = self._fresh[camera] = now_s

    def gone(self, camera: str, now_s: float) -> None:
        """A camera leaves; it must not have been waiting too long."""
        self._end_silence(camera, now_s)
        self._since_s.pop(camera, None)
        self._fresh.pop(camera, None)

    def sent(self, camera: str, picture: Picture) -> None:
        """Book a picture."""
        self._sent.setdefault(camera, {})[picture.stamp_ns] = picture

    def came(self, result: Result, now_s: float) -> None:
        """Hold a result against its picture."""
        self.results[result.topic] += 1
        where = f"{result.camera}/{result.topic}"
        picture = self._sent.get(result.camera, {}).get(result.stamp_ns)
        if picture is None:
            self.fault(f"{where}: stamp {result.stamp_ns} is that of no picture sent")
            return
        self._compare(where, result, picture)
        heard_by = result.camera, result.topic, result.listener
        newest = self._newest.get(heard_by, 0)
        if result.stamp_ns <= newest:
            how = "twice" if result.stamp_ns == newest else "after a newer one"
            self.fault(f"{where}: stamp {result.stamp_ns} came {how}")
        self._newest[heard_by] = max(newest, result.stamp_ns)
        if result.topic == "labels":
            self._labelled(result.camera, now_s)

    def close(self, counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """End the books: every picture must be labelled or dropped for a cause that was named.

        Args:
            counts: by camera, the node's own counters: received, labelled, and drops by cause.

        Returns:
            Sums over the cameras: sent, received, labelled, drops by cause, and `unnoticed`:
            sent before both ends had settled and never seen.
        """
        total: Counter[str] = Counter()
        for camera, sent in self._sent.items():
            counted = Counter(counts[camera])
            unnoticed = self._balance(camera, sent, counted)
            total.update({"sent": len(sent), "unnoticed": unnoticed, **counted})
        heard, labelled = self.results["labels"], total["labelled"]
        if not (1 - _LOST_RESULTS) * labelled <= heard <= labelled:
            self.fault(f"labels: the node published {labelled}, {heard} were heard")
        return dict(total)

    def _balance(self, camera: str, sent: Mapping[int, Picture], counts: Counter[str]) -> int:
        """Pictures that nobody counted; those must be of the first moments of a connection."""
        lost = counts["lost_in_transport"]
        ended = sum(counts.values()) - counts["received"] - lost
        if ended != counts["received"]:
            self.fault(f"{camera}: received {counts['received']} pictures, {ended} came to an end")
        unnoticed = len(sent) - counts["received"] - lost
        unsettled = sum(not picture.settled for picture in sent.values())
        if not 0 <= unnoticed <= unsettled:
            self.fault(
                f"{camera}: {unnoticed} of {len(sent)} pictures were neither received nor counted"
                f" as lost, of which {unsettled} may be from the first moments of a connection"
            )
        return unnoticed

    def _compare(self, where: str, result: Result, picture: Picture) -> None:
        for name in ("frame_id", "size", "number"):
            found, expected = getattr(result, name), getattr(picture, name)
            if found is not None and found != expected:
                self.fault(
                    f"{where}: stamp {result.stamp_ns} has {name} {expected}, found {found}"
                )

    def _labelled(self, camera: str, now_s: float) -> None:
        if camera in self._fresh:
            self.back_after_s.append(now_s - self._fresh.pop(camera))
        self._end_silence(camera, now_s)

    def _end_silence(self, camera: str, now_s: float) -> None:
        if camera not in self._since_s:
            return
        silence_s = now_s - self._since_s[camera]
        self.longest_silence_s = max(self.longest_silence_s, silence_s)
        if silence_s > STUCK_S:
            self.fault(f"{camera}: no labels for {silence_s:.1f} s while it sent pictures")
        self._since_s[camera] = now_s
