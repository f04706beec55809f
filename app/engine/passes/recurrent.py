"""Take fused LSTM ops apart: one product over all steps, then two launches a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from app.engine.blame import blamed
from app.engine.ir import Data, Graph, Node, Tensor, integers
from app.engine.passes import cells
from app.engine.passes.integers import is_quantised
from app.tensors import Quantization

NAME = "UNIDIRECTIONAL_SEQUENCE_LSTM"
BOTH_WAYS = "BIDIRECTIONAL_SEQUENCE_LSTM"
# Inputs of the op: four gates each (input, forget, cell, output), then states.
WEIGHTS, RECURRENT, BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
PEEPHOLES_AND_PROJECTION = (9, 10, 11, 16, 17)
HIDDEN, CELL = 18, 19
LAYER_NORM = (20, 21, 22, 23)


@dataclass(frozen=True, slots=True)
class _Ways:
    """Where a layer that runs both ways has the inputs of its two halves, their recurrent weights,
    and from where on it would have a second input."""

    name: str
    ahead: tuple[slice, ...]
    back: tuple[slice, ...]
    recurrent: tuple[int, int]
    aside: int


BOTH = {
    BOTH_WAYS: _Ways(NAME, (slice(1, 18), slice(35, 37)), (slice(18, 35), slice(37, 39)), (6, 23),
                     39),
    cells.BOTH_WAYS: _Ways(cells.SEQUENCE, (slice(1, 5),), (slice(5, 9),), (2, 6), 9),
}
TAKEN_APART = (NAME, cells.SEQUENCE, *BOTH)
# Among the intermediate tensors of the integer form.
RESULT = 4


def unfold(graph: Graph) -> Graph:
    """Replace every layer of a form that kernels know by its steps: LSTM without projection,
    peepholes and layer norms, RNN, SVDF.

    Source: TFLite kernels/unidirectional_sequence_lstm.cc.
    """
    if not any(node.op in (*TAKEN_APART, cells.CELL, cells.SVDF) for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    for whole in graph.nodes:
        with blamed(whole):
            for node in _directions(whole) if whole.op in BOTH else [whole]:
                nodes += _steps(node) or [node]
    return replace(graph, nodes=tuple(nodes))


def _steps(node: Node) -> list[Node] | None:
    if node.op == NAME:
        return _Layer(node).steps() if _plain(node) else None
    return cells.parts(node)


def _directions(node: Node) -> list[Node]:
    """A bidirectional layer as two layers, one of which sees time reversed; whole if TFLite
    feeds it a second input, or a layer could not be taken apart.

    Source: TFLite kernels/bidirectional_sequence_lstm.cc.
    """
    way = BOTH[node.op]
    x, inputs = node.input(0), (*node.inputs, *[None] * (way.aside - len(node.inputs)))
    if x.dtype != "float32" or any(t is not None for t in inputs[way.aside:]):
        return [node]
    time, merged = int(not node.options.get("time_major")), bool(node.options.get("merge_outputs"))
    axis = integers(time)
    turned = _float(x.name, x.shape)
    units = [node.input(r).shape[0] for r in way.recurrent]
    ahead, back, after = (_float(t.name, (*x.shape[:2], u)) for t, u in (
        (node.outputs[0], units[0]), (node.outputs[-1], units[1]), (node.outputs[-1], units[1])))
    if not merged:
        ahead, after = node.outputs

    def made(op: str, reads: Sequence[Tensor | None], gives: Tensor, **options: Any) -> Node:
        return Node(op, tuple(reads), (gives,), options or node.options, index=node.index)

    layers = (made(way.name, (x, *(t for s in way.ahead for t in inputs[s])), ahead),
              made(way.name, (turned, *(t for s in way.back for t in inputs[s])), back))
    if not all(map(_steps, layers)):
        return [node]
    nodes = [layers[0], made("REVERSE_V2", (x, axis), turned), layers[1],
             made("REVERSE_V2", (back, axis), after)]
    if merged:
        nodes.append(made("CONCATENATION", (ahead, after), node.outputs[0], axis=2,
                          fused_activation_function="NONE"))
    return nodes


def _plain(node: Node) -> bool:
    x = node.input(0)
    axis = 0 if node.options.get("time_major") else 1
    gates = [node.optional(i) for i in (*WEIGHTS[1:], *RECURRENT[1:], *BIASES[1:])]
    states = {t is None or t.is_variable for t in map(node.optional, (HIDDEN, CELL))}
    typed = x.dtype == "float32" or (x.dtype == "int8" and is_quantised(node.outputs[0])
                                     and all(is_quantised(t) for t in gates[:6])
                                     and is_quantised(node.optional(CELL)))
    return (len(states) == 1 and typed and len(x.shape) == 3 and x.shape[axis] > 0
            and all(t is not None and t.data is not None for t in gates)
            and all(node.optional(i) is None for i in (*PEEPHOLES_AND_PROJECTION, *LAYER_NORM))
            and node.options.get("fused_activation_function") == "TANH")


@dataclass
class _Layer:
    node: Node
    made: list[Node] = field(default_factory=list)
    joined: dict[str, Tensor] = field(default_factory=dict)

    def steps(self) -> list[Node]:
        node, x = self.node, self.node.input(0)
        major = bool(node.options.get("time_major"))
        count = x.shape[0 if major else 1]
        gates = [k for k in range(4) if node.optional(WEIGHTS[k]) is not None]
        units = node.input(RECURRENT[1]).shape[0]
        wide = len(gates) * units
        sums = self.product(x, WEIGHTS, gates, (*x.shape[:2], wide), BIASES)
        hidden, cell = self.state(HIDDEN), self.state(CELL)
        rows = []
        for step in range(count):
            batch = x.shape[1 if major else 0]
            again = None if hidden is None else self.product(
                hidden, RECURRENT, gates, (batch, wide))
            after = [self.like(t, f"{node.outputs[0].name}/{step}", (batch, units))
                     for t in (self.result, node.optional(CELL))]
            self.emit("LSTM_CELL", (sums, again, cell if again is not None else None), after,
                      step=step, units=units, gates=len(gates), time_major=major,
                      clip=float(node.options.get("cell_clip", 0.0)))
            rows.append(self.row(after[0], 0 if major else 1))
            hidden, cell = self.returned(after[0]), after[1]
        self.emit("CONCATENATION", rows, node.outputs, axis=0 if major else 1,
                  fused_activation_function="NONE")
        return self.made

    def emit(self, op: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
             **options: Any) -> None:
        self.made.append(Node(op, tuple(inputs), tuple(outputs), options, index=self.node.index))

    def state(self, position: int) -> Tensor | None:
        """The initial state; None where it is a variable, which begins at zero."""
        tensor = self.node.optional(position)
        return None if tensor is None or tensor.is_variable else tensor

    def like(self, tensor: Tensor | None, name: str, extents: tuple[int, ...]) -> Tensor:
        """A new state: in the type and the steps of a given one where the layer is quantised."""
        if tensor is None or not is_quantised(self.node.input(0)):
            return _float(name, extents)
        return Tensor(name, extents, tensor.dtype, quant=tensor.quant)

    @property
    def result(self) -> Tensor:
        """What has the steps of a cell's results: they may be others than the output's."""
        inner: Sequence[Tensor] = self.node.options.get("intermediates", ())
        known = len(inner) > RESULT and inner[RESULT].quant is not None
        return replace(self.node.outputs[0], quant=inner[RESULT].quant) if known else (
            self.node.outputs[0])

    def returned(self, hidden: Tensor) -> Tensor:
        """The same integers, as what the recurrent weights take them for."""
        state = self.node.optional(HIDDEN)
        if state is None or not is_quantised(hidden) or state.quant in (None, hidden.quant):
            return hidden
        made = replace(hidden, quant=state.quant)
        self.emit("RESHAPE", (hidden, integers(*hidden.shape)), (made,))
        return made

    def row(self, hidden: Tensor, axis: int) -> Tensor:
        """[B,H] with an axis of one step."""
        place = Tensor("", (), "int32", np.asarray(axis, np.int32))
        extents = (1, *hidden.shape) if axis == 0 else (hidden.shape[0], 1, hidden.shape[1])
        made = Tensor(hidden.name, extents, hidden.dtype, quant=self.node.outputs[0].quant)
        self.emit("EXPAND_DIMS", (hidden, place), (made,))
        return made

    def product(self, x: Tensor, at: Sequence[int], gates: Sequence[int], extents: Any,
                biases: Sequence[int] = ()) -> Tensor:
        """x times the weights of all gates at once."""
        weights = [self.node.input(at[k]) for k in gates]
        if is_quantised(x):
            return self.integer_product(x, weights, gates, extents, biases)
        key = f"{weights[-1].name}/gates"
        if key not in self.joined:
            self.joined[key] = _joined(key, weights)
        if is_quantised(weights[0]):
            rounded = _float(x.name, x.shape)
            symmetric = not self.node.options.get("asymmetric_quantize_inputs")
            self.emit("QUANTIZE_ROWS", (x,), (rounded,), row=x.shape[-1], symmetric=symmetric)
            x = rounded
        bias = None
        if biases:
            bias = _joined(f"{key}/bias", [self.node.input(biases[k]) for k in gates])
        made = _float(key, extents)
        self.emit("FULLY_CONNECTED", (x, self.joined[key], bias), (made,),
                  keep_num_dims=len(extents) == 3, fused_activation_function="NONE")
        return made

    def integer_product(self, x: Tensor, weights: Sequence[Tensor], gates: Sequence[int],
                        extents: Any, biases: Sequence[int]) -> Tensor:
        """The same in integers; the sums are in steps of 2^-12."""
        key = f"{weights[-1].name}/gates"
        if key not in self.joined:
            self.joined[key] = _integers(key, weights)
        bias = None
        if biases:
            parts = [self.node.input(biases[k]).data for k in gates]
            data: Data = np.concatenate([p for p in parts if p is not None])
            bias = Tensor(f"{key}/bias", data.shape, "int32", data)
        made = Tensor(key, tuple(extents), "int16", quant=Quantization((2.0 ** -12,), (0,)))
        self.emit("FULLY_CONNECTED", (x, self.joined[key], bias), (made,),
                  keep_num_dims=len(extents) == 3, fused_activation_function="NONE")
        return made


def _integers(name: str, parts: Sequence[Tensor]) -> Tensor:
    """int8 rows of several matrices, each row with its own steps."""
    data: Data = np.concatenate([t.data for t in parts if t.data is not None])
    scales = tuple(s for t in parts if t.quant is not None
                   for s in (t.quant.scales * t.shape[0])[:t.shape[0]])
    return Tensor(name, data.shape, "int8", data, Quantization(scales, (0,) * len(scales)))


def _joined(name: str, parts: Sequence[Tensor]) -> Tensor:
    data: Data = np.concatenate([_reals(t) for t in parts])
    return Tensor(name, data.shape, "float32", data)


def _reals(tensor: Tensor) -> Data:
    assert tensor.data is not None
    data: Data = tensor.data.astype(np.float32)
    if is_quantised(tensor) and tensor.quant is not None:
        data = (data - np.float32(tensor.quant.zero_points[0])) * np.float32(tensor.quant.scales[0])
    return data


def _float(name: str, extents: Sequence[int]) -> Tensor:
    return Tensor(name, tuple(extents), "float32")
