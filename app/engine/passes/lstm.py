"""LSTM layers as nodes: one product over all steps, then two launches a step in the plain form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from app.engine.ir import Node, Tensor, integers
from app.engine.passes.integers import is_quantised
from app.engine.passes.layer import Maker
from app.engine.passes.matrices import (
    constant,
    diagonal,
    floats,
    joined,
    joined_integers,
    reals,
)
from app.tensors import Quantization

NAME, CELL_NAME = "UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM"
# Inputs of the op: four gates each (input, forget, cell, output), then states.
WEIGHTS, RECURRENT, BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
PEEPHOLES, PROJECTION, LAYER_NORM = (9, 10, 11), (16, 17), (20, 21, 22, 23)
HIDDEN, CELL = 18, 19
# Among the intermediate tensors of the integer form.
RESULT = 4
EPSILON = 1e-8


def parts(node: Node) -> list[Node] | None:
    """The nodes that an LSTM layer stands for; None of other ops and of forms without kernels.

    Outputs behind the first are the states after the last step, hidden and cell.
    Source: TFLite kernels/unidirectional_sequence_lstm.cc, lstm.cc, lstm_eval.cc.
    """
    if node.op == CELL_NAME and node.options.get("kernel_type") == "BASIC":
        return _basic(node)
    if node.op not in (NAME, CELL_NAME) or refusal(node) is not None:
        return None
    return Layer(node).steps() if node.op == NAME else _single(node)


def refusal(node: Node) -> str | None:
    """Why no kernel knows a layer's form; None if one does."""
    x, rank = node.input(0), 3 if node.op == NAME else 2
    gates = [node.optional(i) for i in (*WEIGHTS[1:], *RECURRENT[1:], *BIASES[1:])]
    more = [node.optional(i) for i in (*PEEPHOLES, *PROJECTION, *LAYER_NORM)]
    states = {t is None or t.is_variable for t in map(node.optional, (HIDDEN, CELL))}
    whole = (x.dtype == "int8" and is_quantised(node.outputs[0])
             and all(is_quantised(t) for t in gates[:6]) and is_quantised(node.optional(CELL)))
    objections = {
        f"data of shape {x.shape}": len(x.shape) != rank,
        "weights that are computed": any(t is None or t.data is None for t in gates)
        or any(t is not None and t.data is None for t in more),
        f"numbers of {x.dtype} in this form": x.dtype != "float32" and not whole,
        "normalised gates of integers": whole and any(more[5:]),
        # TFLite gives the peepholes of as many cells as there are results, whoever's they are.
        "peepholes beside a projection of integers": whole and any(more[:3]) and bool(more[3]),
        "a clipped projection of integers": whole and bool(more[3])
        and float(node.options.get("proj_clip", 0.0)) > 0,
        "one state given and one kept": len(states) != 1,
        "recurrent weights on a diagonal in this form": any(
            t is not None and len(t.shape) == 1 and (t.dtype != "float32" or any(more[3:5]))
            for t in map(node.optional, RECURRENT)),
        f"the activation {node.options.get('fused_activation_function')}":
            node.options.get("fused_activation_function") != "TANH"}
    return next((reason for reason, true in objections.items() if true), None)


def _single(node: Node) -> list[Node]:
    """One step, which has no axis for time."""
    x, y = node.input(0), node.outputs[0]
    row = Tensor(x.name, (1, *x.shape), x.dtype, quant=x.quant)
    made = Tensor(y.name, (1, *y.shape), y.dtype, quant=y.quant)
    layer = replace(node, inputs=(row, *node.inputs[1:]), outputs=(made, *node.outputs[1:]),
                    options={**node.options, "time_major": True})

    def reshape(a: Tensor, b: Tensor) -> Node:
        return Node("RESHAPE", (a, integers(*b.shape)), (b,), index=node.index)

    return [reshape(x, row), *Layer(layer).steps(), reshape(made, y)]


def _basic(node: Node) -> list[Node] | None:
    """The oldest form: one matrix for data and hidden state, gates in an order of their own."""
    x, before, weights, bias = (node.input(i) for i in range(4))
    hidden, cell, both, sums = node.outputs
    if (x.dtype != "float32" or weights.data is None or weights.dtype != "float32"
            or node.options.get("fused_activation_function") != "TANH"):
        return None
    batch, units = cell.shape
    options = {"step": 0, "units": units, "gates": 4, "time_major": True, "old": 1,
               "clip": float(node.options.get("cell_clip", 0.0))}
    rows = Tensor(sums.name, (1, *sums.shape), "float32")
    again = Tensor(f"{sums.name}/none", (batch, 4 * units), "float32",
                   np.zeros((batch, 4 * units), np.float32))
    plain = {"fused_activation_function": "NONE"}
    made: list[tuple[str, tuple[Tensor, ...], tuple[Tensor, ...], dict[str, Any]]] = [
        ("CONCATENATION", (x, before), (both,), {"axis": 1, **plain}),
        ("FULLY_CONNECTED", (both, weights, bias), (sums,), plain),
        ("RESHAPE", (sums, integers(*rows.shape)), (rows,), {}),
        ("LSTM_CELL", (rows, again, node.input(4)), (hidden, cell), options)]
    return [Node(op, reads, gives, given, index=node.index) for op, reads, gives, given in made]


