"""Tell where each operator of a model runs, and why there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.engine.ir import Model
from app.engine.passes.control import DECIDED
from app.engine.passes.states import VARIABLES
from app.engine.planner import Plan

NAMES: Mapping[str, str] = {"device": "card", "host": "CPU", "state": "engine", "free": "free"}
FREE = "it only renames a shape"
KEPT = "the variable stays on the card from step to step"
FOLDED = "its value is known at load, or nothing reads it"
INLINED = "the operations of its subgraph run in its place"


@dataclass(frozen=True, slots=True)
class Row:
    """One operator of the file: place is card, CPU, engine (control flow and variables), free,
    fused or folded."""

    index: int
    op: str
    place: str
    reason: str


def explain(model: Model, plan: Plan) -> list[Row]:
    """A row for every operator of the main graph, in the file's order."""
    found: dict[int, Row] = {}
    # Passes may have given an operation another name.
    names = {n.index: n.op for n in model.graphs[0].nodes}
    for place in plan.places:
        own = [n for n in place.origin if n.graph == 0]
        for node in own:
            where = NAMES[place.where]
            reason = place.reason or (FREE if where == "free" else "")
            if len(own) > 1 and node is not own[0]:
                where, reason = "fused", f"with operator {own[0].index} ({own[0].op})"
            # An operator that was taken apart is free only if all its parts are.
            if node.index not in found or found[node.index].place == NAMES["free"]:
                found[node.index] = Row(node.index, names.get(node.index, node.op), where, reason)
    for node in model.graphs[0].nodes:
        if plan.states and node.op in VARIABLES:
            found[node.index] = Row(node.index, node.op, "free", KEPT)
    return [found.get(n.index, Row(n.index, n.op, "folded",
                                   INLINED if n.op in DECIDED else FOLDED))
            for n in model.graphs[0].nodes]
