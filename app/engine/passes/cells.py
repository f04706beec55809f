"""Take simple recurrent ops apart: RNN cells and SVDF filters whose state begins at zero.

As in passes.recurrent, of which these are the small relatives; a plan whose states outlive a run
leaves them whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.engine.ir import Data, Node, Tensor, integers
from app.engine.passes.integers import centred_data, is_quantised

SEQUENCE, CELL, SVDF = "UNIDIRECTIONAL_SEQUENCE_RNN", "RNN", "SVDF"
BOTH_WAYS = "BIDIRECTIONAL_SEQUENCE_RNN"


def parts(node: Node) -> list[Node] | None:
    """The nodes that a cell or filter stands for; None of other ops and of other forms.

    Source: TFLite kernels/basic_rnn.cc, unidirectional_sequence_rnn.cc, svdf.cc.
    """
    rule = _RULES.get(node.op)
    return rule(_Maker(node)) if rule is not None else None


@dataclass
class _Maker:
    node: Node
    made: list[Node] = field(default_factory=list)

    def emit(self, op: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
             **options: Any) -> None:
        self.made.append(Node(op, tuple(inputs), tuple(outputs), options, index=self.node.index))

    def product(self, x: Tensor, weights: Tensor, bias: Tensor | None, y: Tensor,
                activation: str = "NONE") -> None:
        """y = x times weights."""
        asymmetric = bool(self.node.options.get("asymmetric_quantize_inputs"))
        self.emit("FULLY_CONNECTED", (x, weights, bias), (y,), keep_num_dims=True,
                  asymmetric_quantize_inputs=asymmetric, fused_activation_function=activation)

    @property
    def activation(self) -> str:
        """The op's own."""
        return str(self.node.options.get("fused_activation_function", "NONE"))


def _known(node: Node, weights: Sequence[int], state: int) -> bool:
    tensors = [node.optional(i) for i in weights]
    at = node.optional(state)
    return (at is None or at.is_variable) and all(
        t is not None and t.data is not None and (t.dtype == "float32" or is_quantised(t))
        for t in tensors)


def _sequence(maker: _Maker) -> list[Node] | None:
    node, x, y = maker.node, maker.node.input(0), maker.node.outputs[0]
    axis = 0 if node.options.get("time_major") else 1
    if (not _known(node, (1, 2, 3), 4) or x.dtype != "float32" or len(x.shape) != 3
            or not x.shape[axis]):
        return None
    units, batch = node.input(1).shape[0], x.shape[1 - axis]
    sums = Tensor(f"{y.name}/sums", (*x.shape[:2], units), "float32")
    maker.product(x, node.input(1), node.input(3), sums)
    steps = [Tensor(f"{y.name}/{i}", (batch, units), "float32") for i in range(x.shape[axis])]
    maker.emit("UNPACK", (sums,), steps, axis=axis, num=len(steps))
    rows: list[Tensor] = []
    for own in steps:
        after = Tensor(f"{own.name}/hidden", own.shape, "float32")
        if rows:
            again = Tensor(f"{own.name}/again", own.shape, "float32")
            maker.product(rows[-1], node.input(2), None, again)
            maker.emit("ADD", (again, own), (after,), fused_activation_function=maker.activation)
        else:
            zero = Tensor("", (), "float32", np.zeros((), np.float32))
            maker.emit("ADD", (own, zero), (after,), fused_activation_function=maker.activation)
        rows.append(after)
    maker.emit("PACK", rows, (y,), axis=axis, values_count=len(rows))
    return maker.made


def _cell(maker: _Maker) -> list[Node] | None:
    node, x = maker.node, maker.node.input(0)
    if not _known(node, (1, 2, 3), 4) or x.dtype != "float32":
        return None
    # What came before is zero.
    maker.product(x, node.input(1), node.input(3), node.outputs[0], maker.activation)
    return maker.made


def _svdf(maker: _Maker) -> list[Node] | None:
    node, x, y = maker.node, maker.node.input(0), maker.node.outputs[0]
    features, time = node.input(1), node.input(2)
    bias, state, rank = node.optional(3), node.optional(4), int(node.options["rank"])
    whole = is_quantised(x)
    if (not _known(node, (1, 2), 4) or not (whole or x.dtype == "float32") or rank < 1
            or (bias is not None and bias.data is None) or (whole and state is None)):
        return None
    shape = (x.shape[0], features.shape[0])
    seen = Tensor(f"{y.name}/seen", shape, "float32")
    if whole and state is not None:
        rounded = Tensor(f"{y.name}/rounded", shape, state.dtype, quant=state.quant)
        maker.product(x, features, None, rounded)
        maker.emit("DEQUANTIZE", (rounded,), (seen,))
    else:
        maker.product(x, features, None, seen)
    # The memory is zero but for its last place, which holds what is seen now.
    now = _constant(f"{y.name}/now", _reals(time)[:, -1])
    weighed, apart = (Tensor(f"{y.name}/{name}", extents, "float32") for name, extents in (
        ("weighed", shape), ("apart", (shape[0], shape[1] // rank, rank))))
    maker.emit("MUL", (seen, now), (weighed,), fused_activation_function="NONE")
    maker.emit("RESHAPE", (weighed, integers(*apart.shape)), (apart,), new_shape=apart.shape)
    sums, result = (Tensor(f"{y.name}/{name}", (shape[0], shape[1] // rank), "float32")
                    for name in ("sums", "result"))
    maker.emit("SUM", (apart, integers(2)), (sums,), keep_dims=False)
    offset = _constant(f"{y.name}/bias", np.zeros(sums.shape[1:], np.float32)
                       if bias is None else _reals(bias, time, state))
    # TFLite's integer kernel only cuts what leaves the type, whatever the file says.
    maker.emit("ADD", (sums, offset), (result if whole else y,),
               fused_activation_function="NONE" if whole else maker.activation)
    if whole:
        maker.emit("QUANTIZE", (result,), (y,))
    return maker.made


def _constant(name: str, data: Data) -> Tensor:
    return Tensor(name, data.shape, "float32", data.astype(np.float32))


def _reals(tensor: Tensor, *factors: Tensor | None) -> Data:
    """The numbers that a constant stands for; integers without steps have the factors' product."""
    assert tensor.data is not None
    if tensor.dtype == "float32":
        return tensor.data
    if not factors:
        assert tensor.quant is not None
        return centred_data(tensor) * np.float32(tensor.quant.scales[0])
    step = np.prod([np.float32(t.quant.scales[0]) for t in factors if t and t.quant])
    real: Data = tensor.data.astype(np.float32) * np.float32(step)
    return real


_RULES: dict[str, Callable[[_Maker], list[Node] | None]] = {
    SEQUENCE: _sequence, CELL: _cell, SVDF: _svdf}
