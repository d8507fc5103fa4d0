"""sensor_msgs pictures to arrays and back: exact, without a Python loop or a needless copy.

Works on any object with a message's fields, so rclpy's and rosbags' messages both do, whether
`data` is an array.array, bytes or an ndarray.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Frame, UInt8Array

Samples = NDArray[np.uint8] | NDArray[np.uint16]


class MessageError(ValueError):
    """A message that holds no usable picture; says what was expected and what was found."""


class Header(Protocol):
    """std_msgs/Header."""

    stamp: Any
    frame_id: str


class ImageMessage(Protocol):
    """sensor_msgs/Image."""

    header: Any
    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


class CompressedImageMessage(Protocol):
    """sensor_msgs/CompressedImage."""

    header: Any
    format: str
    data: Any


@dataclass(frozen=True)
class _Packed:
    """Pixels that lie beside each other: how many samples each, and the way to RGB."""

    channels: int
    to_rgb: int | None
    bits: int = 8


# OpenCV names a mosaic by its second row's second and third pixel, ROS by its first row's first
# two: ROS's rggb is OpenCV's BG.
_PACKED: Mapping[str, _Packed] = {
    "rgb8": _Packed(3, None),
    "bgr8": _Packed(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Packed(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Packed(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Packed(1, cv2.COLOR_GRAY2RGB),
    "mono16": _Packed(1, cv2.COLOR_GRAY2RGB, bits=16),
    "rgb16": _Packed(3, None, bits=16),
    "bgr16": _Packed(3, cv2.COLOR_BGR2RGB, bits=16),
    "8UC1": _Packed(1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Packed(3, cv2.COLOR_BGR2RGB),
    "8UC4": _Packed(4, cv2.COLOR_BGRA2RGB),
    "uyvy": _Packed(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": _Packed(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": _Packed(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422_yuy2": _Packed(2, cv2.COLOR_YUV2RGB_YUY2),
    "bayer_rggb8": _Packed(1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _Packed(1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _Packed(1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _Packed(1, cv2.COLOR_BayerGB2RGB),
}
_PIXELS_PER_BLOCK = {
    **dict.fromkeys(("uyvy", "yuv422", "yuyv", "yuv422_yuy2"), (2, 1)),
    **dict.fromkeys((name for name in _PACKED if name.startswith("bayer")), (2, 2)),
    "nv21": (2, 2),
}
"""Encodings whose (width, height) must be a multiple of something."""

# BT.601, video range: what cameras mean by YUV and what OpenCV does for the subsampled kinds.
_YUV_TO_RGB = np.array(
    [[1.1644, 0.0, 1.5960], [1.1644, -0.3918, -0.8130], [1.1644, 2.0172, 0.0]], np.float64
)
_YUV_MATRIX = np.column_stack([_YUV_TO_RGB, _YUV_TO_RGB @ np.array([-16.0, -128.0, -128.0])])


def to_frame(message: ImageMessage, camera: str = "camera") -> Frame:
    """Make a frame of a sensor_msgs/Image; rgb8 becomes a view of the message's own buffer.

    Raises:
        MessageError: unknown encoding, or fewer bytes than the picture needs.
    """
    return Frame(to_rgb(message), stamp_ns(message.header), camera)


def compressed_to_frame(message: CompressedImageMessage, camera: str = "camera") -> Frame:
    """Make a frame of a sensor_msgs/CompressedImage (JPEG, PNG and what else OpenCV reads).

    Raises:
        MessageError: empty, cut off, or not a picture.
    """
    return Frame(decode(message), stamp_ns(message.header), camera)


def stamp_ns(header: Header) -> int:
    """Nanoseconds of a header's stamp."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def to_rgb(message: ImageMessage) -> UInt8Array:
    """Picture of a sensor_msgs/Image: (H, W, 3) uint8 RGB, read-only where the message's data is.

    Rows are read through `step`. 16-bit samples are scaled to 8 bits (65535 becomes 255).

    Raises:
        MessageError: unknown encoding, or fewer bytes than the picture needs.
    """
    encoding = message.encoding
    _refuse_impossible_size(message)
    if encoding in _PLANAR:
        return _PLANAR[encoding](message)
    if encoding not in _PACKED:
        return _by_cv_bridge(message)
    packed = _PACKED[encoding]
    samples = _to_8_bit(_samples(message, packed))
    if packed.to_rgb is None:
        return samples
    return np.asarray(cv2.cvtColor(samples, packed.to_rgb), np.uint8)


def decode(message: CompressedImageMessage) -> UInt8Array:
    """Picture of a sensor_msgs/CompressedImage: (H, W, 3) uint8 RGB, in the sensor's orientation.

    Raises:
        MessageError: empty, cut off, or not a picture.
    """
    data = np.frombuffer(message.data, np.uint8)
    if not data.size:
        raise MessageError(f"a compressed picture ({message.format!r}) without data")
    _refuse_cut_off(data)
    try:
        # the labels belong to the sensor's pixels: a rotation noted in EXIF must not be applied
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        picture = None
    if picture is None:
        raise MessageError(
            f"cannot decode {data.size} bytes of format {message.format!r};"
            " expected a whole JPEG or PNG picture"
        )
    if "compressed rgb" in message.format:  # image_transport stored RGB where BGR belongs
        return np.asarray(picture, np.uint8)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def fill_image(message: Any, picture: UInt8Array, encoding: str, header: Any) -> None:
    """Put an array into a sensor_msgs/Image, the fast way.

    Args:
        message: the rclpy message to fill; may be reused from frame to frame.
        picture: (H, W) or (H, W, C) uint8.
        encoding: its name for the receiver, such as `mono8` or `rgb8`.
        header: taken over unchanged, so that stamp and frame id are the camera's.
    """
    picture = np.ascontiguousarray(picture)
    message.header = header
    message.height, message.width = picture.shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = picture.nbytes // picture.shape[0]
    if len(message.data) == picture.nbytes:  # of the last picture: memory that is warm
        np.copyto(np.frombuffer(message.data, np.uint8), picture.reshape(-1))
        return
    # every other way (ndarray, memoryview, bytes under field checks) is checked byte by byte
    data = array.array("B")
    data.frombytes(memoryview(picture).cast("B"))  # type: ignore[arg-type,unused-ignore]
    message.data = data


