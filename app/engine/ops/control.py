"""Branches, loops and variables: host code that lives as long as one request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import RunContext, stateful

MAX_TURNS = 1 << 20


@stateful("IF")
def branch(node: Node, arrays: Sequence[Data | None], run: RunContext) -> Sequence[Data]:
    """Run one of two subgraphs on the inputs after the condition."""
    condition, *rest = arrays
    assert condition is not None
    chosen = "then_subgraph_index" if condition.reshape(-1)[0] else "else_subgraph_index"
    return run.call_graph(int(node.options[chosen]), [a for a in rest if a is not None])


@stateful("WHILE")
def loop(node: Node, arrays: Sequence[Data | None], run: RunContext) -> Sequence[Data]:
    """Run the body on its own results as long as the condition's subgraph says so.

    Raises: ValueError if it does not end within 2^20 turns.
    """
    state: Sequence[Data] = [a for a in arrays if a is not None]
    condition = int(node.options["cond_subgraph_index"])
    body = int(node.options["body_subgraph_index"])
    for _ in range(MAX_TURNS):
        (more,) = run.call_graph(condition, state)
        if not more.reshape(-1)[0]:
            return state
        state = run.call_graph(body, state)
    raise ValueError(f"WHILE (operator {node.index}) does not end within {MAX_TURNS} turns")


@stateful("CALL_ONCE")
def call_once(node: Node, arrays: Sequence[Data | None], run: RunContext) -> Sequence[Data]:
    """Run a subgraph the first time in a request: it sets variables to their initial values."""
    index = int(node.options["init_subgraph_index"])
    done = f"CALL_ONCE/{index}"
    if done not in run.variables:
        run.variables[done] = np.ones(1, bool)
        run.call_graph(index, [])
    return []


@stateful("VAR_HANDLE")
def handle(node: Node, arrays: Sequence[Data | None], run: RunContext) -> Sequence[Data]:
    """A variable's name."""
    return [np.asarray(f"{node.options.get('container', '')}/{node.options['shared_name']}")]


@stateful("READ_VARIABLE")
def read_variable(node: Node, arrays: Sequence[Data | None], run: RunContext) -> Sequence[Data]:
    """A variable's value; zeros before the first assignment."""
    value = run.variables.get(str(arrays[0]))
    y = node.outputs[0]
    return [np.zeros(y.shape, y.dtype) if value is None else value]


@stateful("ASSIGN_VARIABLE")
def assign_variable(node: Node, arrays: Sequence[Data | None], run: RunContext) -> Sequence[Data]:
    """Keep a value for what follows in the same request."""
    assert arrays[1] is not None
    run.variables[str(arrays[0])] = arrays[1].copy()
    return []