@dataclass
class Layer(Maker):
    """One layer being taken apart."""

    joined: dict[str, Tensor] = field(default_factory=dict)

    def steps(self) -> list[Node]:
        """All steps, and the states after the last one where they are asked for."""
        node, x = self.node, self.node.input(0)
        axis = 0 if node.options.get("time_major") else 1
        batch, units = x.shape[1 - axis], node.input(WEIGHTS[1]).shape[0]
        gates = self.gates
        sums = self.product(x, WEIGHTS, (*x.shape[:2], len(gates) * units),
                            () if self.normed else BIASES)
        rows = self.unpacked(sums, axis) if self.normed else []
        hidden, cell = self.state(HIDDEN), self.state(CELL)
        results = []
        for step in range(x.shape[axis]):
            again = None if hidden is None else self.product(
                hidden, RECURRENT, (batch, len(gates) * units))
            given, cell = (
                self.normed_cell(rows[step], again, cell) if self.normed else
                self.cell((sums, again, cell), step, (batch, units), bool(axis == 0)))
            result = self.projected(given)
            results.append(self.row(result, axis))
            hidden = self.returned(result)
        self.emit("CONCATENATION", results, node.outputs[:1], axis=axis,
                  fused_activation_function="NONE")
        for state, after in zip((hidden, cell), node.outputs[1:], strict=False):
            assert state is not None
            self.emit("RESHAPE", (state, integers(*after.shape)), (after,))
        return self.made

    @property
    def gates(self) -> list[int]:
        """Which gates there are: the input gate may be what forgetting leaves."""
        return [k for k in range(4) if self.node.optional(WEIGHTS[k]) is not None]

    @property
    def normed(self) -> bool:
        """Whether the sums are normalised before they become gates."""
        return self.node.optional(LAYER_NORM[1]) is not None

    def value(self, op: str, *inputs: Tensor | None, like: Sequence[int], **options: Any) -> Tensor:
        """Append a node that gives a float tensor."""
        made = floats(f"{self.node.outputs[0].name}/{op}", like)
        if op in ("ADD", "MUL"):
            options["fused_activation_function"] = "NONE"
        self.emit(op, inputs, (made,), **options)
        return made

    def cell(self, inputs: Sequence[Tensor | None], step: int, extents: tuple[int, int],
             major: bool) -> tuple[Tensor, Tensor]:
        """Hidden and cell state after one step."""
        node, (sums, again, before) = self.node, inputs
        hidden, cell = (self.like(t, f"{node.outputs[0].name}/{step}", extents)
                        for t in (self.result, node.optional(CELL)))
        weights = None if self.normed else self.peepholes(PEEPHOLES)
        self.emit("LSTM_CELL", (sums, again, before if again is not None else None, weights),
                  (hidden, cell), step=step, units=extents[1], gates=len(self.gates),
                  time_major=major, clip=float(node.options.get("cell_clip", 0.0)))
        return hidden, cell

    def peepholes(self, at: Sequence[int]) -> Tensor | None:
        """The weights by which gates see the cell state, those of all gates in a row."""
        parts = [t for t in map(self.node.optional, at) if t is not None]
        key = f"{parts[-1].name}/peepholes{len(parts)}" if parts else ""
        if parts and key not in self.joined:
            self.joined[key] = joined(key, parts)
        return self.joined.get(key)

    def normed_cell(self, sums: Tensor, again: Tensor | None,
                    before: Tensor | None) -> tuple[Tensor, Tensor]:
        """One step with normalised gates; the output gate may look at the new cell state."""
        (batch, wide), gates = sums.shape, len(self.gates)
        units = wide // gates
        if again is not None:
            sums = self.value("ADD", sums, again, like=sums.shape)
        seen = self.peepholes(PEEPHOLES[:2])
        if seen is not None and before is not None:
            twice = self.value("CONCATENATION", *[before] * (gates - 2),
                               like=(batch, (gates - 2) * units), axis=1)
            added = self.value("MUL", twice, seen, like=twice.shape)
            rest = constant("", np.zeros((batch, 2 * units)))
            sums = self.value("ADD", sums, self.value("CONCATENATION", added, rest, like=sums.shape,
                                                      axis=1), like=sums.shape)
        normed = self.norm(sums, self.gates)
        row = self.value("RESHAPE", normed, integers(1, batch, wide), like=(1, batch, wide))
        nothing = constant("", np.zeros((batch, wide)))
        hidden, cell = self.cell((row, None if before is None else nothing, before), 0,
                                 (batch, units), True)
        looking = self.peepholes(PEEPHOLES[2:])
        if looking is None:
            return hidden, cell
        begin, size = integers(0, wide - units), integers(batch, units)
        own = self.value("SLICE", sums, begin, size, like=cell.shape)
        own = self.value("ADD", own, self.value("MUL", cell, looking, like=cell.shape),
                         like=cell.shape)
        gate = self.value("LOGISTIC", self.norm(own, [3]), like=cell.shape)
        return self.value("MUL", gate, self.value("TANH", cell, like=cell.shape),
                          like=cell.shape), cell

    def norm(self, sums: Tensor, gates: Sequence[int]) -> Tensor:
        """Rows of mean 0 and deviation 1 for each gate, stretched and moved."""
        apart = (sums.shape[0], len(gates), sums.shape[1] // len(gates))
        factors, offsets = (np.stack([reals(self.node.input(at[k])) for k in gates])
                            for at in (LAYER_NORM, BIASES))
        x = self.value("RESHAPE", sums, integers(*apart), like=apart)
        x = self.value("LAYER_NORM", x, like=apart, epsilon=EPSILON)
        x = self.value("MUL", x, constant("factors", factors), like=apart)
        x = self.value("ADD", x, constant("offsets", offsets), like=apart)
        return self.value("RESHAPE", x, integers(*sums.shape), like=sums.shape)

    def projected(self, hidden: Tensor) -> Tensor:
        """The hidden state, or fewer numbers made of it."""
        weights = self.node.optional(PROJECTION[0])
        if weights is None:
            return hidden
        made = self.product(hidden, (PROJECTION[0],), (hidden.shape[0], weights.shape[0]),
                            PROJECTION[1:] if self.node.optional(PROJECTION[1]) else ())
        clip = float(self.node.options.get("proj_clip", 0.0))
        if clip > 0:
            made = self.value("MINIMUM", made, constant("", np.array(clip)), like=made.shape)
            made = self.value("MAXIMUM", made, constant("", np.array(-clip)), like=made.shape)
        return made

    def unpacked(self, sums: Tensor, axis: int) -> list[Tensor]:
        """The steps one by one."""
        count, batch = sums.shape[axis], sums.shape[1 - axis]
        rows = [floats(f"{sums.name}/{i}", (batch, sums.shape[2])) for i in range(count)]
        self.emit("UNPACK", (sums,), rows, axis=axis, num=count)
        return rows

    def like(self, tensor: Tensor | None, name: str, extents: tuple[int, ...]) -> Tensor:
        """A new state: in the type and the steps of a given one where the layer is quantised."""
        if tensor is None or not is_quantised(self.node.input(0)):
            return floats(name, extents)
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

    def product(self, x: Tensor, at: Sequence[int], extents: Sequence[int],
                biases: Sequence[int] = ()) -> Tensor:
        """x times the weights of all gates at once, or of a projection."""
        gates = self.gates if len(at) > 1 else [0]
        weights = [self.node.input(at[k]) for k in gates]
        if at is RECURRENT:
            weights = [diagonal(t) if len(t.shape) == 1 else t for t in weights]
        offsets = [self.node.input(biases[k]) for k in gates] if biases else []
        key = f"{weights[-1].name}/gates"
        whole = is_quantised(x)
        if key not in self.joined:
            self.joined[key] = (joined_integers if whole else joined)(key, weights)
        bias = joined(f"{key}/bias", offsets, "int32" if whole else "float32") if offsets else None
        if whole:
            # The sums of gates are in steps of 2^-12.
            made = (Tensor(key, tuple(extents), "int16", quant=Quantization((2.0 ** -12,), (0,)))
                    if len(at) > 1 else self.like(self.node.optional(HIDDEN), key, tuple(extents)))
        else:
            made = floats(key, extents)
            x = self.rounded(x) if is_quantised(weights[0]) else x
        self.emit("FULLY_CONNECTED", (x, self.joined[key], bias), (made,),
                  keep_num_dims=len(extents) == 3, fused_activation_function="NONE")
        return made

    def rounded(self, x: Tensor) -> Tensor:
        """Floats as TFLite takes them to weights of 8 bits."""
        symmetric = not self.node.options.get("asymmetric_quantize_inputs")
        return self.value("QUANTIZE_ROWS", x, like=x.shape, row=x.shape[-1], symmetric=symmetric)
