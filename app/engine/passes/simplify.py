"""Say the same with less, or with what has kernels: transposes that move nothing, squares, sums of
many, reductions over axes here and there, normalised rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.engine.epilogue import relation
from app.engine.ir import Fused, Graph, Node, Tensor, integers
from app.engine.ops.movement import RANK, dense, merged
from app.engine.ops.reduce import KINDS, LOGIC, reduced_axes
from app.engine.passes.choose import choose
from app.engine.passes.joins import join
from app.engine.passes.specialise import drop_dead, substitute

PADS = ("PAD", "PADV2")
RENAMES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
# For each dimension of a tensor: which dimension of its source it is, or None for an extent of 1.
Labels = tuple[int | None, ...]


def simplify(graph: Graph) -> Graph:
    """All of them; answers stay the same to the bit but for the order of a sum."""
    return drop_dead(choose(normalise(square(parted(summed(join(straighten(graph))))))))


def straighten(graph: Graph) -> Graph:
    """Turn a chain of transposes and renamings that leaves the memory's order into a reshape, or
    into nothing."""
    origin: dict[Tensor, tuple[Tensor, Labels]] = {}
    same: dict[Tensor, Tensor] = {}
    nodes = []
    for raw in graph.nodes:
        node = substitute(raw, same)
        nodes.append(node)
        traced = _trace(node, origin)
        if traced is None:
            continue
        source, labels = traced
        y = node.outputs[0]
        origin[y] = traced
        kept = [n for n in labels if n is not None]
        if kept != sorted(kept):
            continue
        if source.shape == y.shape and y not in graph.outputs:
            same[y] = source
        elif node.op == "TRANSPOSE":
            nodes[-1] = replace(node, op="RESHAPE", inputs=(source,),
                                options={"new_shape": y.shape})
    return replace(graph, nodes=tuple(nodes))


def _trace(node: Node, origin: dict[Tensor, tuple[Tensor, Labels]]) -> tuple[Tensor, Labels] | None:
    if node.op != "TRANSPOSE" and node.op not in RENAMES:
        return None
    x = node.input(0)
    own = tuple(None if e == 1 else i for i, e in enumerate(x.shape))
    source, labels = origin.get(x, (x, own))
    if node.op == "TRANSPOSE":
        order = node.input(1).data
        if order is None:
            return None
        return source, tuple(labels[int(i)] for i in order.reshape(-1))
    y = node.outputs[0]
    if [e for e in x.shape if e != 1] != [e for e in y.shape if e != 1]:
        return None
    rest = iter([n for n in labels if n is not None])
    return source, tuple(None if e == 1 else next(rest) for e in y.shape)


def summed(graph: Graph) -> Graph:
    """A sum of many as sums of two, which fuse with each other and with what makes their parts."""
    nodes = [part for n in graph.nodes for part in (_sums(n) if n.op == "ADD_N" else [n])]
    return replace(graph, nodes=tuple(nodes))


def _sums(node: Node) -> list[Node]:
    total, y = node.input(0), node.outputs[0]
    if len(node.inputs) < 2 or y.dtype not in ("float32", "int32"):
        return [node]
    nodes = []
    for i in range(1, len(node.inputs)):
        made = y if i == len(node.inputs) - 1 else replace(y)
        nodes.append(replace(node, op="ADD", inputs=(total, node.input(i)), outputs=(made,),
                             options={"fused_activation_function": "NONE"}))
        total = made
    return nodes


def parted(graph: Graph) -> Graph:
    """A reduction over more than two separate runs of axes as several, the last runs first; the
    same of a padding of more axes than the kernel tells apart."""
    nodes = [part for n in graph.nodes
             for part in (_parts(n) if n.op in KINDS or n.op in LOGIC else
                          _padded(n) if n.op in PADS else [n])]
    return replace(graph, nodes=tuple(nodes))


def _padded(node: Node) -> list[Node]:
    x, y, given = node.input(0), node.outputs[0], node.input(1).data
    if given is None or len(merged(x.shape, dense(x.shape), dense(y.shape))[0]) <= RANK:
        return [node]
    amounts = given.reshape(-1, 2)
    grown = np.flatnonzero(amounts.any(1))
    last, first = amounts.copy(), amounts.copy()
    last[grown[:len(grown) // 2]], first[grown[len(grown) // 2:]] = 0, 0
    found = replace(y, shape=tuple(int(e + sum(a)) for e, a in zip(x.shape, last, strict=True)))
    return [part for read, made, by in ((x, found, last), (found, y, first))
            for part in _padded(replace(node, outputs=(made,), inputs=(
                read, replace(node.input(1), shape=by.shape, data=by), *node.inputs[2:])))]


def _parts(node: Node) -> list[Node]:
    x = node.input(0)
    if node.input(1).data is None or not x.size:
        return [node]
    gone = reduced_axes(node)
    separate: list[list[int]] = []
    before = False
    for axis, extent in enumerate(x.shape):
        if extent == 1:
            continue
        if axis in gone:
            separate = [*separate[:-1], [*separate[-1], axis]] if before else [*separate, [axis]]
        before = axis in gone
    if len(separate) <= 2:
        return [node]
    last = [axis for run in separate[-2:] for axis in run]
    found = replace(x, name=node.outputs[0].name,
                    shape=tuple(1 if i in last else e for i, e in enumerate(x.shape)))
    return [replace(node, inputs=(x, integers(*last)), outputs=(found,),
                    options={**node.options, "keep_dims": True}),
            *_parts(replace(node, inputs=(found, *node.inputs[1:])))]


def square(graph: Graph) -> Graph:
    """x * x reads x once, so that it can join the kernel that makes x."""
    nodes = [replace(n, op="SQUARE", inputs=n.inputs[:1])
             if _plain(n, "MUL") and n.inputs[0] is n.inputs[1] and n.input(0).dtype == "float32"
             else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def normalise(graph: Graph) -> Graph:
    """Find (x - mean) / sqrt(variance + epsilon) over the last axis, as converters write it."""
    made = {t: n for n in graph.nodes for t in n.outputs}
    nodes = [_normalised(n, made) or n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def _normalised(node: Node, made: dict[Tensor, Node]) -> Node | None:
    if node.op not in ("MUL", "ADD") or node.outputs[0].dtype != "float32":
        return None
    then = node.options.get("fused_activation_function", "NONE")
    for a, b in ((0, 1), (1, 0)):
        left, right = made.get(node.input(a)), made.get(node.input(b))
        if left is None or right is None:
            continue
        found = (_centred(left, right, made) if node.op == "MUL" else _shifted(left, right, made))
        if found is None or found[0].shape != node.outputs[0].shape:
            continue
        x, epsilon, steps = found
        last = () if then == "NONE" else (Fused(str(then)),)
        return Node("LAYER_NORM", (x,), node.outputs, {"epsilon": epsilon}, (*steps, *last),
                    node.index)
    return None


Match = tuple[Tensor, float, tuple[Fused, ...]]


def _centred(centred: Node, scale: Node, made: dict[Tensor, Node]) -> Match | None:
    """(x - mean) * rsqrt(...)."""
    if not _plain(centred, "SUB"):
        return None
    x, mean = centred.input(0), centred.input(1)
    epsilon = _epsilon(scale, x, mean, centred.outputs[0], made)
    return None if epsilon is None else (x, epsilon, ())


def _shifted(scaled: Node, shift: Node, made: dict[Tensor, Node]) -> Match | None:
    """x * (rsqrt(...) * gamma) + (beta - mean * (rsqrt(...) * gamma)), Keras's way."""
    if not _plain(scaled, "MUL") or not _plain(shift, "SUB"):
        return None
    beta, moved = shift.input(0), made.get(shift.input(1))
    if beta.data is None or moved is None or not _plain(moved, "MUL"):
        return None
    for factor in set(scaled.inputs) & set(moved.inputs):
        power = None if factor is None else made.get(factor)
        if power is None or not _plain(power, "MUL"):
            continue
        x = next((t for t in scaled.inputs if t is not factor), None)
        mean = next((t for t in moved.inputs if t is not factor), None)
        gamma = next((t for t in power.inputs if t is not None and t.data is not None), None)
        scale = next((made[t] for t in power.inputs if t in made), None)
        if x is None or mean is None or gamma is None or scale is None:
            continue
        if not all(relation(t, scaled.outputs[0]) in ("channel", "scalar") for t in (gamma, beta)):
            continue
        epsilon = _epsilon(scale, x, mean, None, made)
        if epsilon is not None:
            return x, epsilon, (Fused("MUL", gamma), Fused("ADD", beta))
    return None


