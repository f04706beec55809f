"""Cut a graph where a shape depends on data: what can be planned now, and the rest for later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from app.engine import registry
from app.engine.ir import Data, Graph, Node, Tensor
from app.engine.passes.facts import EFFECTS, folded, outputs_of
from app.errors import InvalidInput

Shape = tuple[int, ...]
# Inputs whose values decide the shape of the result.
VALUES = {
    "RESHAPE": (1,), "PAD": (1,), "PADV2": (1,), "MIRROR_PAD": (1,), "TILE": (1,), "FILL": (0,),
    "RANGE": (0, 1, 2), "BROADCAST_TO": (1,), "RESIZE_BILINEAR": (1,), "SLICE": (2,),
    "RESIZE_NEAREST_NEIGHBOR": (1,), "TRANSPOSE": (1,), "TRANSPOSE_CONV": (0,), "MEAN": (1,),
    "SUM": (1,), "REDUCE_MAX": (1,), "REDUCE_MIN": (1,), "REDUCE_PROD": (1,), "REDUCE_ANY": (1,),
    "REDUCE_ALL": (1,), "EXPAND_DIMS": (1,), "SPLIT": (0,), "SPLIT_V": (1, 2), "ONE_HOT": (1,),
    "TOPK_V2": (1,), "ARG_MAX": (1,), "ARG_MIN": (1,), "BATCH_TO_SPACE_ND": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2), "SCATTER_ND": (2,), "SPARSE_TO_DENSE": (1,),
    "STRIDED_SLICE": (1, 2, 3), "CONV_3D_TRANSPOSE": (0,), "RANDOM_UNIFORM": (0,),
    "COMBINED_NON_MAX_SUPPRESSION": (2, 3), "CROP_AND_RESIZE": (3,), "DENSE_BINCOUNT": (1,),
    "RESIZE_BICUBIC": (1,), "KEYED_UNIFORM": (0,), "KEYED_NORMAL": (0,), "KEYED_INTEGERS": (0,),
    "PROJECTED": (2,), "RANDOM_STANDARD_NORMAL": (0,), "REVERSE_V2": (1,), "CUMSUM": (1,),
    "DYNAMIC_UPDATE_SLICE": (), "NON_MAX_SUPPRESSION_V4": (2,), "NON_MAX_SUPPRESSION_V5": (2,),
    **dict.fromkeys((f"UNSORTED_SEGMENT_{kind}" for kind in ("SUM", "PROD", "MAX", "MIN")), (2,)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The part of a graph whose shapes are known, and the rest, whose shapes its results decide.

    graph computes, in order, the tensors `produced` of the unspecialised graph. rest is None at
    the end; else its inputs are among produced and this stage's inputs, and the contents of
    those in `values` decide shapes in it.
    """

    graph: Graph
    produced: tuple[Tensor, ...]
    rest: Graph | None = None
    values: frozenset[Tensor] = frozenset()


