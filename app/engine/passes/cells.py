"""Take simple recurrent ops apart: RNN cells and SVDF filters whose state begins at zero.

As in passes.recurrent, of which these are the small relatives; a plan whose states outlive a run
leaves them whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.engine.ir import Node, Tensor, integers
from app.engine.passes.integers import is_quantised
from app.engine.passes.layer import Maker
from app.engine.passes.matrices import constant, floats, reals

SEQUENCE, CELL, SVDF = "UNIDIRECTIONAL_SEQUENCE_RNN", "RNN", "SVDF"
BOTH_WAYS = "BIDIRECTIONAL_SEQUENCE_RNN"
# Among the inputs of all of them.
STATE = 4


def parts(node: Node) -> list[Node] | None:
    """The nodes that a cell or filter stands for; None of other ops and of other forms.

    The second output, where there is one, is the state after the last step.

    Source: TFLite kernels/basic_rnn.cc, unidirectional_sequence_rnn.cc, svdf.cc.
    """
    rule = _RULES.get(node.op)
    return rule(_Maker(node)) if rule is not None else None


class _Maker(Maker):
    def product(self, x: Tensor, weights: Tensor, bias: Tensor | None, y: Tensor,
                activation: str = "NONE") -> None:
        """y = x times weights."""
        asymmetric = bool(self.node.options.get("asymmetric_quantize_inputs"))
        self.emit("FULLY_CONNECTED", (x, weights, bias), (y,), keep_num_dims=True,
                  asymmetric_quantize_inputs=asymmetric, fused_activation_function=activation)

    def step(self, own: Tensor, before: Tensor | None, y: Tensor | None = None) -> Tensor:
        """The state after a step: what the data give, and the state before."""
        after = y or floats(f"{own.name}/hidden", own.shape)
        again = constant("", np.zeros(()))
        if before is not None:
            again = floats(f"{own.name}/again", own.shape)
            self.product(before, self.node.input(2), None, again)
        self.emit("ADD", (again, own) if before is not None else (own, again), (after,),
                  fused_activation_function=self.activation)
        return after

    def keep(self, state: Tensor) -> None:
        """Give the state after the last step, if it is asked for."""
        for after in self.node.outputs[1:]:
            self.emit("RESHAPE", (state, integers(*after.shape)), (after,))

    @property
    def activation(self) -> str:
        """The op's own."""
        return str(self.node.options.get("fused_activation_function", "NONE"))


def _known(node: Node, weights: Sequence[int]) -> bool:
    tensors = [node.optional(i) for i in weights]
    return all(t is not None and t.data is not None and (t.dtype == "float32" or is_quantised(t))
               for t in tensors)


def _sequence(maker: _Maker) -> list[Node] | None:
    node, x, y = maker.node, maker.node.input(0), maker.node.outputs[0]
    axis = 0 if node.options.get("time_major") else 1
    if (not _known(node, (1, 2, 3)) or x.dtype != "float32" or len(x.shape) != 3
            or not x.shape[axis]):
        return None
    units, batch = node.input(1).shape[0], x.shape[1 - axis]
    sums = floats(f"{y.name}/sums", (*x.shape[:2], units))
    maker.product(x, node.input(1), node.input(3), sums)
    steps = [floats(f"{y.name}/{i}", (batch, units)) for i in range(x.shape[axis])]
    maker.emit("UNPACK", (sums,), steps, axis=axis, num=len(steps))
    rows: list[Tensor] = []
    before = maker.state(STATE)
    for own in steps:
        before = maker.step(own, before)
        rows.append(before)
    maker.emit("PACK", rows, (y,), axis=axis, values_count=len(rows))
    maker.keep(rows[-1])
    return maker.made


def _cell(maker: _Maker) -> list[Node] | None:
    node, x, y = maker.node, maker.node.input(0), maker.node.outputs[0]
    if not _known(node, (1, 2, 3)) or x.dtype != "float32":
        return None
    before = maker.state(STATE)
    if before is None:
        maker.product(x, node.input(1), node.input(3), y, maker.activation)
    else:
        own = floats(f"{y.name}/own", y.shape)
        maker.product(x, node.input(1), node.input(3), own)
        maker.step(own, before, y)
    maker.keep(y)
    return maker.made