def _epsilon(scale: Node, x: Tensor, mean: Tensor, centred: Tensor | None,
             made: dict[Tensor, Node]) -> float | None:
    """The epsilon of rsqrt(mean((x - mean)^2) + epsilon), if scale is that over x's rows."""
    shifted = made.get(scale.input(0)) if scale.op == "RSQRT" else None
    average = made.get(mean)
    if shifted is None or average is None or not _plain(shifted, "ADD"):
        return None
    spread = next((made[t] for t in shifted.inputs if t in made), None)
    if spread is None or not _row_mean(average, x) or average.input(0) is not x:
        return None
    power = made.get(spread.input(0))
    if power is None or not _row_mean(spread, x):
        return None
    ours = (power.input(0) is centred and centred is not None if power.op == "SQUARE"
            else _plain(power, "SQUARED_DIFFERENCE") and set(power.inputs) == {x, mean})
    return _constant(shifted) if ours else None


def _plain(node: Node, kind: str) -> bool:
    return node.op == kind and node.options.get("fused_activation_function", "NONE") == "NONE"


def _constant(node: Node) -> float | None:
    values = [t.data for t in node.inputs if t is not None and t.data is not None]
    return float(values[0].reshape(-1)[0]) if len(values) == 1 and values[0].size == 1 else None


def _row_mean(node: Node, x: Tensor) -> bool:
    """Whether a node is the mean over the last axis of something shaped as x."""
    axes = node.input(1).data if node.op == "MEAN" else None
    if axes is None or [int(a) % len(x.shape) for a in np.ravel(axes)] != [len(x.shape) - 1]:
        return False
    return node.input(0).shape == x.shape and node.outputs[0].shape == (*x.shape[:-1], 1)
