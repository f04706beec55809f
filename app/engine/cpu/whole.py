"""A model without a device: sub-models for the CPU's runtime, and numpy for what it does not know.

Slow where it is numpy. It is for models that no runtime takes as a whole.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import app.engine.ops  # noqa: F401  (fills the tables)
from app.engine import registry
from app.engine.ir import Data, Graph, Model, Node, Tensor
from app.engine.known import refuse_unknown
from app.engine.passes.control import settle
from app.engine.passes.lengths import unrolled
from app.engine.passes.lists import RESERVE
from app.engine.passes.specialise import specialise
from app.engine.segments import HostCall, close_segment
from app.errors import UnsupportedOp

Shape = tuple[int, ...]
OUTSIDE = Node("OUTSIDE", (), ())


class WholeModel:
    """The main graph in parts on the CPU. Thread-safe; runs one request at a time.

    Raises: UnsupportedOp that names what neither the runtimes nor numpy can run.
    """

    def __init__(self, model: Model) -> None:
        refuse_unknown(model)
        self._graph = settle(model.graphs)[0]
        # A loop that fills a list is unrolled when it is known how long the inputs are.
        listed = any(n.op == RESERVE for n in self._graph.nodes)
        _refuse_stateful(self._graph, {"WHILE"} if listed else set())
        self.model = model
        self._lock = threading.Lock()
        self._plans: dict[tuple[Shape, ...], tuple[Graph, HostCall]] = {}

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The main graph's inputs; -1 where the caller chooses."""
        return self._graph.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The main graph's outputs, as the file describes them."""
        return self.model.graphs[0].outputs

    def run(self, inputs: Sequence[Data]) -> list[Data]:
        """Run once.

        Raises: InvalidInput, UnsupportedOp if the arrays do not fit the model.
        """
        with self._lock:
            graph, call = self._planned(tuple(tuple(a.shape) for a in inputs))
            values: dict[Tensor, Data] = dict(zip(graph.inputs, inputs, strict=True))
            call.reset()
            made = call.run(values)
            return [_value(made, t) for t in graph.outputs]

    def _planned(self, shapes: tuple[Shape, ...]) -> tuple[Graph, HostCall]:
        if shapes not in self._plans:
            whole = unrolled(self._graph, shapes)
            _refuse_stateful(whole, set())
            graph = specialise(whole, shapes)
            readers: dict[Tensor, set[Node]] = {}
            for node in graph.nodes:
                for tensor in node.reads:
                    readers.setdefault(tensor, set()).add(node)
            for tensor in graph.outputs:
                readers.setdefault(tensor, set()).add(OUTSIDE)
            call, refused = close_segment(graph, [(n, n.op) for n in graph.nodes], readers)
            if refused:
                raise UnsupportedOp("neither a card nor a CPU runtime is there for "
                                    + "; ".join(dict.fromkeys(refused)))
            self._plans = {shapes: (graph, call)}
        return self._plans[shapes]


def _refuse_stateful(graph: Graph, allowed: set[str]) -> None:
    stateful = {n.op for n in graph.nodes if n.op in registry.STATEFUL} - allowed
    if stateful:
        raise UnsupportedOp("without an OpenCL device this model cannot run in parts, because "
                            f"it has {', '.join(sorted(stateful))}")


def _value(values: dict[Tensor, Data], tensor: Tensor) -> Data:
    data = values.get(tensor, tensor.data)
    assert data is not None
    return data
