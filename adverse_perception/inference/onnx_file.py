"""The little of the ONNX file format that a vehicle needs, without the `onnx` package.

An ONNX file is one protobuf message. We read and write two of its top-level fields: the graph
(structure and weights) and the properties (words by key).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adverse_perception.inference.errors import EngineError

GRAPH, _PROPERTIES = 7, 14  # field numbers of onnx.ModelProto
_VARINT, _LENGTH = 0, 2  # protobuf wire types
_FIXED_BYTES = {1: 8, 5: 4}  # the other wire types in use, and their sizes


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        EngineError: it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"{path}: expected an engine file, found {error.strerror or error};"
            " check engines_folder, or export it with training/export.py"
        ) from None


def open_content(content: bytes, path: Path) -> tuple[bytes, dict[str, str]]:
    """The graph's bytes and the properties of an ONNX file.

    Args:
        content: the file's bytes.
        path: what errors call it.

    Raises:
        EngineError: it is no whole ONNX file.
    """
    graph = b""
    properties = {}
    for number, _, body, end in fields(content, path):
        if number == GRAPH:
            graph = content[body:end]
        elif number == _PROPERTIES:
            key, value = _entry(content[body:end], path)
            properties[key] = value
    if not graph:
        raise _broken(path)
    return graph, properties


def with_property(content: bytes, key: str, value: str, path: Path) -> bytes:
    """The file with one property set, everything else byte for byte as it was."""
    kept = b"".join(
        content[start:end]
        for number, start, body, end in fields(content, path)
        if number != _PROPERTIES or _entry(content[body:end], path)[0] != key
    )
    return kept + packed(_PROPERTIES, packed(1, key.encode()) + packed(2, value.encode()))


def _entry(content: bytes, path: Path) -> tuple[str, str]:
    """Key and value of one property."""
    parts = {number: content[body:end] for number, _, body, end in fields(content, path)}
    key, value = (parts.get(part, b"").decode(errors="replace") for part in (1, 2))
    return key, value


def fields(content: bytes, path: Path) -> Iterator[tuple[int, int, int, int]]:
    """Number, start, start of the body and end of every top-level field of a message.

    Args:
        content: a protobuf message.
        path: what errors call the file.

    Raises:
        EngineError: it is no whole message.
    """
    position = 0
    while position < len(content):
        start = position
        tag, position = _varint(content, position, path)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            body = position
            _, position = _varint(content, position, path)
        elif wire == _LENGTH:
            size, body = _varint(content, position, path)
            position = body + size
        elif wire in _FIXED_BYTES:
            body, position = position, position + _FIXED_BYTES[wire]
        else:
            raise _broken(path)
        if position > len(content):
            raise _broken(path)
        yield number, start, body, position


def _varint(content: bytes, position: int, path: Path) -> tuple[int, int]:
    """The number at the position, seven bits a byte, and the position after it."""
    value = shift = 0
    while position < len(content) and shift < 64:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _broken(path)


def packed(number: int, body: bytes) -> bytes:
    """One length-delimited field: its number, its size, its body."""
    head = bytes([number << 3 | _LENGTH])
    size = len(body)
    while size >= 0x80:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + body


def _broken(path: Path) -> EngineError:
    return EngineError(
        f"{path}: expected a whole ONNX file, found one that is truncated or something else;"
        " copy or export it again"
    )
