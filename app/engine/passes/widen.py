"""Compute numbers of float16 in float32: no kernel does arithmetic with them.

Models that were made half keep all they compute in float16. Each such tensor gets a float32 one
beside it, and what rules on the device compute reads and gives these; a CAST stands wherever others
need the file's own. Results are at least as near to the real numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from app.engine.ir import Graph, Node, Tensor
from app.engine.passes.volumes import RULES as VOLUMES
from app.engine.registry import OPS, VIEWS

NARROW, WIDE = "float16", "float32"
# What reads bits, and what rounds to float16 where the model says so.
AS_THEY_ARE = {"BITCAST", "CAST"}
# What passes.quantize has kernels for.
STEPS = {"QUANTIZE", "DEQUANTIZE"}
Constants = dict[tuple[Tensor, str], Tensor]


def widen(graph: Graph, constants: Constants) -> Graph:
    """Rewrite every node of float16 that has a rule on the device.

    constants keeps the wide forms of weights, so that all plans of a model share them.
    """
    if not any(_touches(node) for node in graph.nodes):
        return graph
    widening = _Widening(constants, set(graph.inputs))
    for node in graph.nodes:
        widening.add(node)
    for tensor in graph.outputs:
        widening.narrow(tensor, graph.nodes[-1])
    return replace(graph, nodes=tuple(widening.nodes))


def _touches(node: Node) -> bool:
    return any(t is not None and t.dtype == NARROW for t in (*node.inputs, *node.outputs))


def _fits(node: Node) -> bool:
    known = node.op == "ADD_N" or any(node.op in table for table in (OPS, VIEWS, VOLUMES, STEPS))
    table = node.op == "GATHER" and node.input(0).data is not None
    return (known and node.op not in AS_THEY_ARE and not table
            and not any(t.is_variable for t in node.reads))


@dataclass
class _Widening:
    """A graph being rewritten: its nodes so far, and which tensors exist as the file has them."""

    constants: Constants
    narrow_ones: set[Tensor]
    wide_ones: dict[Tensor, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def add(self, given: Node) -> None:
        """Append a node, in float32 if it can be."""
        node = given
        if node.op == "DEQUANTIZE" and node.input(0).dtype == NARROW:
            node = replace(node, op="CAST")
        if not _touches(node) or not _fits(node):
            for tensor in node.reads:
                self.narrow(tensor, node)
            self.nodes.append(node)
            self.narrow_ones.update(node.outputs)
            return
        inputs = tuple(None if t is None else self.wide(t, node) for t in node.inputs)
        outputs = tuple(self._result(t) for t in node.outputs)
        self.nodes.append(replace(node, inputs=inputs, outputs=outputs))

    def wide(self, tensor: Tensor, reader: Node) -> Tensor:
        """The float32 form of a tensor."""
        if tensor.dtype != NARROW:
            return tensor
        if tensor.data is not None:
            key = (tensor, WIDE)
            if key not in self.constants:
                self.constants[key] = replace(tensor, dtype=WIDE,
                                              data=tensor.data.astype(np.float32))
            return self.constants[key]
        if tensor not in self.wide_ones:
            self.wide_ones[tensor] = replace(tensor, dtype=WIDE)
            self.nodes.append(Node("CAST", (tensor,), (self.wide_ones[tensor],),
                                   index=reader.index))
        return self.wide_ones[tensor]

    def narrow(self, tensor: Tensor, reader: Node) -> None:
        """Make sure that a tensor exists as the file has it."""
        if tensor in self.wide_ones and tensor not in self.narrow_ones:
            self.nodes.append(Node("CAST", (self.wide_ones[tensor],), (tensor,),
                                   index=reader.index))
            self.narrow_ones.add(tensor)

    def _result(self, tensor: Tensor) -> Tensor:
        if tensor.dtype != NARROW:
            return tensor
        self.wide_ones[tensor] = replace(tensor, dtype=WIDE)
        return self.wide_ones[tensor]
