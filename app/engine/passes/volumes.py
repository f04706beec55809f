"""3D convolutions and pooling as 2D ones: the frames under a window of weights become channels of
one picture; what is pooled are pictures at first, then columns of frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from app.engine.blame import blamed
from app.engine.ir import Data, Graph, Node, Tensor, integers
from app.engine.ops import pool3d
from app.engine.ops.frames import depth_axis
from app.engine.ops.window import Axis

Constants = dict[tuple[Tensor, str], Tensor]
NAMES = ("CONV_3D", "CONV_3D_TRANSPOSE")


def flatten(graph: Graph, constants: Constants) -> Graph:
    """Rewrite every 3D convolution and pooling of floats.

    constants keeps the rewritten weights, so that all plans of a model share them.
    Source: TFLite reference_ops::Conv3D, Conv3DTranspose.
    """
    if not any(node.op in RULES for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    for node in graph.nodes:
        with blamed(node):
            nodes += RULES[node.op](node, constants) if _fits(node) else [node]
    return replace(graph, nodes=tuple(nodes))


def _fits(node: Node) -> bool:
    if node.op not in RULES:
        return False
    return (node.input(1 if node.op in NAMES else 0).dtype == "float32"
            and all(t is None or t.dtype in ("float32", "int32") for t in node.inputs)
            and node.outputs[0].dtype == "float32" and node.outputs[0].size > 0)


def _forward(node: Node, constants: Constants) -> list[Node]:
    x, y = node.input(0), node.outputs[0]
    w, turned = _weights(node, constants, (4, 1, 2, 0, 3), (3, 2))
    depth = depth_axis(node, x.shape[1])
    frames = Tensor(f"{x.name}/frames", (x.shape[0] * depth.out, *x.shape[2:4],
                                         depth.kernel * x.shape[4]), "float32")
    flat = Tensor(f"{y.name}/flat", (y.shape[0] * y.shape[1], *y.shape[2:]), "float32")
    return [*turned,
            Node("FRAMES", (x, node.input(1)), (frames,), node.options, index=node.index),
            Node("CONV_2D", (frames, w, node.optional(2)), (flat,), node.options,
                 index=node.index),
            _named(flat, y, node)]


def _backward(node: Node, constants: Constants) -> list[Node]:
    # Each frame gives what it adds to every frame under its window; then these are added up.
    x, y = node.input(2), node.outputs[0]
    w, turned = _weights(node, constants, (0, 3, 1, 2, 4), (0, 2))
    images = x.shape[0] * x.shape[1]
    given = Tensor(f"{x.name}/flat", (images, *x.shape[2:]), "float32")
    parts = Tensor(f"{y.name}/parts", (images, *y.shape[2:4], w.shape[0]), "float32")
    options = {**node.options, "fused_activation_function": "NONE"}
    own = node.options.get("fused_activation_function", "NONE")
    sums = Tensor(f"{y.name}/sums", y.shape, "float32")
    nodes = [*turned, _named(x, given, node),
             Node("TRANSPOSE_CONV", (integers(*parts.shape), w, given), (parts,),
                  options, index=node.index)]
    bias = node.optional(3)
    last = y if bias is None and own == "NONE" else sums
    nodes.append(Node("ADD_FRAMES", (parts, node.input(1), x), (last,), node.options,
                      index=node.index))
    if bias is not None:
        nodes.append(Node("ADD", (sums, bias), (y,), {"fused_activation_function": own},
                          index=node.index))
    elif own != "NONE":
        nodes.append(Node(str(own), (sums,), (y,), index=node.index))
    return nodes


def _pool(node: Node, constants: Constants) -> list[Node]:
    # First pictures, then columns of frames; a mean of means is the mean, as windows have sides.
    x, y = node.input(0), node.outputs[0]
    depth, rows, columns = pool3d.windows(node)
    images = Tensor(f"{x.name}/images", (x.shape[0] * depth.extent, *x.shape[2:]), "float32")
    small = Tensor(f"{x.name}/small", (*images.shape[:1], rows.out, columns.out, x.shape[4]),
                   "float32")
    frames = Tensor(f"{x.name}/frames", (x.shape[0], depth.extent, rows.out * columns.out,
                                         x.shape[4]), "float32")
    few = Tensor(f"{y.name}/few", (x.shape[0], depth.out, *frames.shape[2:]), "float32")
    along = Axis(frames.shape[2], 1, 1, 1, 0, 0, frames.shape[2])
    return [_named(x, images, node), _window(node, images, small, rows, columns),
            _named(small, frames, node), _window(node, frames, few, depth, along),
            _named(few, y, node)]


def _window(node: Node, x: Tensor, y: Tensor, rows: Axis, columns: Axis) -> Node:
    options = {"filter_height": rows.kernel, "filter_width": columns.kernel,
               "stride_h": rows.stride, "stride_w": columns.stride,
               "padding": node.options["padding"], "fused_activation_function": "NONE"}
    return Node(node.op.replace("3D", "2D"), (x,), (y,), options, index=node.index)


RULES: dict[str, Callable[[Node, Constants], list[Node]]] = {
    "CONV_3D": _forward, "CONV_3D_TRANSPOSE": _backward, **dict.fromkeys(pool3d.KINDS, _pool)}


def _named(x: Tensor, y: Tensor, node: Node) -> Node:
    return Node("RESHAPE", (x, integers(*y.shape)), (y,),
                {"new_shape": y.shape}, index=node.index)


def _weights(node: Node, constants: Constants, order: tuple[int, ...],
             joined: tuple[int, int]) -> tuple[Tensor, list[Node]]:
    """The weights with their axes in another order, so many of which from one on are then one;
    and what makes them so, where the model computes them."""
    w, (at, count) = node.input(1), joined
    turned = tuple(w.shape[a] for a in order)
    shape = (*turned[:at], int(np.prod(turned[at:at + count])), *turned[at + count:])
    if w.data is None:
        inner, made = (Tensor(f"{w.name}/turned", e, "float32") for e in (turned, shape))
        return made, [Node("TRANSPOSE", (w, integers(*order)), (inner,), index=node.index),
                      _named(inner, made, node)]
    key = (w, f"frames {order}")
    if key not in constants:
        data: Data = np.ascontiguousarray(w.data.transpose(order).reshape(shape))
        constants[key] = Tensor(w.name, shape, "float32", data)
    return constants[key], []
