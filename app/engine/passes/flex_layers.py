"""TensorFlow's layers of float16, which its converter leaves to TensorFlow (Keras's mixed_float16):
TFLite's own operations, for which passes.widen finds kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from app.engine.ir import Node, Tensor, integers
from app.engine.passes.node_def import FLEX, Given, attributes, sides

HALF = "float16"
POOLS = {FLEX + "MaxPool": "MAX_POOL_2D", FLEX + "AvgPool": "AVERAGE_POOL_2D"}


def layer(node: Node) -> list[Node] | None:
    """The operations that a layer is; None in other types of number and forms."""
    given = attributes(node)
    if node.outputs[0].dtype not in (HALF, "float32") or not any(
            t.dtype == HALF for t in node.reads) or given.get("data_format", "NHWC") != "NHWC":
        return None
    return _RULES[node.op](node, given)


def _window(given: Given) -> dict[str, Any] | None:
    strides, rates = sides(given, "strides"), sides(given, "dilations")
    if strides is None or rates is None or given.get("padding") not in ("SAME", "VALID"):
        return None
    return {"stride_h": strides[0], "stride_w": strides[1], "dilation_hfactor": rates[0],
            "dilation_wfactor": rates[1], "padding": given["padding"],
            "fused_activation_function": "NONE"}


def _turned(w: Tensor, order: tuple[int, ...], nodes: list[Node]) -> Tensor:
    """Weights with their axes in another order."""
    made = Tensor(f"{w.name}/turned", tuple(w.shape[a] for a in order), w.dtype,
                  None if w.data is None else np.ascontiguousarray(w.data.transpose(order)))
    if w.data is None:
        nodes.append(Node("TRANSPOSE", (w, integers(*order)), (made,)))
    return made


def _convolved(node: Node, given: Given) -> list[Node] | None:
    window, nodes = _window(given), list[Node]()
    if window is None:
        return None
    w = _turned(node.input(1), (3, 0, 1, 2), nodes)
    return [*nodes, Node("CONV_2D", (node.input(0), w, None), node.outputs, window)]


def _by_channel(node: Node, given: Given) -> list[Node] | None:
    window, w = _window(given), node.input(1)
    if window is None:
        return None
    high, wide, channels, each = w.shape
    shape = (1, high, wide, channels * each)
    flat = Tensor(f"{w.name}/flat", shape, w.dtype, None if w.data is None
                  else w.data.reshape(shape))
    nodes = [Node("RESHAPE", (w, integers(*shape)), (flat,))] if w.data is None else []
    return [*nodes, Node("DEPTHWISE_CONV_2D", (node.input(0), flat, None), node.outputs,
                         {**window, "depth_multiplier": each})]


def _spread(node: Node, given: Given) -> list[Node] | None:
    window, nodes = _window(given), list[Node]()
    if window is None or sides(given, "dilations") != (1, 1):
        return None
    w = _turned(node.input(1), (2, 0, 1, 3), nodes)
    return [*nodes, Node("TRANSPOSE_CONV", (node.input(0), w, node.input(2)), node.outputs, window)]


def _pooled(node: Node, given: Given) -> list[Node] | None:
    window, sizes = _window(given), sides(given, "ksize")
    if window is None or sizes is None:
        return None
    return [Node(POOLS[node.op], node.inputs, node.outputs,
                 {**window, "filter_height": sizes[0], "filter_width": sizes[1]})]


def _offset(node: Node, given: Given) -> list[Node]:
    return [Node("ADD", node.inputs, node.outputs, {"fused_activation_function": "NONE"})]


def _resized(node: Node, given: Given) -> list[Node]:
    options = {name: bool(given.get(name, 0)) for name in ("align_corners", "half_pixel_centers")}
    return [Node("RESIZE_BILINEAR", node.inputs, node.outputs, options)]


def _shares(node: Node, given: Given) -> list[Node]:
    return [Node("SOFTMAX", node.inputs, node.outputs, {"beta": 1.0})]


_RULES: dict[str, Callable[[Node, Given], list[Node] | None]] = {
    FLEX + "Conv2D": _convolved, FLEX + "DepthwiseConv2dNative": _by_channel,
    FLEX + "Conv2DBackpropInput": _spread, FLEX + "BiasAdd": _offset,
    FLEX + "ResizeBilinear": _resized, FLEX + "Softmax": _shares, **dict.fromkeys(POOLS, _pooled)}
LAYERS = tuple(_RULES)
