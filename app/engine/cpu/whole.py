"""A model without a device: sub-models for the CPU's runtime, and numpy for what it does not know.

Slow where it is numpy. It is for models that no runtime takes as a whole.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import app.engine.ops  # noqa: F401  (fills the tables)
from app.engine import registry
from app.engine.ir import Data, Graph, Model, Node, Tensor
from app.engine.known import refuse_unknown
from app.engine.passes.control import settle
from app.engine.passes.lengths import unrolled
from app.engine.passes.lists import RESERVE
from app.engine.passes.stages import Stage, first_stage
from app.engine.segments import HostCall, close_segment
from app.errors import UnsupportedOp

Shape = tuple[int, ...]
OUTSIDE = Node("OUTSIDE", (), ())
# Of one model: each holds interpreters of its own.
MAX_PLANS = 8
_Key = tuple[Graph, tuple[Shape, ...], tuple[bytes, ...]]


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
        self._plans: dict[_Key, tuple[Stage, HostCall]] = {}

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
        graph, values, contents = self._graph, list(inputs), dict[Tensor, Data]()
        with self._lock:
            while True:
                stage, call = self._planned(graph, tuple(a.shape for a in values), contents)
                call.reset()
                made = call.run(dict(zip(stage.graph.inputs, values, strict=True)))
                results = [_value(made, t) for t in stage.graph.outputs]
                rest = stage.rest
                if rest is None:
                    return results
                found = dict(zip(graph.inputs, values, strict=True))
                found.update(zip(stage.produced, results, strict=True))
                wanted = [t for t in rest.inputs if t in stage.values]
                if not stage.graph.nodes and all(t in contents for t in wanted):
                    raise UnsupportedOp(
                        f"the shape of {rest.nodes[0].op}'s result is not to be found")
                contents = {t: found[t] for t in wanted}
                graph, values = rest, [found[t] for t in rest.inputs]

    def _planned(self, graph: Graph, shapes: tuple[Shape, ...],
                 contents: Mapping[Tensor, Data]) -> tuple[Stage, HostCall]:
        key: _Key = (graph, shapes, tuple(contents[t].tobytes() for t in graph.inputs
                                          if t in contents))
        # The last one used is the last to go.
        found = self._plans.pop(key, None) or self._made(graph, shapes, contents)
        while len(self._plans) >= MAX_PLANS:
            self._plans.pop(next(iter(self._plans)))
        self._plans[key] = found
        return found

    def _made(self, graph: Graph, shapes: tuple[Shape, ...],
              contents: Mapping[Tensor, Data]) -> tuple[Stage, HostCall]:
        whole = unrolled(graph, shapes)
        _refuse_stateful(whole, set())
        stage = first_stage(whole, shapes, contents)
        readers: dict[Tensor, set[Node]] = {}
        for node in stage.graph.nodes:
            for tensor in node.reads:
                readers.setdefault(tensor, set()).add(node)
        for tensor in stage.graph.outputs:
            readers.setdefault(tensor, set()).add(OUTSIDE)
        call, refused = close_segment(stage.graph, [(n, n.op) for n in stage.graph.nodes], readers)
        if refused:
            raise UnsupportedOp("neither a card nor a CPU runtime is there for "
                                + "; ".join(dict.fromkeys(refused)))
        return stage, call


def _refuse_stateful(graph: Graph, allowed: set[str]) -> None:
    stateful = {n.op for n in graph.nodes if n.op in registry.STATEFUL} - allowed
    if stateful:
        raise UnsupportedOp("without an OpenCL device this model cannot run in parts, because "
                            f"it has {', '.join(sorted(stateful))}")


def _value(values: dict[Tensor, Data], tensor: Tensor) -> Data:
    data = values.get(tensor, tensor.data)
    assert data is not None
    return data
