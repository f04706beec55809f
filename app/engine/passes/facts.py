"""What is known of one node before it runs: the shapes of its outputs, and constant results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.engine import registry
from app.engine.blame import blamed
from app.engine.cpu.part import IMPURE, evaluate, infer_shapes
from app.engine.ir import Data, Graph, Node, Tensor
from app.engine.subbyte import BITS
from app.errors import InvalidInput, InvalidModel, UnsupportedOp

Shape = tuple[int, ...]
OPAQUE = {"bytes", "resource", "variant", *BITS}
# Nodes that act beyond their outputs.
EFFECTS = {"ASSIGN_VARIABLE", "CALL_ONCE", "IF", "WHILE", "VAR_HANDLE", "HASHTABLE_IMPORT"}
# What a card of 8 GB gives at once; kernels count in 32 bits. Units: bytes.
LARGEST = 2 << 30
# How much they give is known only after they ran.
DATA_SHAPED = {"WHERE", "UNIQUE", "SEGMENT_SUM", "UNSORTED_SEGMENT_SUM", "UNSORTED_SEGMENT_MAX",
               "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD", "HASHTABLE_LOOKUP",
               "SKIP_GRAM", "MULTINOMIAL", "CTC_GREEDY_DECODER", "CTC_BEAM_SEARCH_DECODER",
               "DYNAMIC_PARTITION", "RAGGED_TENSOR_TO_TENSOR", "SEGMENT_MAX", "SEGMENT_MEAN",
               "SEGMENT_MIN", "SEGMENT_PROD", "SPARSE_FILL_EMPTY_ROWS", "SPARSE_SEGMENT_MEAN",
               "SPARSE_SEGMENT_SQRT_N", "SPARSE_SEGMENT_SUM", "SPARSE_TENSOR_DENSE_MATMUL",
               "STRING_SPLIT_V2", "UNIQUE_V2", "UNIQUE_WITH_COUNTS", "RAGGED_BINCOUNT",
               "SPARSE_CROSS", "UNICODE_DECODE", "UNICODE_ENCODE"}
# numpy versions that are exact for quantised tensors too.
EXACT = {"DEQUANTIZE", "DENSIFY", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE", "RANK"}


def outputs_of(graph: Graph, raw: Node, node: Node) -> tuple[Tensor, ...] | None:
    """The outputs with their shapes; None if those depend on data.

    raw is the node as in the file, node the same with specialised inputs.
    Raises: InvalidInput if the shapes do not fit; InvalidModel; UnsupportedOp.
    """
    try:
        with blamed(node, ValueError):
            shapes = _shapes(graph, raw, node)
    except ValueError as error:
        raise InvalidInput(f"{node.op} (operator {node.index}): {error}") from error
    if shapes is None:
        return None
    if len(shapes) != len(node.outputs):
        raise InvalidModel(f"{node.op} (operator {node.index}) has {len(node.outputs)} outputs; "
                           f"there are {len(shapes)} results")
    shapes = [tuple(int(e) for e in s) for s in shapes]
    if any(e < 0 for s in shapes for e in s):
        raise InvalidInput(f"{node.op} (operator {node.index}) would have an output of shape "
                           f"{shapes}; the input is too small for this model")
    made = tuple(t if t.shape == s else replace(t, shape=s)
                 for t, s in zip(node.outputs, shapes, strict=True))
    for tensor in made:
        if tensor.dtype not in OPAQUE and tensor.nbytes > LARGEST:
            raise InvalidInput(
                f"{node.op} (operator {node.index}) would have an output of shape {tensor.shape}, "
                f"{tensor.nbytes} bytes; one tensor has at most {LARGEST}: send a smaller input")
    return made


def _shapes(graph: Graph, raw: Node, node: Node) -> Sequence[Shape] | None:
    rule = registry.SHAPES.get(node.op)
    if rule is not None:
        try:
            return rule(node)
        except UnsupportedOp:
            # It needs a constant where the model computes one.
            return _inferred(graph, raw, node)
    return _inferred(graph, raw, node)


def _inferred(graph: Graph, raw: Node, node: Node) -> Sequence[Shape] | None:
    # Without a rule the CPU's runtime tells, or the file where that runtime has no such op.
    moved = any(a is not None and b is not None and a.shape != b.shape
                for a, b in zip(raw.inputs, node.inputs, strict=True))
    settled = not moved and not any(-1 in t.shape for t in node.outputs)
    if node.op in registry.STATEFUL:
        return [t.shape for t in node.outputs] if settled else None
    if node.op in DATA_SHAPED:
        return None
    try:
        return infer_shapes(graph, node)
    except UnsupportedOp as error:
        if settled:
            return [t.shape for t in node.outputs]
        raise UnsupportedOp(f"{node.op} has no rule for shapes other than the file's, and the "
                            f"CPU says: {error}") from error


def folded(graph: Graph, node: Node) -> tuple[Tensor, ...] | None:
    """The outputs as constants where all inputs are, else None."""
    if not node.outputs or node.op in EFFECTS or node.op in IMPURE or node.op in registry.STATEFUL:
        return None
    if node.op in ("SHAPE", "RANK"):
        if -1 in node.input(0).shape:
            return None
    elif not all(t is None or (t.data is not None and not t.is_variable) for t in node.inputs):
        return None
    with blamed(node):
        results = _value(graph, node)
    if results is None:
        return None
    return tuple(replace(t, shape=r.shape, data=np.asarray(r, order="C"), sparsity=None)
                 for t, r in zip(node.outputs, results, strict=True))


def _value(graph: Graph, node: Node) -> Sequence[Data] | None:
    rule = registry.HOSTS.get(node.op)
    if rule is not None and (node.op in EXACT or plain(node)):
        return rule(node, [None if t is None else t.data for t in node.inputs])
    if any(t.dtype in OPAQUE for t in (*node.reads, *node.outputs)) or not graph.blob:
        return None
    try:
        return evaluate(graph, node)
    except UnsupportedOp:
        return None


def plain(node: Node) -> bool:
    """Whether numbers mean themselves: nothing is quantised."""
    return not any(t.quant is not None and t.dtype in ("int8", "uint8", "int16", "int32")
                   for t in (*node.reads, *node.outputs))
