"""Make a graph with variables one without: a variable's old value comes in, its new one goes out.

Between the steps of a request the values then stay where the kernels put them, in the form that
the kernels want (floats for quantised integers), and no step asks the host.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from app.engine import registry
from app.engine.ir import Data, Graph, Node, Tensor
from app.engine.passes import cells, lstm
from app.engine.passes.integers import centred_data, is_quantised, zero_point
from app.engine.passes.specialise import drop_dead, fold, substitute
from app.engine.passes.variables import reached
from app.engine.values import variable_name

VARIABLES = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}


# Where recurrent layers that passes.recurrent takes apart have their states.
REMEMBERED = {lstm.NAME: (lstm.HIDDEN, lstm.CELL), lstm.CELL_NAME: (lstm.HIDDEN, lstm.CELL),
              **dict.fromkeys((cells.SEQUENCE, cells.CELL, cells.SVDF), (cells.STATE,))}


def _rows(node: Node) -> int:
    """The rows of a recurrent layer's state."""
    x = node.input(0).shape
    return x[0 if len(x) < 3 or not node.options.get("time_major") else 1]


def _keeps(node: Node) -> bool:
    return any(t.is_variable for t in node.reads)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One variable of a plan: the tensors of its value before and after a step, and its value at
    the start of a request, in the form of those tensors."""

    name: str
    before: Tensor
    after: Tensor
    first: Data


def functional(graph: Graph, lasting: bool = False) -> tuple[Graph, tuple[State, ...]] | None:
    """The graph without its variables: they are its last inputs and its last outputs.

    lasting: so are the state tensors of recurrent layers, which come as inputs of theirs and go as
    more outputs.
    None where graphs that it refers to use variables too, where one starts with what must be
    computed, or where there is none.
    """
    if graph.index or not any(n.op in VARIABLES or (lasting and _keeps(n)) for n in graph.nodes):
        return None
    initial = _initial(graph)
    if initial is None:
        return None
    draft = _Draft(initial, lasting)
    for node in graph.nodes:
        if not draft.take(node):
            return None
    return draft.finished(graph)


def _initial(graph: Graph) -> dict[str, Data] | None:
    """What the subgraphs that run once give the variables."""
    once = {int(n.options["init_subgraph_index"]) for n in graph.nodes if n.op == "CALL_ONCE"}
    values: dict[str, Data] = {}
    for index in reached(graph.siblings, graph.index) - {graph.index}:
        other = graph.siblings.get(index)
        if other is None or not any(n.op in VARIABLES for n in other.nodes):
            continue
        if index not in once:
            return None
        names: dict[Tensor, str] = {}
        for node in fold(other).nodes:
            if node.op == "VAR_HANDLE":
                names[node.outputs[0]] = variable_name(node)
                continue
            data = node.input(1).data if node.op == "ASSIGN_VARIABLE" else None
            if data is None:
                return None
            values[names[node.input(0)]] = data
    return values


@dataclass(slots=True)
class _Draft:
    initial: dict[str, Data]
    lasting: bool
    nodes: list[Node] = field(default_factory=list)
    names: dict[Tensor, str] = field(default_factory=dict)
    known: dict[Tensor, Tensor] = field(default_factory=dict)
    # Of each variable that is read: the tensor of its old value, and what holds that.
    old: dict[str, Tensor] = field(default_factory=dict)
    before: dict[str, Tensor] = field(default_factory=dict)
    new: dict[str, Tensor] = field(default_factory=dict)

    def take(self, raw: Node) -> bool:
        """Whether a node could be said without variables."""
        if raw.op == "VAR_HANDLE":
            self.names[raw.outputs[0]] = variable_name(raw)
            return True
        if raw.op == "CALL_ONCE":
            return not self.old and not self.new
        node = substitute(raw, self.known)
        if node.op == "READ_VARIABLE":
            return self._read(node)
        if node.op == "ASSIGN_VARIABLE":
            name = self.names.get(node.input(0))
            if name is not None:
                self.new[name] = node.input(1)
            return name is not None
        if self.lasting and _keeps(node):
            return self._remember(node)
        self.nodes.append(node)
        return node.op not in registry.STATEFUL

    def _remember(self, node: Node) -> bool:
        """Give a recurrent layer its states, and take them back."""
        inputs, outputs = list(node.inputs), list(node.outputs)
        for at in REMEMBERED.get(node.op, ()):
            given = node.optional(at)
            if given is None or not given.is_variable or len(given.shape) != 2:
                return False
            name, extents = f"{node.op} {node.index}/{at}", (_rows(node), given.shape[1])
            old = replace(given, shape=extents, is_variable=False)
            inputs[at] = self.old[name] = old
            self.before[name] = self._entering(old)
            self.new[name] = replace(old)
            outputs.append(self.new[name])
            start = zero_point(old) if is_quantised(old) else 0
            self.initial[name] = np.full(extents, start, old.dtype)
        self.nodes.append(replace(node, inputs=tuple(inputs), outputs=tuple(outputs)))
        return node.op in REMEMBERED

    def _read(self, node: Node) -> bool:
        name, y = self.names.get(node.input(0)), node.outputs[0]
        if name is None:
            return False
        if name not in self.old and name not in self.new:
            self.old[name] = replace(y)
            self.before[name] = self._entering(self.old[name])
        value = self.new.get(name) or self.old[name]
        self.known[y] = value
        return (value.shape == y.shape and value.dtype == y.dtype and -1 not in y.shape
                and y.size > 0)

    def _entering(self, old: Tensor) -> Tensor:
        if not is_quantised(old):
            return old
        held = Tensor(old.name, old.shape, "float32")
        self.nodes.append(Node("STORE_QUANTIZED", (held,), (old,), {"offset": zero_point(old)}))
        return held

    def finished(self, graph: Graph) -> tuple[Graph, tuple[State, ...]] | None:
        """The whole, unless a variable's new value is of another kind than its old one."""
        states = []
        for name, old in self.old.items():
            new = self.new.get(name, old)
            alike = new.shape == old.shape and new.dtype == old.dtype and new.quant == old.quant
            first = self.initial.get(name, np.zeros(old.shape, old.dtype))
            if not alike or new.data is not None or first.shape != old.shape:
                return None
            if name not in self.new:
                states.append(State(name, self.before[name], self.before[name],
                                    _held(first, old)))
                continue
            after = new
            if is_quantised(new):
                after = Tensor(new.name, new.shape, "float32")
                self.nodes.append(Node("LOAD_QUANTIZED", (new,), (after,),
                                       {"offset": -zero_point(new)}))
            states.append(State(name, self.before[name], after, _held(first, old)))
        outputs = tuple(self.known.get(t, t) for t in graph.outputs)
        changed = tuple(s.after for s in states if s.after is not s.before)
        whole = replace(graph, nodes=tuple(self.nodes), outputs=(*outputs, *changed),
                        inputs=(*graph.inputs, *(s.before for s in states)))
        return drop_dead(whole), tuple(states)


def _held(first: Data, old: Tensor) -> Data:
    return centred_data(replace(old, data=first)) if is_quantised(old) else first
