"""Control flow, variables and tables: what the engine does itself, between kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Node
from app.engine.registry import RunContext, stateful
from app.engine.values import Handle, Value, variable_name
from app.errors import InvalidInput

MAX_TURNS = 1 << 20


@stateful("IF")
def branch(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """Run one of two subgraphs."""
    taken = bool(run.array(values[0]).reshape(-1)[0])
    name = "then_subgraph_index" if taken else "else_subgraph_index"
    return run.call_graph(int(node.options[name]), values[1:])


@stateful("WHILE")
def loop(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """Run the body as long as the condition holds; what the body makes stays on the device.

    Raises: InvalidInput if it does not end within 2^20 turns.
    """
    condition = int(node.options["cond_subgraph_index"])
    body = int(node.options["body_subgraph_index"])
    state = [v for v in values if v is not None]
    for _ in range(MAX_TURNS):
        if not run.array(run.call_graph(condition, state)[0]).reshape(-1)[0]:
            return state
        state = list(run.call_graph(body, state))
    raise InvalidInput(f"WHILE (operator {node.index}) does not end within {MAX_TURNS} turns")


@stateful("CALL_ONCE")
def once(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """Run a subgraph in the first step of a request only."""
    index = int(node.options["init_subgraph_index"])
    if index not in run.done_once:
        run.done_once.add(index)
        run.call_graph(index, ())
    return []


@stateful("VAR_HANDLE")
def handle(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """Name a variable."""
    return [Handle(variable_name(node), node.outputs[0].shape)]


@stateful("ASSIGN_VARIABLE")
def assign(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """Keep a value until the request is over."""
    value = values[1]
    assert value is not None
    run.store(named(values[0]), value)
    return []


@stateful("READ_VARIABLE")
def recall(node: Node, values: Sequence[Value | None], run: RunContext) -> Sequence[Value]:
    """The variable's value; zeros before the first assignment."""
    y = node.outputs[0]
    value = run.variables.get(named(values[0]))
    return [np.zeros([max(e, 0) for e in y.shape], y.dtype) if value is None else value]


def named(value: Value | None) -> str:
    """The name behind a handle."""
    if not isinstance(value, Handle):
        raise InvalidInput("the model uses numbers where it needs a resource")
    return value.name