def _svdf(maker: _Maker) -> list[Node] | None:
    node, x, y = maker.node, maker.node.input(0), maker.node.outputs[0]
    features, time = node.input(1), node.input(2)
    bias, state, rank = node.optional(3), node.optional(STATE), int(node.options["rank"])
    whole = is_quantised(x)
    if (not _known(node, (1, 2)) or not (whole or x.dtype == "float32") or rank < 1
            or (bias is not None and bias.data is None) or (whole and state is None)):
        return None
    shape = (x.shape[0], features.shape[0])
    seen: Tensor = floats(f"{y.name}/seen", shape)
    if whole and state is not None:
        seen = Tensor(f"{y.name}/rounded", shape, state.dtype, quant=state.quant)
    maker.product(x, features, None, seen)
    before = maker.state(STATE)
    weighed = _weighed(maker, seen, time) if before is None else _remembered(
        maker, seen, before, time)
    apart = floats(f"{y.name}/apart", (shape[0], shape[1] // rank, weighed.size // (
        shape[0] * (shape[1] // rank))))
    maker.emit("RESHAPE", (weighed, integers(*apart.shape)), (apart,), new_shape=apart.shape)
    sums, result = (floats(f"{y.name}/{name}", (shape[0], shape[1] // rank))
                    for name in ("sums", "result"))
    maker.emit("SUM", (apart, integers(2)), (sums,), keep_dims=False)
    offset = constant(f"{y.name}/bias", np.zeros(sums.shape[1:]) if bias is None
                      else reals(bias, time, state))
    # TFLite's integer kernel only cuts what leaves the type, whatever the file says.
    maker.emit("ADD", (sums, offset), (result if whole else y,),
               fused_activation_function="NONE" if whole else maker.activation)
    if whole:
        maker.emit("QUANTIZE", (result,), (y,))
    return maker.made


def _weighed(maker: _Maker, seen: Tensor, time: Tensor) -> Tensor:
    """A memory that is zero but for its last place, which holds what is seen now."""
    made = floats(f"{seen.name}/weighed", seen.shape)
    now = constant(f"{time.name}/now", reals(time)[:, -1])
    maker.emit("MUL", (_as_floats(maker, seen), now), (made,), fused_activation_function="NONE")
    return made


def _remembered(maker: _Maker, seen: Tensor, before: Tensor, time: Tensor) -> Tensor:
    """The memory [B,F,T] moved on by a place, weighed."""
    batch, filters = seen.shape
    extents = (batch, filters, time.shape[1])

    def like(name: str, *shape: int) -> Tensor:
        return Tensor(f"{before.name}/{name}", shape, before.dtype, quant=before.quant)

    old, new, memory = (like("old", *extents), like("new", batch, filters, 1),
                        like("memory", *extents))
    maker.emit("RESHAPE", (before, integers(*extents)), (old,))
    kept = like("kept", batch, filters, extents[2] - 1)
    maker.emit("SLICE", (old, integers(0, 0, 1), integers(*kept.shape)), (kept,))
    maker.emit("RESHAPE", (seen, integers(*new.shape)), (new,))
    maker.emit("CONCATENATION", (kept, new), (memory,), axis=2, fused_activation_function="NONE")
    maker.keep(memory)
    made = floats(f"{seen.name}/weighed", extents)
    maker.emit("MUL", (_as_floats(maker, memory), constant(time.name, reals(time))), (made,),
               fused_activation_function="NONE")
    return made


def _as_floats(maker: _Maker, x: Tensor) -> Tensor:
    if not is_quantised(x):
        return x
    made = floats(f"{x.name}/reals", x.shape)
    maker.emit("DEQUANTIZE", (x,), (made,))
    return made


_RULES: dict[str, Callable[[_Maker], list[Node] | None]] = {
    SEQUENCE: _sequence, CELL: _cell, SVDF: _svdf}
