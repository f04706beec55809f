"""Recurrent layers that passes.recurrent left whole: the CPU's."""

from __future__ import annotations

from collections.abc import Sequence

from app.engine.ir import Launch, Node
from app.engine.passes.recurrent import TAKEN_APART, refusal
from app.engine.profile import DeviceProfile
from app.engine.registry import op
from app.errors import UnsupportedOp


@op(*TAKEN_APART)
def whole(node: Node, _: DeviceProfile) -> Sequence[Launch]:
    """Refuse the layer.

    Raises: UnsupportedOp that says what of it has no kernel.
    """
    raise UnsupportedOp(f"{node.op} with {refusal(node)} has no kernel")
