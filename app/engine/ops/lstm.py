"""The elementwise part of an LSTM step; passes.recurrent makes such steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Launch, Node
from app.engine.profile import DeviceProfile
from app.engine.registry import Shape, op, shape

i32 = np.int32


def _rows(node: Node) -> tuple[int, int, int]:
    """Batch, row of the step's first sequence, rows from one sequence to the next."""
    x, step = node.input(0).shape, int(node.options["step"])
    if node.options["time_major"]:
        return x[1], step * x[1], 1
    return x[0], step, x[1]


@shape("LSTM_CELL")
def cell_shape(node: Node) -> Sequence[Shape]:
    """Hidden and cell state [B,H]."""
    return [(_rows(node)[0], int(node.options["units"]))] * 2


@op("LSTM_CELL")
def cell(node: Node, profile: DeviceProfile) -> Sequence[Launch]:
    """Plan gates and states of one step.

    Shapes: x [B,T,G*H] (or time-major), r [B,G*H], c [B,H], peepholes [(G-1)*H] -> h, c' [B,H].
    Source: TFLite kernels/lstm_eval.cc, LstmStepFloat.
    """
    x, r, c, peepholes = node.input(0), *(node.optional(i) for i in (1, 2, 3))
    hidden, after = node.outputs
    batch, first, stride = _rows(node)
    units, gates = int(node.options["units"]), int(node.options["gates"])
    numbers = (i32(batch), i32(units), i32(first), i32(stride),
               *(np.float32(node.options.get(k, 0.0)) for k in ("clip", "cell", "hidden", "lo",
                                                                "hi")))
    return [Launch("lstm", "lstm_cell",
                   (x, r or x, c or x, peepholes or x, hidden, after, *numbers),
                   (units, batch), (profile.group, 1),
                   {"GATES": gates, "START": int(r is None),
                    "OLD": int(node.options.get("old", 0)), "PEEP": int(peepholes is not None),
                    "INTEGER": int("hidden" in node.options)}, 20 * batch * units)]
