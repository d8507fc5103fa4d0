"""Pictures in messages: right colours, right bytes, and a reason where there is no picture."""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception.messages import (
    MessageError,
    compressed_to_frame,
    decode,
    fill_image,
    supported_encodings,
    to_frame,
    to_rgb,
)

RED, GREEN, BLUE, GREY = (200, 20, 40), (10, 180, 30), (30, 60, 220), (90, 90, 90)
CONTAINERS = {
    "bytes": bytes,
    "array": lambda data: array.array("B", data),
    "ndarray": lambda data: np.frombuffer(data, np.uint8),
}


def header(sec: int = 3, nanosec: int = 500) -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id="optical")


def image(encoding: str, pixels: np.ndarray, padding: int = 0, **changes: Any) -> Any:
    """A message holding `pixels` (H, W, ...) with `padding` bytes of rubbish behind each row."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rubbish = np.full((rows.shape[0], padding), 0xAB, np.uint8)
    data = np.hstack([rows, rubbish])
    fields = dict(zip(("height", "width"), pixels.shape[:2], strict=True), is_bigendian=0)
    fields |= {"encoding": encoding, "step": data.shape[1], "data": data.tobytes()}
    fields |= {"header": header()}
    return SimpleNamespace(**{**fields, **changes})


def compressed(data: bytes, kind: str = "bgr8; jpeg compressed bgr8") -> Any:
    return SimpleNamespace(header=header(), format=kind, data=data)


def picture(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """A smooth coloured picture (H, W, 3) uint8 RGB."""
    small = np.random.default_rng(seed).integers(30, 226, (3, 4, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def four_colours() -> np.ndarray:
    """Quarters of red, green, blue and grey, 32 pixels across."""
    quarter = np.ones((16, 16, 1), np.uint8)
    top = np.hstack([quarter * RED, quarter * GREEN])
    return np.vstack([top, np.hstack([quarter * BLUE, quarter * GREY])]).astype(np.uint8)


def assert_quarters(found: np.ndarray, tolerance: int) -> None:
    places = {(8, 8): RED, (8, 24): GREEN, (24, 8): BLUE, (24, 24): GREY}
    for place, colour in places.items():
        np.testing.assert_allclose(found[place].astype(int), colour, atol=tolerance)


def yuv(rgb: np.ndarray) -> np.ndarray:
    """BT.601 video-range YUV, (H, W, 3) uint8, written out from the standard."""
    r, g, b = np.moveaxis(rgb.astype(float) / 255, -1, 0)
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return np.rint(np.stack([y, u, v], -1)).astype(np.uint8)


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
CHANNEL_ORDER = {
    "rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "8UC3": [2, 1, 0],
    "rgba8": [0, 1, 2, 0], "bgra8": [2, 1, 0, 0], "8UC4": [2, 1, 0, 0],
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    size=SIZES,
    padding=st.integers(0, 7),
    encoding=st.sampled_from(sorted(CHANNEL_ORDER)),
    container=st.sampled_from(sorted(CONTAINERS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_byte_lands_in_its_channel_whatever_the_padding(
    size: tuple[int, int], padding: int, encoding: str, container: str, seed: int
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    message = image(encoding, rgb[:, :, CHANNEL_ORDER[encoding]], padding)
    message.data = CONTAINERS[container](message.data)
    np.testing.assert_array_equal(to_rgb(message), rgb)


@settings(max_examples=40, deadline=None)
@given(size=SIZES, padding=st.integers(0, 5), seed=st.integers(0, 2**32 - 1))
def test_mono8_is_grey(size: tuple[int, int], padding: int, seed: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    for encoding in ("mono8", "8UC1"):
        found = to_rgb(image(encoding, grey, padding))
        np.testing.assert_array_equal(found, np.repeat(grey[:, :, None], 3, axis=2))


@settings(max_examples=40, deadline=None)
@given(size=SIZES, big=st.booleans(), padding=st.integers(0, 3), seed=st.integers(0, 2**32 - 1))
def test_sixteen_bits_are_scaled_in_either_byte_order(
    size: tuple[int, int], big: bool, padding: int, seed: int
) -> None:
    wide = np.random.default_rng(seed).integers(0, 65536, (*size, 3), np.uint16)
    stored = wide.astype(">u2" if big else "<u2")
    expected = np.rint(wide / 257).astype(np.uint8)
    changes = {"is_bigendian": int(big)}
    np.testing.assert_array_equal(to_rgb(image("rgb16", stored, padding, **changes)), expected)
    mono = to_rgb(image("mono16", np.ascontiguousarray(stored[:, :, 1]), padding, **changes))
    np.testing.assert_array_equal(mono[:, :, 2], expected[:, :, 1])


@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2"])
@pytest.mark.parametrize("padding", [0, 6])
def test_yuv422_has_the_right_colours(encoding: str, padding: int) -> None:
    full = yuv(four_colours())
    chroma = np.where(np.arange(32)[None] % 2 == 0, full[:, :, 1], np.roll(full[:, :, 2], 1, 1))
    pair = [chroma, full[:, :, 0]] if encoding in ("uyvy", "yuv422") else [full[:, :, 0], chroma]
    assert_quarters(to_rgb(image(encoding, np.stack(pair, -1), padding)), tolerance=3)


def nv21(rgb: np.ndarray) -> np.ndarray:
    full = yuv(rgb)
    quarter = full[::2, ::2, [2, 1]].reshape(rgb.shape[0] // 2, rgb.shape[1])
    return np.vstack([full[:, :, 0], quarter])


@pytest.mark.parametrize("padding", [0, 4])
def test_nv21_has_the_right_colours(padding: int) -> None:
    message = image("nv21", nv21(four_colours()), padding, height=32)
    assert_quarters(to_rgb(message), tolerance=3)


def test_nv21_whose_step_counts_the_chroma_is_read_all_the_same() -> None:
    message = image("nv21", nv21(four_colours()), height=32, step=48)
    assert_quarters(to_rgb(message), tolerance=3)


def test_nv24_has_the_right_colours() -> None:
    full = yuv(four_colours())
    planes = np.concatenate([full[:, :, 0].ravel(), full[:, :, 1:].ravel()])
    message = image("nv24", full[:, :, 0], data=planes.tobytes())
    assert_quarters(to_rgb(message), tolerance=3)


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("padding", [0, 5])
def test_bayer_has_the_right_colours(order: str, padding: int) -> None:
    rgb = four_colours()
    mosaic = np.empty(rgb.shape[:2], np.uint8)
    for place, letter in enumerate(order):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
    assert_quarters(to_rgb(image(f"bayer_{order}8", mosaic, padding)), tolerance=1)


def test_rgb8_is_a_view_of_the_message() -> None:
    data = array.array("B", bytes(4 * 6 * 3))
    message = image("rgb8", np.zeros((4, 6, 3), np.uint8), data=data)
    found = to_rgb(message)
    data[0] = 77
    assert found[0, 0, 0] == 77


def test_a_frame_keeps_the_stamp_and_the_camera() -> None:
    frame = to_frame(image("rgb8", picture()), "rear")
    assert (frame.stamp_ns, frame.camera) == (3_000_000_500, "rear")


@pytest.mark.parametrize("encoding", ["rgb8", "mono16", "uyvy", "nv21", "nv24", "bayer_rggb8"])
@pytest.mark.parametrize("left", [0, 1, 7])
def test_truncated_data_is_refused_with_both_sizes(encoding: str, left: int) -> None:
    whole = np.zeros((4, 6, 3), np.uint8)
    step = {"rgb8": 18, "mono16": 12, "uyvy": 12}.get(encoding, 6)
    message = image(encoding, whole, step=step)
    message.data = message.data[:left]
    with pytest.raises(MessageError, match=rf"6x4 {encoding} needs .* found .* {left} bytes"):
        to_rgb(message)


def test_a_last_row_without_its_padding_is_enough() -> None:
    message = image("rgb8", picture(), padding=5)
    message.data = message.data[:-5]
    np.testing.assert_array_equal(to_rgb(message), picture())


def test_a_step_smaller_than_a_row_is_refused() -> None:
    with pytest.raises(MessageError, match=r"rows of 96 bytes .* found step 95"):
        to_rgb(image("rgb8", picture(), step=95))


@pytest.mark.parametrize("encoding", supported_encodings())
def test_a_picture_without_pixels_is_refused(encoding: str) -> None:
    with pytest.raises(MessageError, match="empty picture: 0x4"):
        to_rgb(image(encoding, picture(), width=0, height=4))


@pytest.mark.parametrize("encoding", ["uyvy", "nv21", "bayer_grbg8"])
def test_half_a_block_of_pixels_is_refused(encoding: str) -> None:
    with pytest.raises(MessageError, match=f"{encoding} holds blocks of 2x"):
        to_rgb(image(encoding, picture(), width=31, height=24))


@pytest.mark.parametrize("encoding", ["", "32FC1", "bgr32", "RGB8"])
def test_an_unknown_encoding_is_refused_with_the_known_ones(encoding: str) -> None:
    with pytest.raises(MessageError, match="bayer_rggb8") as refusal:
        to_rgb(image(encoding, picture()))
    assert repr(encoding) in str(refusal.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("container", sorted(CONTAINERS))
def test_compressed_pictures_have_the_right_colours(suffix: str, container: str) -> None:
    encoded = cv2.imencode(suffix, cv2.cvtColor(four_colours(), cv2.COLOR_RGB2BGR))[1].tobytes()
    frame = compressed_to_frame(compressed(CONTAINERS[container](encoded), "jpeg"), "rear")
    assert_quarters(frame.image, tolerance=6)
    assert frame.stamp_ns == 3_000_000_500


def test_a_picture_stored_as_rgb_by_image_transport_is_not_turned_round() -> None:
    encoded = cv2.imencode(".png", four_colours())[1].tobytes()
    assert_quarters(decode(compressed(encoded, "rgb8; png compressed rgb8")), tolerance=0)


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm() -> None:
    encoded = cv2.imencode(".jpg", picture())[1].tobytes()
    assert decode(compressed(encoded + bytes(500))).shape == (24, 32, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_a_cut_off_compressed_picture_is_refused(suffix: str, share: float) -> None:
    encoded = cv2.imencode(suffix, picture(200, 300))[1].tobytes()
    with pytest.raises(MessageError, match=r"without data|cut off|cannot decode"):
        decode(compressed(encoded[: int(share * len(encoded))]))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), head=st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n"]))
def test_rubbish_is_never_a_picture_and_never_another_error(data: bytes, head: bytes) -> None:
    with pytest.raises(MessageError):
        decode(compressed(head + data))


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from(supported_encodings()),
    size=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    step=st.integers(0, 2**32 - 1),
    data=st.binary(max_size=64),
)
def test_senseless_sizes_are_refused_and_nothing_else_happens(
    encoding: str, size: tuple[int, int], step: int, data: bytes
) -> None:
    message = image(encoding, picture(), height=size[0], width=size[1], step=step, data=data)
    try:
        assert to_rgb(message).shape == (*size, 3)
    except MessageError as error:
        assert str(error)


@settings(max_examples=40, deadline=None)
@given(size=SIZES, colours=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_what_is_filled_in_is_read_back(size: tuple[int, int], colours: bool, seed: int) -> None:
    image_type = pytest.importorskip("sensor_msgs.msg").Image
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    message = image_type()
    for _ in range(2):  # a message may be filled again
        fill_image(message, rgb if colours else rgb[:, :, 0], "rgb8" if colours else "mono8",
                   message.header)  # fmt: skip
    assert len(message.data) == message.step * message.height
    expected = rgb if colours else np.repeat(rgb[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(to_rgb(message), expected)


def test_rclpy_and_rosbags_messages_are_read_alike() -> None:
    image_type = pytest.importorskip("sensor_msgs.msg").Image
    stores = pytest.importorskip("rosbags.typesys")
    types = stores.get_typestore(stores.Stores.ROS2_JAZZY).types
    stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
    head = types["std_msgs/msg/Header"](stamp=stamp, frame_id="a")
    flat = picture().reshape(-1)
    bag = types["sensor_msgs/msg/Image"](head, 24, 32, "bgr8", 0, 96, flat)
    ros = image_type(height=24, width=32, encoding="bgr8", step=96)
    ros.data.frombytes(flat.tobytes())
    np.testing.assert_array_equal(to_frame(bag).image, to_frame(ros).image)
    assert to_frame(bag).stamp_ns == 1_000_000_002
