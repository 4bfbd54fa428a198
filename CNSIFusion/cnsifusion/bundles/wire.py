"""A strict reader of ONNX files that runs nothing and needs no onnx package.

ONNX is protobuf (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; wire format:
https://protobuf.dev/programming-guides/encoding/). Only the fields our exporter writes are known; anything else in the
file (subgraphs, functions, external data, sparse tensors, repeated graphs) is refused, so that what is checked here is
all that ONNX Runtime will see.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np


class GraphError(ValueError):
    """The file is not an ONNX graph of the kind this project writes."""


@dataclass
class Node:
    """One operation: its type, the names it reads and writes, and its attributes."""

    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, object] = field(default_factory=dict)


@dataclass
class Graph:
    """A parsed graph. Shapes hold an int per known dimension and a str (its name) per free one."""

    nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple[int, tuple[int | str, ...]]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, tuple[int | str, ...]]] = field(default_factory=dict)


#: ONNX element types: float, int64, float16, bool (used by shapes and comparisons).
DTYPES: dict[int, np.dtype] = {1: np.dtype("<f4"), 7: np.dtype("<i8"), 10: np.dtype("<f2"), 9: np.dtype("?")}

_MAX_RANK, _MAX_ITEMS = 8, 100_000


def read_graph(data: bytes) -> Graph:
    """The graph in an ONNX file's bytes; raises GraphError with the reason when it is not one we know."""
    graph: Graph | None = None
    try:
        for number, value in _fields(memoryview(data)):
            if number == 7:
                if graph is not None:
                    raise GraphError("holds more than one graph")
                graph = _graph(_message(value))
            elif number == 8:
                _check_opset(_message(value))
            elif number not in (1, 2, 3, 4, 5, 6, 14):
                raise GraphError(f"holds a part this program does not know (model field {number})")
    except GraphError:
        raise
    except (struct.error, ValueError, OverflowError) as error:
        raise GraphError("is not a whole ONNX file") from error
    if graph is None:
        raise GraphError("holds no graph")
    return graph


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and raw values of one message: int for varints and fixed words, memoryview for the rest."""
    position, end = 0, len(view)
    while position < end:
        tag, position = _varint(view, position)
        number, kind = tag >> 3, tag & 7
        value: int | memoryview
        if kind == 0:
            value, position = _varint(view, position)
        elif kind == 2:
            length, position = _varint(view, position)
            value, position = view[position : position + length], position + length
        elif kind == 5:
            value, position = view[position : position + 4], position + 4
        else:
            raise GraphError("is not a whole ONNX file")
        if position > end or number == 0:
            raise GraphError("is not a whole ONNX file")
        yield number, value


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise GraphError("is not a whole ONNX file")
        byte = view[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
    raise GraphError("is not a whole ONNX file")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise GraphError("is not a whole ONNX file")
    return value


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise GraphError("is not a whole ONNX file")
    return value - (1 << 64) if value >> 63 else value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode()


def _integers(value: int | memoryview) -> list[int]:
    """One integer, or a packed run of them."""
    if isinstance(value, int):
        return [_integer(value)]
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(_integer(number))
        if len(numbers) > _MAX_ITEMS:
            raise GraphError("holds an oversize list")
    return numbers


def _check_opset(view: memoryview) -> None:
    domain, version = "", 0
    for number, value in _fields(view):
        if number == 1:
            domain = _text(value)
        elif number == 2:
            version = _integer(value)
    if domain not in ("", "ai.onnx") or not 11 <= version <= 21:
        raise GraphError(f"uses operator set {domain or 'ai.onnx'} {version}, which this version does not know")


def _graph(view: memoryview) -> Graph:
    graph = Graph()
    for number, value in _fields(view):
        if number == 1:
            graph.nodes.append(_node(_message(value)))
        elif number == 5:
            name, array = _tensor(_message(value))
            if name in graph.initializers:
                raise GraphError("defines one weight twice")
            graph.initializers[name] = array
        elif number in (11, 12):
            name, kind, shape = _value_info(_message(value))
            (graph.inputs if number == 11 else graph.outputs)[name] = (kind, shape)
        elif number not in (2, 10, 13, 16):
            raise GraphError(f"holds a part this program does not know (graph field {number})")
        if len(graph.nodes) > _MAX_ITEMS:
            raise GraphError("holds too many operations")
    return graph


def _node(view: memoryview) -> Node:
    node = Node()
    for number, value in _fields(view):
        if number == 1:
            node.inputs.append(_text(value))
        elif number == 2:
            node.outputs.append(_text(value))
        elif number == 4:
            node.op = _text(value)
        elif number == 5:
            name, content = _attribute(_message(value))
            node.attributes[name] = content
        elif number == 7:
            node.domain = _text(value)
        elif number not in (3, 6, 9):
            raise GraphError(f"holds a part this program does not know (node field {number})")
    return node


def _attribute(view: memoryview) -> tuple[str, object]:
    name, kind = "", 0
    single: object = None
    floats: list[float] = []
    ints: list[int] = []
    for number, value in _fields(view):
        if number == 1:
            name = _text(value)
        elif number == 20:
            kind = _integer(value)
        elif number == 2:
            single = struct.unpack("<f", _message(value))[0]
        elif number == 3:
            single = _integer(value)
        elif number == 4:
            single = _text(value)
        elif number == 5:
            single = _tensor(_message(value))[1]
        elif number == 7:
            floats += list(np.frombuffer(_message(value), "<f4").tolist())
        elif number == 8:
            ints += _integers(value)
        elif number != 13:
            raise GraphError(f"holds a subgraph or another part this program does not know (attribute {name[:40]})")
    if kind not in (1, 2, 3, 4, 6, 7):
        raise GraphError(f"holds an attribute of an unknown kind ({name[:40]})")
    return name, {6: floats, 7: ints}.get(kind, 0 if single is None else single)


def _tensor(view: memoryview) -> tuple[str, np.ndarray]:
    name, kind, raw = "", 0, None
    dims: list[int] = []
    typed: dict[int, list[np.ndarray]] = {}
    for number, value in _fields(view):
        if number == 1:
            dims += _integers(value)
        elif number == 2:
            kind = _integer(value)
        elif number == 4:
            typed.setdefault(1, []).append(np.frombuffer(_message(value), "<f4"))
        elif number == 7:
            typed.setdefault(7, []).append(np.array(_integers(value), "<i8"))
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _message(value)
        elif number in (13, 14):
            raise GraphError("keeps weights outside the file (external data)")
        elif number != 12:
            raise GraphError(f"holds a weight stored in an unknown way ({name[:40]})")
    if kind not in DTYPES or len(dims) > _MAX_RANK or any(d < 0 for d in dims):
        raise GraphError(f"holds a weight of an unknown type or shape ({name[:40]})")
    if raw is not None and typed:
        raise GraphError(f"stores a weight twice ({name[:40]})")
    if raw is None:
        array = np.concatenate(typed[kind]) if kind in typed else np.zeros(0, DTYPES[kind])
    else:
        if len(raw) % DTYPES[kind].itemsize:
            raise GraphError(f"holds a weight that is not whole ({name[:40]})")
        array = np.frombuffer(raw, DTYPES[kind])
    if math.prod(dims) != array.size:
        raise GraphError(f"holds a weight whose shape does not fit its data ({name[:40]})")
    return name, array.reshape(dims)


def _value_info(view: memoryview) -> tuple[str, int, tuple[int | str, ...]]:
    name, kind = "", 0
    shape: tuple[int | str, ...] = ()
    for number, value in _fields(view):
        if number == 1:
            name = _text(value)
        elif number == 2:
            kind, shape = _type(_message(value))
    return name, kind, shape


def _type(view: memoryview) -> tuple[int, tuple[int | str, ...]]:
    kind = 0
    shape: list[int | str] = []
    for number, value in _fields(view):
        if number != 1:
            if number == 6:
                continue
            raise GraphError("has an input or output that is not an array")
        for part, content in _fields(_message(value)):
            if part == 1:
                kind = _integer(content)
            elif part == 2:
                shape = [_dimension(_message(d)) for n, d in _fields(_message(content)) if n == 1]
    return kind, tuple(shape)


def _dimension(view: memoryview) -> int | str:
    for number, value in _fields(view):
        if number == 1:
            return _integer(value)
        if number == 2:
            return _text(value)
    return "?"
