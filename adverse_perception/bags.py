"""rosbag2 bags without ROS: the pictures of camera topics. Alone in importing rosbags."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adverse_perception import messages
from adverse_perception.frames import UInt8Array
from adverse_perception.recordings import Drops, SourceError, SourceFrame, true_labels

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
TRUTH = "labels_truth"
"""Name of the topic, beside a camera's pictures, that holds their true labels (mono8)."""

_STORAGE_SUFFIXES = (".mcap", ".db3")
_CAMERA_ENDINGS = ("/compressed", "/image_raw", "/image_color", "/image_rect", "/image")
_NOT_CAMERAS = ("labels", "confidence", "color", "overlay", "restored", TRUTH, "compressedDepth")
_PATIENCE = 64  # frames that wait for their true labels, which may be logged a little later


class BagError(SourceError):
    """A bag that cannot be read: damaged, of another kind, or without the topics wanted."""


@dataclass(frozen=True)
class BagFrame(SourceFrame):
    """A picture from a bag, with the message it came in.

    Attributes:
        topic: where it was published.
        kind: message type.
        serialized: the message as it is in the bag (CDR).
    """

    topic: str = ""
    kind: str = IMAGE
    serialized: bytes = b""


def is_bag(path: Path) -> bool:
    """A folder with metadata.yaml or storage files in it, or a storage file itself."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    return path.suffix in (*_STORAGE_SUFFIXES, ".bag")


class Bag:
    """The camera pictures of a bag, in the order they were logged."""

    continuous = True

    def __init__(self, path: Path, topics: Sequence[str] = (), truth_topic: str = "") -> None:
        """Look at the bag's topics.

        Args:
            path: bag folder, or one .mcap or .db3 file.
            topics: image topics to read; none = every camera found.
            truth_topic: topic of the true labels; empty = `<camera>/labels_truth` where it is.

        Raises:
            BagError: unreadable, or without the topics wanted.
        """
        self.name = str(path)
        self.drops = Drops()
        self._path = path
        with self._reader() as reader:
            connections = list(reader.connections)
            duration_s = reader.duration / 1e9
        self.topics = self._camera_topics(connections, topics)
        self._truth = self._truth_topics(connections, truth_topic)
        counts = [c.msgcount for c in connections if c.topic in self.topics]
        self._count = int(sum(counts))
        self.rate_hz = max(1.0, (max(counts) - 1) / duration_s) if duration_s > 0 else 15.0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[BagFrame]:
        self.drops = Drops()
        waiting: deque[BagFrame] = deque()
        truths: dict[tuple[str, int], UInt8Array] = {}
        for topic, frame in self._pictures():
            if topic in self._truth:
                truths[frame.camera, frame.stamp_ns] = frame.image[:, :, 0]
            else:
                waiting.append(frame)
            while len(truths) > _PATIENCE:
                truths.pop(next(iter(truths)))
            while waiting and self._may_go(waiting, truths):
                yield self._with_truth(waiting.popleft(), truths)
        for frame in waiting:
            yield self._with_truth(frame, truths)

    def _may_go(self, waiting: deque[BagFrame], truths: dict[tuple[str, int], UInt8Array]) -> bool:
        first = waiting[0]
        expected = first.camera in self._truth.values()
        return not expected or (first.camera, first.stamp_ns) in truths or len(waiting) > _PATIENCE

    def _with_truth(self, frame: BagFrame, truths: dict[tuple[str, int], UInt8Array]) -> BagFrame:
        labels = truths.pop((frame.camera, frame.stamp_ns), None)
        if labels is None:
            return frame
        where = f"the true labels of {frame.topic} in {self._path}"
        return replace(frame, labels=true_labels(labels, frame.image, where))

    def _pictures(self) -> Iterator[tuple[str, BagFrame]]:
        with self._reader() as reader:
            wanted = [c for c in reader.connections if c.topic in {**self.topics, **self._truth}]
            for connection, logged_ns, data in self._messages(reader, wanted):
                if frame := self._decoded(reader, connection, logged_ns, data):
                    yield connection.topic, frame

    def _decoded(
        self, reader: Any, connection: Any, logged_ns: int, data: bytes
    ) -> BagFrame | None:
        try:
            message = reader.deserialize(data, connection.msgtype)
            return self._frame(message, connection, logged_ns, data)
        except messages.MessageError as error:
            self._lose("undecodable", connection.topic, str(error))
        except Exception as error:  # whatever a damaged message does to the deserializer
            reason = f"not a whole {connection.msgtype} ({error})"
            self._lose("malformed", connection.topic, reason)
        return None

    def _lose(self, cause: str, topic: str, reason: str) -> None:
        if topic in self._truth:  # the frame itself is there, it only stays unscored
            self.drops.messages.setdefault("unscored", f"{topic}: {reason}")
        else:
            self.drops.add(cause, f"{topic}: {reason}")

    def _frame(self, message: Any, connection: Any, logged_ns: int, data: bytes) -> BagFrame:
        compressed = connection.msgtype == COMPRESSED_IMAGE
        decode = messages.compressed_to_frame if compressed else messages.to_frame
        camera = {**self.topics, **self._truth}[connection.topic]
        frame = decode(message, camera)
        return BagFrame(
            frame.image,
            frame.stamp_ns,
            f"{camera}/{frame.stamp_ns}",
            None,
            camera,
            message.header.frame_id,
            logged_ns,
            connection.topic,
            connection.msgtype,
            bytes(data),
        )

    def _messages(self, reader: Any, connections: list[Any]) -> Iterator[tuple[Any, int, bytes]]:
        stream = reader.messages(connections)
        while True:
            try:
                item = next(stream)
            except StopIteration:
                return
            except Exception as error:  # the storage's own errors differ by kind
                raise self._damaged(error) from error
            yield item

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Any]:
        highlevel, typesys = library("highlevel"), library("typesys")
        if self._path.suffix == ".bag":
            raise BagError(
                f"{self._path} is a ROS 1 bag: expected rosbag2 (mcap or sqlite3); convert it: "
                f"rosbags-convert --src {self._path} --dst {self._path.with_suffix('')}"
            )
        folder = self._path.is_dir() and not (self._path / "metadata.yaml").is_file()
        paths = _storage_files(self._path) if folder else [self._path]
        store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
        with contextlib.ExitStack() as stack:
            try:
                reader = stack.enter_context(highlevel.AnyReader(paths, default_typestore=store))
            except Exception as error:  # struct, OS, SQLite, YAML and rosbags errors alike
                raise self._damaged(error) from error
            yield reader

    def _damaged(self, error: Exception) -> BagError:
        return BagError(
            f"{self._path} cannot be read to its end: expected a whole rosbag2 bag (mcap or "
            f"sqlite3), found: {str(error).rstrip('.')}; copy it again, or repair it with "
            "`mcap recover` or `ros2 bag reindex`"
        )

    def _camera_topics(self, connections: list[Any], wanted: Sequence[str]) -> dict[str, str]:
        there = [c.topic for c in connections if c.msgtype in (IMAGE, COMPRESSED_IMAGE)]
        if missing := [topic for topic in wanted if topic not in there]:
            raise BagError(
                f"{self._path} has no image topic {missing[0]}: expected one of "
                f"{', '.join(sorted(there)) or 'none, there are no images at all'}"
            )
        chosen = wanted or [topic for topic in there if not topic.endswith(_NOT_CAMERAS)]
        if not chosen:
            others = ", ".join(sorted({f"{c.topic} ({c.msgtype})" for c in connections}))
            raise BagError(
                f"{self._path} holds no camera pictures: expected a topic of {IMAGE} or "
                f"{COMPRESSED_IMAGE}, found {others or 'no topics'}; record the camera's topic"
            )
        # raw before compressed: a camera recorded both ways is one camera
        cameras: dict[str, str] = {}
        for topic in sorted(chosen, key=lambda name: (name.endswith("/compressed"), name)):
            if wanted or camera_of(topic) not in cameras.values():
                cameras[topic] = camera_of(topic)
        return cameras

    def _truth_topics(self, connections: list[Any], wanted: str) -> dict[str, str]:
        there = {c.topic for c in connections if c.msgtype == IMAGE}
        if wanted and wanted not in there:
            raise BagError(f"{self._path} has no topic {wanted} of {IMAGE} for the true labels")
        if wanted:
            return {wanted: next(iter(self.topics.values()))}
        places = {f"/{camera}/{TRUTH}": camera for camera in self.topics.values()}
        return {topic: camera for topic, camera in places.items() if topic in there}


def camera_of(topic: str) -> str:
    """Name of the camera that publishes on a topic: `/front/image_raw/compressed` → `front`."""
    for ending in _CAMERA_ENDINGS:
        topic = topic.removesuffix(ending)
    return topic.strip("/") or "camera"


def _storage_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in _STORAGE_SUFFIXES)


def library(module: str) -> Any:
    """The part of rosbags of that name: `highlevel`, `interfaces`, `rosbag2`, `typesys`.

    Raises:
        BagError: rosbags is not installed.
    """
    try:
        import rosbags.highlevel
        import rosbags.interfaces
        import rosbags.rosbag2
        import rosbags.typesys
    except ImportError as error:
        raise BagError(
            f"bags are read and written with rosbags, which is not here ({error}): "
            "pip install rosbags"
        ) from error
    return getattr(rosbags, module)
