"""Neighbouring nodes that the host runs between two uses of the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from app.engine import registry
from app.engine.cpu.part import CpuPart, open_part
from app.engine.ir import Data, Graph, Node, Tensor
from app.engine.passes.facts import EXACT, plain
from app.errors import InvalidInput, UnsupportedOp

# Elements up to which a node's work on the host costs less than a transfer.
SMALL = 4096
# Work per element is not bounded by these.
HEAVY = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV",
         "CONV_3D", "CONV_3D_TRANSPOSE", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM"}


@dataclass(frozen=True, slots=True, eq=False)
class NumpyPart:
    """One node that a numpy rule runs."""

    node: Node

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What it makes."""
        return self.node.outputs

    def run(self, arrays: Sequence[Data | None]) -> Sequence[Data]:
        """Compute; rules that read constants find what the model computed in their place.

        Raises: InvalidInput if the operation does not take these values.
        """
        inputs = tuple(None if t is None else t if t.data is not None else replace(t, data=a)
                       for t, a in zip(self.node.inputs, arrays, strict=True))
        try:
            return registry.HOSTS[self.node.op](replace(self.node, inputs=inputs), arrays)
        except (ValueError, IndexError, TypeError) as error:
            raise InvalidInput(f"{self.node.op} (operator {self.node.index}): {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class HostCall:
    """A segment: its inputs come to the host once, its parts run in order.

    Nothing moves between its parts; outputs are what is read outside of it.
    """

    parts: tuple[NumpyPart | CpuPart, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(self, values: Mapping[Tensor, Data]) -> dict[Tensor, Data]:
        """Run the parts one after the other; gives the values together with all that was made."""
        local = dict(values)
        for part in self.parts:
            if isinstance(part, CpuPart):
                results = part.interpreter.run([local[t] for t in part.inputs])
            else:
                results = list(part.run([None if t is None else local.get(t, t.data)
                                         for t in part.node.inputs]))
            local.update(zip(part.outputs, map(np.asarray, results), strict=True))
        return local

    def reset(self) -> None:
        """Give state tensors their first values."""
        for part in self.parts:
            if isinstance(part, CpuPart):
                part.interpreter.reset()


def small(node: Node) -> bool:
    """Whether a node is quicker on the host than a transfer."""
    return node.op not in HEAVY and sum(t.size for t in (*node.reads, *node.outputs)) <= SMALL


def close_segment(graph: Graph, nodes: Sequence[tuple[Node, str]],
                  readers: Mapping[Tensor, AbstractSet[Node]]) -> tuple[HostCall, list[str]]:
    """Make a segment of nodes with the reasons why they are no kernels.

    Gives it with the reasons of the nodes that the host does not run either.
    """
    refused: list[str] = []
    parts: list[NumpyPart | CpuPart] = []
    numpy_only = all(_by_numpy(graph, n) for n, _ in nodes)
    changed = _changed(graph, [n for n, _ in nodes if _in_numpy(n)])
    run: list[tuple[Node, str]] = []
    for node, reason in nodes:
        if numpy_only or node in changed or not _known_to_cpu(graph, node):
            parts += _cpu_parts(graph, run, readers, refused)
            run = []
            if _in_numpy(node):
                parts.append(NumpyPart(node))
            else:
                refused.append(reason)
        else:
            run.append((node, reason))
    parts += _cpu_parts(graph, run, readers, refused)
    own = [n for n, _ in nodes]
    made = {t for n in own for t in n.outputs}
    inputs = dict.fromkeys(t for n in own for t in n.reads
                           if t not in made and t.data is None and not t.is_variable)
    outputs = tuple(t for n in own for t in n.outputs if readers.get(t, set()) - set(own))
    return HostCall(tuple(parts), tuple(own), tuple(inputs), outputs), refused


def _changed(graph: Graph, nodes: Sequence[Node]) -> set[Node]:
    """Those that a rewriting gave other types of number than the file's operator has."""
    numbers = {(n.graph, n.index, n.op): n for n in nodes}
    own = {key: n for n in graph.nodes if (key := (n.graph, n.index, n.op)) in numbers}
    return {n for key, n in numbers.items() if key in own and _kinds(own[key]) != _kinds(n)}


def _kinds(node: Node) -> list[str | None]:
    return [None if t is None else t.dtype for t in (*node.inputs, *node.outputs)]


def _in_numpy(node: Node) -> bool:
    """Whether numpy has the operation, and its types of number."""
    return node.op in registry.HOSTS and not any(
        t.dtype == "variant" for t in (*node.reads, *node.outputs))


def _by_numpy(graph: Graph, node: Node) -> bool:
    if not _in_numpy(node):
        return False
    return not graph.blob or ((node.op in EXACT or plain(node)) and small(node))


def _known_to_cpu(graph: Graph, node: Node) -> bool:
    # Custom operations of which there is a numpy version are not the runtimes' business.
    return bool(graph.blob) and not (node.op.startswith("CUSTOM:") and node.op in registry.HOSTS)


def _cpu_parts(graph: Graph, nodes: Sequence[tuple[Node, str]],
               readers: Mapping[Tensor, AbstractSet[Node]],
               refused: list[str]) -> list[NumpyPart | CpuPart]:
    if not nodes:
        return []
    own = {n for n, _ in nodes}
    needed = {t for n in own for t in n.outputs if readers.get(t, set()) - own}
    try:
        return [open_part(graph, [n for n, _ in nodes], needed)]
    except UnsupportedOp:
        # One of them is to blame; alone each one tells.
        return [part for n, r in nodes for part in _alone(graph, n, r, refused)]


def _alone(graph: Graph, node: Node, reason: str,
           refused: list[str]) -> list[NumpyPart | CpuPart]:
    try:
        return [open_part(graph, [node], set(node.outputs))]
    except UnsupportedOp as error:
        if _in_numpy(node):
            return [NumpyPart(node)]
        refused.append(f"{reason}, and the CPU says: {error}")
        return []
