"""Writes docs/ops.md: `python -m tests.engine.examples.table`.

Where an operation runs is found out by planning its example for an RX 580, type by type.
"""

from __future__ import annotations

from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

import app.engine.ops  # noqa: F401  (fills the tables)
from app.engine import registry
from app.engine.passes import flex, lists, stablehlo
from app.engine.passes.specialise import specialise
from app.engine.planner import plan
from app.engine.profile import RX_580
from app.engine.reader import read
from app.engine.runtime import graphs_of
from app.engine.trials import default_shapes
from app.errors import InvalidInput, InvalidModel
from tests.engine.examples import plain, rest
from tests.engine.examples.case import Case

PATH = Path(__file__).parents[3] / "docs/ops.md"
CASES = {**plain.CASES, **rest.CASES}
TYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
STATE = "the engine itself; its values stay on the card"
# Operations that are nothing without a second graph, a variable or a table; where they run.
ELSEWHERE = {
    **dict.fromkeys(("IF", "WHILE", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE",
                     "ASSIGN_VARIABLE"), STATE),
    **dict.fromkeys(("HASHTABLE", "HASHTABLE_IMPORT", "HASHTABLE_FIND", "HASHTABLE_SIZE"),
                    "the engine itself, in Python"),
    "STABLEHLO_COMPOSITE": "the operations of its graph run in its place",
    "STABLEHLO_CASE": "CPU, with the graphs it refers to",
    "STABLEHLO_IOTA": "at load",
    "SKIP_GRAM": "CPU",
    "DENSIFY": "at load",
    "CUSTOM": "by its custom name: see below",
}
RENAMED = {name: "as the operation of TFLite's that means the same" for name in stablehlo.RULES
           if name not in CASES}
# What these do to two numbers is told by a second graph.
BY_GRAPH = dict.fromkeys(("STABLEHLO_REDUCE_WINDOW", "STABLEHLO_SCATTER"),
                         "where its graph is one plain operation")
NOTES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "int8 without peepholes, projection and layer norms",
    "GELU": "exact and approximate",
    "DENSIFY": "at load",
}
BUILTINS = tuple(k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int))
REFUSED = {op for op in BUILTINS if op not in {**CASES, **ELSEWHERE, **BY_GRAPH, **RENAMED}}
HEAD = """# Operations

Written by `python -m tests.engine.examples.table`, which plans a small model of each operation
for an RX 580; `tests/engine/test_every_op.py` checks that it is current and that each example
answers as TFLite does.

* **Card**: the types of the data for which there is a kernel (int8, uint8 and int16 are quantised
  values; the rest of the types run on the CPU). "at load" and "free" cost nothing at run time.
* **CPU**: TFLite's own kernel runs it, in a sub-model with its neighbours, between two transfers;
  or numpy does, where TFLite has no such operation. `python -m app.engine inspect MODEL` tells
  each operator's place in a model, and why.
* What is in neither column is refused when the model is loaded, with its name.

| Operation | Card | CPU |
|---|---|---|
"""


def places(op: str, case: Case, dtype: str) -> set[str]:
    """Where the nodes of an example run: see placement.Place; empty if it is folded away."""
    graph = graphs_of(read(case.blob(op, dtype)))[0]
    planned = plan(specialise(graph, default_shapes(graph)), RX_580)
    return {p.where for p in planned.places}


def card(op: str, case: Case) -> list[str]:
    """The types for which an operation needs no CPU."""
    found = []
    for dtype in TYPES if case.typed else (case.dtype,):
        try:
            used = places(op, case, dtype)
        except (InvalidModel, InvalidInput, ValueError):
            continue
        if not used:
            return ["at load"]
        if not used & {"host", "state"}:
            found.append(dtype if case.typed else "yes")
    return found


def row(op: str) -> str:
    """One line of the table."""
    if op in ELSEWHERE:
        return f"| {op} | | {ELSEWHERE[op]} |"
    if op in RENAMED:
        return f"| {op} | {RENAMED[op]} | |"
    if op in BY_GRAPH:
        return f"| {op} | {BY_GRAPH[op]} | with the graphs it refers to |"
    text = "; ".join(filter(None, (", ".join(card(op, CASES[op])), NOTES.get(op))))
    return f"| {op} | {text} | yes |"


def written() -> str:
    """The whole document."""
    custom = sorted({n.removeprefix("CUSTOM:")
                     for n in (*registry.OPS, *registry.HOSTS, *lists.NAMES, *flex.NAMES)
                     if n.startswith("CUSTOM:")})
    rows = [row(op) for op in sorted({*CASES, *ELSEWHERE, *BY_GRAPH, *RENAMED})]
    return (HEAD + "\n".join(rows) + "\n\nCustom operations: " + ", ".join(custom)
            + ", and those that ai-edge-litert brings (TFLite_Detection_PostProcess).\n\n"
            + "Refused, because no runtime here has them: " + ", ".join(sorted(REFUSED)) + ".\n")


if __name__ == "__main__":
    PATH.write_text(written(), "utf-8")
