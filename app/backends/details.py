"""Turns an interpreter's or the engine's tensors into specs with names that are unique."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.engine.ir import Tensor
from app.tensors import Quantization, TensorSpec


def specs(details: list[dict[str, Any]], prefix: str) -> tuple[TensorSpec, ...]:
    """Describe inputs or outputs; a name that is empty or taken gets its position."""
    names = _unique([detail["name"] for detail in details], prefix)
    return tuple(
        TensorSpec(name, _shape(detail), dtype(detail), _quantization(detail))
        for name, detail in zip(names, details, strict=True)
    )


def _unique(given: Sequence[str], prefix: str) -> list[str]:
    found: list[str] = []
    for position, name in enumerate(given):
        name = name or f"{prefix}_{position}"
        found.append(f"{name}#{position}" if name in found else name)
    return found


def dtype(detail: dict[str, Any]) -> str:
    """Name a tensor's type as numpy does; TFLite's strings are bytes."""
    kind = np.dtype(detail["dtype"])
    return "bytes" if kind.kind in "SUO" else kind.name


def _shape(detail: dict[str, Any]) -> tuple[int, ...]:
    signature = detail.get("shape_signature")
    shape = detail["shape"] if signature is None or len(signature) == 0 else signature
    return tuple(int(size) for size in shape)


def _quantization(detail: dict[str, Any]) -> Quantization | None:
    parameters = detail["quantization_parameters"]
    scales = parameters["scales"]
    if len(scales) == 0:
        return None
    return Quantization(
        tuple(float(scale) for scale in scales),
        tuple(int(zero) for zero in parameters["zero_points"]),
        int(parameters["quantized_dimension"]),
    )


def describe(tensors: Sequence[Tensor], prefix: str) -> tuple[TensorSpec, ...]:
    """Specs with the names that the CPU backend gives: unique, never empty."""
    names = _unique([tensor.name for tensor in tensors], prefix)
    return tuple(
        TensorSpec(name, tensor.shape, tensor.dtype, tensor.quant)
        for name, tensor in zip(names, tensors, strict=True)
    )
