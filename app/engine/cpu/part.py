"""Parts of a model in the CPU's hands: to run, or to ask for shapes and constants beforehand."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.cpu.interpreter import Interpreter
from app.engine.cpu.submodel import build
from app.engine.ir import Data, Graph, Node, Tensor
from app.errors import UnsupportedOp

Shape = tuple[int, ...]
# What answers differently each time, or acts beyond its outputs, is never a constant.
IMPURE = {"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL", "IF", "WHILE", "CALL_ONCE",
          "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "HASHTABLE", "HASHTABLE_FIND",
          "HASHTABLE_IMPORT", "HASHTABLE_SIZE"}


@dataclass(frozen=True, slots=True, eq=False)
class CpuPart:
    """Neighbouring nodes that one interpreter runs; inputs and outputs in its order."""

    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    interpreter: Interpreter


def open_part(graph: Graph, nodes: Sequence[Node], needed: set[Tensor]) -> CpuPart:
    """Rebuild nodes as a sub-model that gives those of their outputs that are needed.

    Raises: UnsupportedOp if the CPU's runtime takes no such sub-model.
    """
    made = {t for n in nodes for t in n.outputs}
    reads = dict.fromkeys(t for n in nodes for t in n.reads)
    inputs = tuple(t for t in reads if t not in made and t.data is None and not t.is_variable)
    outputs = tuple(t for n in nodes for t in n.outputs if t in needed)
    try:
        blob = build(graph.blob, nodes, inputs, outputs)
    except (ValueError, struct.error) as error:
        raise UnsupportedOp(str(error)) from error
    return CpuPart(tuple(nodes), inputs, outputs, Interpreter(blob))


def infer_shapes(graph: Graph, node: Node) -> list[Shape] | None:
    """The output shapes that the CPU's runtime plans for a node, None if they depend on data.

    Raises: UnsupportedOp if the runtime does not take the node.
    """
    return open_part(graph, [node], set(node.outputs)).interpreter.output_shapes()


def evaluate(graph: Graph, node: Node) -> list[Data]:
    """The outputs of a node whose inputs are all constants.

    Raises: UnsupportedOp if the runtime does not take the node.
    """
    return open_part(graph, [node], set(node.outputs)).interpreter.run([])
