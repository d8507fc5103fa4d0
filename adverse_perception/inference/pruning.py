"""The part of an ONNX file that computes some of its outputs.

Runtimes cannot be told to leave work out: ONNX Runtime runs every node of a graph whatever it is
asked for (`RunOptions.only_execute_path_to_fetches` works in its training builds alone, see
onnxruntime#16013), and OpenVINO computes every result of a compiled network. So whoever wants
less gets a graph that has less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adverse_perception.inference.onnx_file import GRAPH, fields, packed

_NODE = 1  # field numbers of onnx.GraphProto; other nodes, weights and so on stay as they are
_NAMED = {5: 8, 12: 1, 13: 1}  # weight, output, value: where it keeps its name
_OUTPUT = 12
_READS, _MAKES, _ATTRIBUTE = 1, 2, 5  # of onnx.NodeProto
_BRANCHES = (6, 11)  # graphs inside onnx.AttributeProto


def pruned(content: bytes, outputs: Sequence[str], path: Path) -> bytes:
    """The file with nothing in its graph but what some of its outputs need.

    Args:
        content: a whole ONNX file.
        outputs: names of the outputs to keep.
        path: what errors call the file.

    Returns:
        An ONNX file; its description is unchanged, the checksum in it is that of the whole one.

    Raises:
        EngineError: it is no whole ONNX file.
    """
    return b"".join(
        packed(GRAPH, _pruned_graph(content[body:end], outputs, path))
        if number == GRAPH
        else content[start:end]
        for number, start, body, end in fields(content, path)
    )


def _pruned_graph(graph: bytes, outputs: Sequence[str], path: Path) -> bytes:
    parts = list(fields(graph, path))
    needed = set(outputs)
    nodes = []
    for number, start, body, end in reversed(parts):  # nodes stand after those they read from
        if number == _NODE and needed.intersection(_texts(graph[body:end], _MAKES, path)):
            needed.update(_read(graph[body:end], path))
            nodes.append(graph[start:end])
    wanted = {**dict.fromkeys(_NAMED, needed), _OUTPUT: set(outputs)}
    others = [
        graph[start:end]
        for number, start, body, end in parts
        if number != _NODE
        and (
            number not in _NAMED
            or wanted[number].intersection(_texts(graph[body:end], _NAMED[number], path))
        )
    ]
    return b"".join([*reversed(nodes), *others])


def _read(node: bytes, path: Path) -> Iterator[str]:
    """Names of what a node reads, by itself and in the branches it holds (If, Loop, Scan)."""
    yield from _texts(node, _READS, path)
    for attribute in _bodies(node, (_ATTRIBUTE,), path):
        for branch in _bodies(attribute, _BRANCHES, path):
            yield from _texts(branch, _OUTPUT, path)
            for inner in _bodies(branch, (_NODE,), path):
                yield from _read(inner, path)


def _texts(message: bytes, number: int, path: Path) -> list[str]:
    """The texts of a field; the empty ones stand for what a node does without."""
    return [body.decode(errors="replace") for body in _bodies(message, (number,), path) if body]


def _bodies(message: bytes, numbers: Sequence[int], path: Path) -> list[bytes]:
    return [
        message[body:end] for number, _, body, end in fields(message, path) if number in numbers
    ]
