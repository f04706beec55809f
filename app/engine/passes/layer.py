"""What taking a recurrent layer apart needs, whichever kind it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.engine.ir import Node, Tensor


@dataclass
class Maker:
    """A layer, and the nodes that have been made of it."""

    node: Node
    made: list[Node] = field(default_factory=list)

    def emit(self, op: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
             **options: Any) -> None:
        """Append a node."""
        self.made.append(Node(op, tuple(inputs), tuple(outputs), options, index=self.node.index))

    def state(self, position: int) -> Tensor | None:
        """The initial state; None where it is a variable, which begins at zero."""
        tensor = self.node.optional(position)
        return None if tensor is None or tensor.is_variable else tensor