@dataclass(slots=True)
class _Draft:
    known: dict[Tensor, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    # Unspecialised nodes that wait, the tensors nobody knows the shape of, wanted contents.
    waiting: list[Node] = field(default_factory=list)
    unknown: set[Tensor] = field(default_factory=set)
    values: set[Tensor] = field(default_factory=set)
    state_waits: bool = False


def first_stage(graph: Graph, shapes: Sequence[Shape], contents: Mapping[Tensor, Data]) -> Stage:
    """Specialise the nodes whose shapes are known from input shapes and some inputs' contents.

    Raises: InvalidInput if the shapes do not fit; UnsupportedOp if a node is nowhere known.
    """
    draft = _Draft()
    for tensor, wanted in zip(graph.inputs, shapes, strict=True):
        known = tensor if tensor.shape == wanted else replace(tensor, shape=wanted)
        if tensor in contents:
            known = replace(known, data=contents[tensor])
        draft.known[tensor] = known
    for raw in graph.nodes:
        _add(draft, graph, raw)
    stage = _stage(draft, graph)
    if any(map(_stretched, stage.graph.nodes)):
        _check_batch(graph, stage.graph)
    return stage


def _stretched(node: Node) -> bool:
    """Whether a reshape gives another number of rows than the file has: see ops.reshape."""
    wanted = node.optional(1) if node.op == "RESHAPE" else None
    if wanted is None or wanted.data is None or -1 in wanted.data:
        return False
    return int(np.prod(wanted.data, dtype=np.int64)) != node.outputs[0].size


def _check_batch(raw: Graph, made: Graph) -> None:
    # What was taken for a batch in the middle is one only if it comes out as it went in.
    grown = {(t.shape[0], o.shape[0]) for t, o in zip(raw.inputs, made.inputs, strict=True)
             if t.shape and t.shape[0] > 0 and t.shape[0] != o.shape[0]}
    for before, after in grown:
        for t, o in zip(raw.outputs, made.outputs, strict=False):
            if t.shape and t.shape[0] > 0 and o.shape[:1] != (t.shape[0] * after // before,):
                raise InvalidInput(f"this model is made for {before} at a time and cannot take "
                                   f"{after}")


def _add(draft: _Draft, graph: Graph, raw: Node) -> None:
    node = substitute(raw, draft.known)
    state = raw.op in registry.STATEFUL
    if (state and draft.state_waits) or any(t in draft.unknown for t in raw.reads):
        _wait(draft, raw)
        return
    if _wants_values(node):
        wanted = {raw.inputs[i] for i in VALUES[raw.op] if i < len(raw.inputs)}
        draft.values |= {t for t in wanted if t is not None and t.data is None}
        _wait(draft, raw)
        return
    outputs = outputs_of(graph, raw, node)
    if outputs is None:
        # What depends on data is known all the same where the data are constants of these shapes.
        constants = folded(graph, node)
        if constants is not None:
            draft.known.update(zip(raw.outputs, constants, strict=True))
            return
        draft.nodes.append(node)
        draft.unknown.update(raw.outputs)
        draft.known.update(zip(raw.outputs, node.outputs, strict=True))
        return
    if any(old is not new for old, new in zip(node.outputs, outputs, strict=True)):
        node = replace(node, outputs=outputs)
    draft.known.update(zip(raw.outputs, node.outputs, strict=True))
    constants = folded(graph, node)
    if constants is None:
        draft.nodes.append(node)
    else:
        draft.known.update(zip(raw.outputs, constants, strict=True))


def _wait(draft: _Draft, raw: Node) -> None:
    draft.waiting.append(raw)
    draft.unknown.update(raw.outputs)
    draft.state_waits |= raw.op in registry.STATEFUL


def _stage(draft: _Draft, graph: Graph) -> Stage:
    inputs = tuple(draft.known[t] for t in graph.inputs)
    known = draft.known
    if not draft.unknown:
        outputs = tuple(known.get(t, t) for t in graph.outputs)
        whole = replace(graph, nodes=tuple(draft.nodes), inputs=inputs, outputs=outputs)
        return Stage(drop_dead(whole), graph.outputs)
    later = {t for n in draft.waiting for t in n.outputs}
    reads = dict.fromkeys(t for n in draft.waiting for t in n.reads)
    carried = [t for t in (*reads, *graph.outputs)
               if t not in later and t.data is None and not t.is_variable]
    # What became a constant of these shapes is one for the rest too.
    fixed = {t: known[t] for t in carried if t in known and known[t].data is not None}
    feeds = tuple(dict.fromkeys(t for t in carried if t not in fixed))
    produced = tuple(t for t in feeds if t not in graph.inputs)
    ready = replace(graph, nodes=tuple(draft.nodes), inputs=inputs,
                    outputs=tuple(known[t] for t in produced))
    rest = replace(graph, nodes=tuple(substitute(n, fixed) for n in draft.waiting), inputs=feeds,
                   outputs=tuple(fixed.get(t, t) for t in graph.outputs))
    return Stage(drop_dead(ready), produced, rest, frozenset(draft.values))


def _wants_values(node: Node) -> bool:
    rows = VALUES.get(node.op, ())
    inputs = [node.optional(i) for i in rows]
    if all(t is None or t.data is not None for t in inputs):
        return False
    if node.op == "STRIDED_SLICE":
        # One element per dimension: the shape does not depend on which.
        begin = node.input(1)
        return int(node.options.get("shrink_axis_mask", 0)) != (1 << begin.size) - 1
    return True


def substitute(node: Node, known: Mapping[Tensor, Tensor]) -> Node:
    """The node with its inputs and operands replaced."""
    # Most nodes stay as they are, and making one anew costs more than looking.
    if not any(t in known for t in node.reads):
        return node
    inputs = tuple(None if t is None else known.get(t, t) for t in node.inputs)
    epilogue = tuple(
        s if s.operand is None else replace(s, operand=known.get(s.operand, s.operand))
        for s in node.epilogue)
    return replace(node, inputs=inputs, epilogue=epilogue)


def drop_dead(graph: Graph) -> Graph:
    """Leave out nodes whose results reach no output; ops without outputs stay."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if not node.outputs or node.op in EFFECTS or any(t in needed for t in node.outputs):
            kept.append(node)
            needed.update(node.reads)
    return replace(graph, nodes=tuple(reversed(kept)))
