"""StableHLO's convolution as TFLite's: padding, then CONV_2D or CONV_3D, between transpositions.

Converters leave it in a file where TFLite's own lack a form, as a transposed convolution of
volumes, which it says by zeros between neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.engine.ir import Node, Tensor, integers

NAME = "STABLEHLO_CONVOLUTION"
# Spatial dimensions, and what TFLite calls a convolution of so many.
KINDS = {2: "CONV_2D", 3: "CONV_3D"}
LETTERS = "dhw"


def plain(node: Node) -> list[Node] | None:
    """The nodes that a convolution is; None of forms that TFLite lacks.

    Source: the StableHLO specification, convolution.
    """
    options, (x, w, y) = node.options, (node.input(0), node.input(1), node.outputs[0])
    count = len(options["input_spatial_dimensions"])
    pads = np.reshape(options["padding"] or (0,) * 2 * count, (count, 2))
    groups = int(options["feature_group_count"])
    known = (count in KINDS and int(options["batch_group_count"]) == 1
             and not any(options["window_reversal"]) and bool((pads >= 0).all())
             and (groups == 1 or count == 2)
             and {t.dtype for t in (x, w, y)} == {"float32"} and -1 not in w.shape)
    if not known:
        return None
    ones = (1,) * count
    apart = options["lhs_dilation"] or ones
    nodes: list[Node] = []
    inner = _turned(x, _order(options, "input", "batch", "feature"), nodes)
    weights = _turned(w, _weights(options, count), nodes)
    if pads.any() or tuple(apart) != ones:
        inner = _padded(inner, pads, apart, nodes)
    back = _order(options, "output", "batch", "feature")
    shape = tuple(y.shape[a] for a in back)
    made = y if back == tuple(range(len(back))) else Tensor(f"{y.name}/turned", shape, y.dtype)
    nodes.append(Node(KINDS[count], (inner, weights, None), (made,), {
        "padding": "VALID", "fused_activation_function": "NONE",
        **_by_letter("stride_{}", options["window_strides"] or ones),
        **_by_letter("dilation_{}factor", options["rhs_dilation"] or ones)}))
    if made is not y:
        nodes.append(Node("TRANSPOSE", (made, integers(*map(int, np.argsort(back)))), (y,)))
    return nodes


def _order(options: Any, side: str, first: str, last: str) -> tuple[int, ...]:
    """The axes in TFLite's order: the images, the places, the channels."""
    return (int(options[f"{side}_{first}_dimension"]), *options[f"{side}_spatial_dimensions"],
            int(options[f"{side}_{last}_dimension"]))


def _weights(options: Any, count: int) -> tuple[int, ...]:
    given, made = (int(options[f"kernel_{k}_feature_dimension"]) for k in ("input", "output"))
    places = tuple(options["kernel_spatial_dimensions"])
    return (made, *places, given) if count == 2 else (*places, given, made)


def _by_letter(name: str, numbers: Sequence[int]) -> dict[str, int]:
    letters = LETTERS[-len(numbers):]
    return {name.format(letter): int(n) for letter, n in zip(letters, numbers, strict=True)}


def _turned(x: Tensor, order: tuple[int, ...], nodes: list[Node]) -> Tensor:
    if order == tuple(range(len(order))):
        return x
    data = None if x.data is None else np.ascontiguousarray(x.data.transpose(order))
    made = Tensor(f"{x.name}/turned", tuple(x.shape[a] for a in order), x.dtype, data)
    if data is None:
        nodes.append(Node("TRANSPOSE", (x, integers(*order)), (made,)))
    return made


def _padded(x: Tensor, pads: Any, apart: Sequence[int], nodes: list[Node]) -> Tensor:
    low, high = ((0, *map(int, pads[:, side]), 0) for side in (0, 1))
    between = (0, *(int(a) - 1 for a in apart), 0)
    shape = tuple(-1 if e < 0 else max(e - 1, 0) * (b + 1) + min(e, 1) + p + q
                  for e, b, p, q in zip(x.shape, between, low, high, strict=True))
    made = Tensor(f"{x.name}/padded", shape, x.dtype)
    zero = Tensor("", (), x.dtype, np.zeros((), x.dtype))
    nodes.append(Node("STABLEHLO_PAD", (x, zero), (made,), {
        "edge_padding_low": low, "edge_padding_high": high, "interior_padding": between}))
    return made
