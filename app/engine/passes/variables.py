"""Which graphs of a model a request can reach, and which variables nothing there gives a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.engine.ir import Graph, Node, Tensor
from app.engine.values import variable_name


def reached(graphs: Mapping[int, Graph], start: int = 0) -> set[int]:
    """The numbers of the graphs that one refers to, itself among them; a file may hold more, for
    other signatures."""
    found, waiting = {start}, [start]
    while waiting:
        graph = graphs.get(waiting.pop())
        for node in graph.nodes if graph else ():
            new = set(_referred(node)) - found
            found |= new
            waiting += new
    return found


def _referred(node: Node) -> Iterator[int]:
    for key, value in node.options.items():
        if "subgraph_ind" in key:
            yield from (int(v) for v in (value if isinstance(value, tuple) else (value,)))


def never_assigned(graphs: Mapping[int, Graph]) -> list[str]:
    """The variables that are read though nothing that a request reaches assigns them."""
    read: dict[str, None] = {}
    assigned: set[str] = set()
    handed: dict[str, None] = {}
    read_elsewhere = False
    for index in sorted(reached(graphs)):
        names: dict[Tensor, str] = {}
        for node in graphs[index].nodes if index in graphs else ():
            if node.op == "VAR_HANDLE":
                names[node.outputs[0]] = variable_name(node)
            elif node.op == "ASSIGN_VARIABLE" and node.input(0) not in names:
                # A handle that comes from elsewhere may be any.
                return []
            elif node.op == "ASSIGN_VARIABLE":
                assigned.add(names[node.input(0)])
            elif node.op == "READ_VARIABLE" and node.input(0) in names:
                read[names[node.input(0)]] = None
            elif node.op == "READ_VARIABLE":
                read_elsewhere = True
            else:
                # Loops and branches are given the handles of what they read.
                handed.update(dict.fromkeys(names[t] for t in node.reads if t in names))
    found = {**read, **handed} if read_elsewhere else read
    return [name.removeprefix("/") for name in found if name not in assigned]
