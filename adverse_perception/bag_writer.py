"""Writing rosbag2 bags without ROS: labels, pictures and words as RViz and Foxglove open them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adverse_perception.bags import COMPRESSED_IMAGE, IMAGE, BagFrame, library
from adverse_perception.files import FileError, explained, folder_aside
from adverse_perception.frames import UInt8Array
from adverse_perception.recordings import SourceFrame

STRING = "std_msgs/msg/String"


class BagWriter:
    """Writes pictures and words into a bag; headers and times are those of the source frame."""

    def __init__(self, writer: Any, path: Path) -> None:
        """Write through an open rosbags writer; `path` is what errors name."""
        typesys = library("typesys")
        self._store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
        self._writer = writer
        self._path = path
        self._connections: dict[str, Any] = {}

    def image(
        self, topic: str, picture: UInt8Array, source: SourceFrame, encoding: str = ""
    ) -> None:
        """Write an Image: (H, W) uint8 becomes mono8, (H, W, 3) uint8 RGB becomes rgb8."""
        picture = np.ascontiguousarray(picture)
        message = self._store.types[IMAGE](
            header=self.header(source),
            height=picture.shape[0],
            width=picture.shape[1],
            encoding=encoding or ("mono8" if picture.ndim == 2 else "rgb8"),
            is_bigendian=0,
            step=picture.strides[0],
            data=picture.reshape(-1),
        )
        self._write(topic, IMAGE, self._store.serialize_cdr(message, IMAGE), source.logged_ns)

    def jpeg(self, topic: str, picture: UInt8Array, source: SourceFrame) -> None:
        """Write (H, W, 3) uint8 RGB as a CompressedImage, for looking at (JPEG is lossy)."""
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        kind = self._store.types[COMPRESSED_IMAGE]
        message = kind(self.header(source), "bgr8; jpeg compressed bgr8", data.reshape(-1))
        serialized = self._store.serialize_cdr(message, COMPRESSED_IMAGE)
        self._write(topic, COMPRESSED_IMAGE, serialized, source.logged_ns)

    def text(self, topic: str, text: str, logged_ns: int, *, latched: bool = False) -> None:
        """Write a String; a latched one reaches whoever subscribes later while the bag plays."""
        message = self._store.types[STRING](text)
        serialized = self._store.serialize_cdr(message, STRING)
        self._write(topic, STRING, serialized, logged_ns, (_latched(),) if latched else ())

    def copy(self, frame: BagFrame) -> None:
        """Write the message a frame came in, byte for byte, on its own topic."""
        self._write(frame.topic, frame.kind, frame.serialized, frame.logged_ns)

    def header(self, source: SourceFrame) -> Any:
        """std_msgs/Header of a source frame: its stamp, its frame id."""
        seconds, nanoseconds = divmod(source.stamp_ns, 1_000_000_000)
        stamp = self._store.types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
        return self._store.types["std_msgs/msg/Header"](stamp, source.frame_id)

    def _write(
        self, topic: str, kind: str, data: Any, logged_ns: int, quality: tuple[Any, ...] = ()
    ) -> None:
        with _writing(self._path):
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(
                    topic, kind, typestore=self._store, offered_qos_profiles=quality
                )
            self._writer.write(self._connections[topic], logged_ns, data)


@contextlib.contextmanager
def write_bag(path: Path, storage: str = "mcap") -> Iterator[BagWriter]:
    """Write a bag folder that is at `path` when the block ends well, and nowhere otherwise.

    Args:
        path: folder of the bag; a bag that is there already is replaced at the end.
        storage: `mcap` (compressed, opened by RViz and Foxglove) or `sqlite3`.

    Raises:
        FileError: the disk is full, or something that is no bag is at `path`.
    """
    rosbag2 = library("rosbag2")
    plugin = {"mcap": rosbag2.StoragePlugin.MCAP, "sqlite3": rosbag2.StoragePlugin.SQLITE3}
    with folder_aside(path, "metadata.yaml") as aside:
        # version 8 is what Humble still reads
        writer = rosbag2.Writer(aside, version=8, storage_plugin=plugin[storage])
        if storage == "mcap":
            writer.set_compression(rosbag2.CompressionMode.STORAGE, rosbag2.CompressionFormat.ZSTD)
        with _writing(path):
            writer.open()
        try:
            yield BagWriter(writer, path)
            with _writing(path):
                writer.close()
        except BaseException:
            with contextlib.suppress(Exception):
                writer.abort()
            raise


def _latched() -> Any:
    """Quality of service of a latched topic: reliable, transient local, depth 1."""
    qos = library("interfaces")
    forever = qos.QosTime(2147483647, 4294967295)
    return qos.Qos(
        qos.QosHistory.KEEP_LAST,
        1,
        qos.QosReliability.RELIABLE,
        qos.QosDurability.TRANSIENT_LOCAL,
        forever,
        forever,
        qos.QosLiveliness.AUTOMATIC,
        forever,
        False,
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        with explained(path):
            yield
    except sqlite3.Error as error:
        raise FileError(f"cannot write {path}: {error}; free space there") from error
