"""What a graph would compute, by shape alone: every intermediate size is known and bounded before anything runs.

Only the operations our exporter writes are known; their shape rules follow the ONNX operator specification
(https://onnx.ai/onnx/operators/). A graph from a stranger can therefore neither run code nor allocate beyond the bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnsifusion.bundles.wire import DTYPES, Graph, GraphError, Node

#: Largest intermediate array, in elements, at the batch the engine runs (float32: 1 GB).
MAX_ELEMENTS = 1 << 28
_MAX_ATTRIBUTE = 4096

Shape = tuple[int, ...]


class _State:
    """Shapes of all names so far, and the values of the small constants among them."""

    def __init__(self, graph: Graph, inputs: dict[str, Shape]) -> None:
        self.shapes: dict[str, Shape] = {name: array.shape for name, array in graph.initializers.items()}
        self.values: dict[str, np.ndarray] = dict(graph.initializers)
        if set(self.shapes) & set(inputs):
            raise GraphError("hides an input behind a weight")
        self.shapes.update(inputs)

    def shape(self, node: Node, index: int) -> Shape:
        if index >= len(node.inputs) or node.inputs[index] not in self.shapes:
            raise GraphError(f"has an operation {node.op} without its input")
        return self.shapes[node.inputs[index]]

    def constant(self, node: Node, index: int) -> np.ndarray:
        name = node.inputs[index] if index < len(node.inputs) else ""
        if name not in self.values or self.values[name].size > 64:
            raise GraphError(f"has an operation {node.op} whose shape depends on the data")
        return self.values[name]


def infer_shapes(graph: Graph, inputs: dict[str, Shape]) -> dict[str, Shape]:
    """Shapes of all names in ``graph`` for the given input shapes.

    Raises GraphError for an unknown operation, for shapes that do not fit, and for arrays beyond MAX_ELEMENTS.
    """
    state = _State(graph, inputs)
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx") or node.op not in _RULES:
            name = f"{node.domain} {node.op}".strip()[:60]
            raise GraphError(f"uses an operation this program does not allow ({name})")
        _check_attributes(node)
        if len(node.outputs) != 1 or not node.outputs[0] or node.outputs[0] in state.shapes:
            raise GraphError(f"has an operation {node.op} with unexpected outputs")
        shape = _RULES[node.op](state, node)
        if math.prod(shape) > MAX_ELEMENTS or any(d < 0 for d in shape) or len(shape) > 8:
            raise GraphError(f"would need too much memory (operation {node.op})")
        state.shapes[node.outputs[0]] = shape
    return state.shapes


def _check_attributes(node: Node) -> None:
    for name, value in node.attributes.items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(v, int) and abs(v) > _MAX_ATTRIBUTE for v in numbers):
            raise GraphError(f"has an oversize attribute {name[:40]} in operation {node.op}")


def _ints(node: Node, name: str, default: list[int]) -> list[int]:
    value = node.attributes.get(name, default)
    if not isinstance(value, list) or len(value) != len(default) or not all(isinstance(v, int) for v in value):
        raise GraphError(f"has a wrong attribute {name[:40]} in operation {node.op}")
    return value


def _int(node: Node, name: str, default: int) -> int:
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise GraphError(f"has a wrong attribute {name[:40]} in operation {node.op}")
    return value


def _same(state: _State, node: Node) -> Shape:
    return state.shape(node, 0)


def _broadcast(state: _State, node: Node) -> Shape:
    shapes = [state.shape(node, i) for i in range(len(node.inputs))]
    return _broadcast_shapes(node, *shapes)


def _broadcast_shapes(node: Node, *shapes: Shape) -> Shape:
    try:
        return tuple(int(d) for d in np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise GraphError(f"has an operation {node.op} whose inputs do not fit") from error


def _constant(state: _State, node: Node) -> Shape:
    value = node.attributes.get("value")
    if set(node.attributes) != {"value"} or not isinstance(value, np.ndarray):
        raise GraphError("has a constant of an unknown kind")
    state.values[node.outputs[0]] = value
    return value.shape


def _cast(state: _State, node: Node) -> Shape:
    if _int(node, "to", 0) not in DTYPES:
        raise GraphError("casts to an unknown type")
    return state.shape(node, 0)


def _window(state: _State, node: Node, kernel: list[int]) -> list[int]:
    """Rows and columns after a convolution or pooling window."""
    size = state.shape(node, 0)[2:]
    stride, dilation = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    pads = _ints(node, "pads", [0, 0, 0, 0])
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or min(stride + dilation + kernel) < 1 or min(pads) < 0:
        raise GraphError(f"has an operation {node.op} with unexpected attributes")
    ceil = _int(node, "ceil_mode", 0)
    result = []
    for axis in range(2):
        span = size[axis] + pads[axis] + pads[axis + 2] - dilation[axis] * (kernel[axis] - 1) - 1
        if span < 0:
            raise GraphError(f"has an operation {node.op} larger than its input")
        result.append((-(-span // stride[axis]) if ceil else span // stride[axis]) + 1)
    return result


def _conv(state: _State, node: Node) -> Shape:
    x, w = state.shape(node, 0), state.shape(node, 1)
    groups = _int(node, "group", 1)
    if len(x) != 4 or len(w) != 4 or groups < 1 or x[1] != w[1] * groups or w[0] % groups:
        raise GraphError("has a convolution that does not fit its input")
    if len(node.inputs) > 2 and node.inputs[2] and state.shape(node, 2) != (w[0],):
        raise GraphError("has a convolution that does not fit its input")
    if _ints(node, "kernel_shape", list(w[2:])) != list(w[2:]):
        raise GraphError("has a convolution that does not fit its input")
    rows, columns = _window(state, node, list(w[2:]))
    return (x[0], w[0], rows, columns)


def _pool(state: _State, node: Node) -> Shape:
    x = _picture(state, node)
    rows, columns = _window(state, node, _ints(node, "kernel_shape", [1, 1]))
    return (x[0], x[1], rows, columns)


def _global_pool(state: _State, node: Node) -> Shape:
    return (*_picture(state, node)[:2], 1, 1)


def _picture(state: _State, node: Node) -> Shape:
    x = state.shape(node, 0)
    if len(x) != 4:
        raise GraphError(f"has an operation {node.op} that does not fit its input")
    return x


def _batch_norm(state: _State, node: Node) -> Shape:
    x = state.shape(node, 0)
    if len(x) < 2 or any(state.shape(node, i) != (x[1],) for i in range(1, 5)) or _int(node, "training_mode", 0):
        raise GraphError("has a normalisation that does not fit its input")
    return x


def _matmul(state: _State, node: Node) -> Shape:
    a, b = state.shape(node, 0), state.shape(node, 1)
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise GraphError("has a matrix product whose inputs do not fit")
    return (*_broadcast_shapes(node, a[:-2], b[:-2]), a[-2], b[-1])


def _concat(state: _State, node: Node) -> Shape:
    shapes = [state.shape(node, i) for i in range(len(node.inputs))]
    axis = _axis(node, _int(node, "axis", 0), len(shapes[0]) if shapes else 0)
    rest = {(*s[:axis], *s[axis + 1 :]) for s in shapes}
    if len(rest) != 1 or len({len(s) for s in shapes}) != 1:
        raise GraphError("joins arrays that do not fit")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])


def _axis(node: Node, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise GraphError(f"has an operation {node.op} on an axis that does not exist")
    return axis % rank


def _axes(state: _State, node: Node, rank: int) -> list[int]:
    axes = state.constant(node, 1).ravel() if len(node.inputs) > 1 else _list(node, "axes")
    return sorted({_axis(node, int(a), rank) for a in axes})


def _reduce(state: _State, node: Node) -> Shape:
    x = state.shape(node, 0)
    axes = _axes(state, node, len(x))
    keep = _int(node, "keepdims", 1)
    return tuple(1 if i in axes else d for i, d in enumerate(x) if keep or i not in axes)


def _unsqueeze(state: _State, node: Node) -> Shape:
    x = state.shape(node, 0)
    rank = len(x) + int(state.constant(node, 1).size if len(node.inputs) > 1 else len(_list(node, "axes")))
    axes, rest = _axes(state, node, rank), iter(x)
    if rank - len(axes) != len(x):
        raise GraphError("repeats an axis")
    return tuple(1 if i in axes else next(rest) for i in range(rank))


def _list(node: Node, name: str) -> list[int]:
    value = node.attributes.get(name)
    if not isinstance(value, list) or not all(isinstance(v, int) for v in value):
        raise GraphError(f"has an operation {node.op} without {name}")
    return value


def _squeeze(state: _State, node: Node) -> Shape:
    x = state.shape(node, 0)
    axes = _axes(state, node, len(x))
    if any(x[a] != 1 for a in axes):
        raise GraphError("drops an axis that is not of size 1")
    return tuple(d for i, d in enumerate(x) if i not in axes)


def _transpose(state: _State, node: Node) -> Shape:
    x = state.shape(node, 0)
    order = _list(node, "perm") if "perm" in node.attributes else list(range(len(x)))[::-1]
    if sorted(order) != list(range(len(x))):
        raise GraphError("has a transposition that does not fit its input")
    return tuple(x[i] for i in order)


def _reshape(state: _State, node: Node) -> Shape:
    x, target = state.shape(node, 0), [int(d) for d in state.constant(node, 1).ravel()]
    if _int(node, "allowzero", 0) or target.count(-1) > 1 or min(target, default=1) < -1:
        raise GraphError("reshapes in an unknown way")
    if any(d == 0 and i >= len(x) for i, d in enumerate(target)):
        raise GraphError("reshapes in an unknown way")
    shape = [x[i] if d == 0 else d for i, d in enumerate(target)]
    known = math.prod(d for d in shape if d != -1)
    if -1 in shape:
        if known <= 0 or math.prod(x) % known:
            raise GraphError("reshapes an array to a size it does not have")
        shape[shape.index(-1)] = math.prod(x) // known
    elif known != math.prod(x):
        raise GraphError("reshapes an array to a size it does not have")
    return tuple(shape)


def _slice(state: _State, node: Node) -> Shape:
    x = list(state.shape(node, 0))
    starts, ends = state.constant(node, 1).ravel(), state.constant(node, 2).ravel()
    axes = state.constant(node, 3).ravel() if len(node.inputs) > 3 else np.arange(len(starts))
    steps = state.constant(node, 4).ravel() if len(node.inputs) > 4 else np.ones(len(starts), int)
    if not len(starts) == len(ends) == len(axes) == len(steps) or any(int(s) == 0 for s in steps):
        raise GraphError("has a slice whose parts do not fit")
    for start, end, axis, step in zip(starts, ends, axes, steps):
        a = _axis(node, int(axis), len(x))
        x[a] = len(range(*slice(int(start), int(end), int(step)).indices(x[a])))
    return tuple(x)


_RULES: dict[str, Callable[[_State, Node], Shape]] = {
    **dict.fromkeys(("Relu", "HardSwish", "HardSigmoid", "Sigmoid", "Identity", "Sign", "Neg", "Exp", "Sqrt"), _same),
    "Clip": _same,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Min", "Max", "Greater", "Less", "Where"), _broadcast),
    "Constant": _constant,
    "Cast": _cast,
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "BatchNormalization": _batch_norm,
    "MatMul": _matmul,
    "Concat": _concat,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Slice": _slice,
}