def supported_encodings() -> tuple[str, ...]:
    """Names of the encodings that need no cv_bridge."""
    return (*_PACKED, *_PLANAR)


def _refuse_impossible_size(message: ImageMessage) -> None:
    if not (message.height and message.width):
        raise MessageError(
            f"an empty picture: {message.width}x{message.height} {message.encoding}"
        )
    across, down = _PIXELS_PER_BLOCK.get(message.encoding, (1, 1))
    if message.width % across or message.height % down:
        raise MessageError(
            f"{message.encoding} holds blocks of {across}x{down} pixels,"
            f" found a picture of {message.width}x{message.height}"
        )


def _samples(message: ImageMessage, packed: _Packed) -> Samples:
    """View of the message's samples, (H, W, C) or (H, W) when C is 1, in native byte order."""
    item = packed.bits // 8
    pixel = packed.channels * item
    kind = np.dtype(np.uint8 if item == 1 else (">u2" if message.is_bigendian else "<u2"))
    shape = (message.height, message.width, packed.channels)
    view = _view(message, shape, (int(message.step), pixel, item), kind)
    return view if packed.channels > 1 else view[:, :, 0]


def _view(
    message: ImageMessage,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    kind: np.dtype[Any],
    offset: int = 0,
) -> Samples:
    """View of the message's buffer; refused when rows overlap or the data ends too early."""
    row = shape[1] * strides[1]
    data = np.frombuffer(message.data, np.uint8)
    needed = offset + (shape[0] - 1) * strides[0] + row
    if strides[0] < row or data.size < needed:
        raise MessageError(
            f"{message.width}x{message.height} {message.encoding} needs rows of {row} bytes and"
            f" {needed} bytes in all, found step {message.step} and {data.size} bytes"
        )
    return np.ndarray(shape, kind, data, offset, strides)


def _to_8_bit(samples: Samples) -> UInt8Array:
    if samples.dtype.itemsize == 1:
        return samples  # type: ignore[return-value]
    native = np.ascontiguousarray(samples, np.uint16)  # OpenCV misreads rows of an odd length
    return np.asarray(cv2.convertScaleAbs(native, alpha=1 / 257), np.uint8)


def _planes(message: ImageMessage, chroma_rows: float) -> int:
    """Bytes between rows of a picture in planes; some drivers count the chroma into `step`."""
    rows = message.height * (1 + chroma_rows)
    return int(message.step if len(message.data) >= message.step * rows else message.width)


def _nv21(message: ImageMessage) -> UInt8Array:
    step = _planes(message, 0.5)
    shape = (message.height * 3 // 2, message.width)
    planes = _view(message, shape, (step, 1), np.dtype(np.uint8))
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV21), np.uint8)


def _nv24(message: ImageMessage) -> UInt8Array:
    step = _planes(message, 2)
    height, width = message.height, message.width
    byte = np.dtype(np.uint8)
    luma = _view(message, (height, width), (step, 1), byte)
    chroma = _view(message, (height, width, 2), (2 * step, 2, 1), byte, height * step)
    yuv = cv2.merge([luma, chroma[:, :, 0], chroma[:, :, 1]])
    return np.asarray(cv2.transform(yuv, _YUV_MATRIX), np.uint8)


_PLANAR: Mapping[str, Callable[[ImageMessage], UInt8Array]] = {"nv21": _nv21, "nv24": _nv24}


def _by_cv_bridge(message: ImageMessage) -> UInt8Array:
    """Leave the exotic encodings to cv_bridge, where a ROS installation has it."""
    try:
        from cv_bridge import CvBridge  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, AttributeError):  # AttributeError: built for another numpy
        raise MessageError(
            f"unknown encoding {message.encoding!r}; expected one of"
            f" {', '.join(supported_encodings())}, or install cv_bridge for others"
        ) from None
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), np.uint8)
    except Exception as error:  # cv_bridge raises whatever its C++ half raised
        raise MessageError(f"cv_bridge refuses encoding {message.encoding!r}: {error}") from error


def _refuse_cut_off(data: UInt8Array) -> None:
    """OpenCV fills what is missing of a cut-off picture with grey and calls it decoded."""
    content = data.tobytes()
    if content.startswith(b"\xff\xd8"):  # JPEG: the end mark must follow the last scan's begin
        whole = content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda") >= 0
    elif content.startswith(b"\x89PNG"):
        whole = b"IEND" in content[-64:]
    else:
        return
    if not whole:
        raise MessageError(f"a compressed picture is cut off after {data.size} bytes")
