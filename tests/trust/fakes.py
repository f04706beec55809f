"""Devices that work, lie and hang."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from app.errors import DeviceError
from app.tensors import Array, TensorSpec


class FakeDevice:
    """y = x @ weights, with weights in a buffer whose bits can be flipped."""

    inputs = (TensorSpec("x", (1, 8), "float32"),)
    outputs = (TensorSpec("y", (1, 4), "float32"),)
    reason = "a test"
    memory_bytes = 128
    concurrency = 1
    stateful = False
    joins = False

    def __init__(self, backend: str = "opencl") -> None:
        self.backend = backend
        self.device = f"fake {backend}"
        self.weights = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)
        self.hang = threading.Event()
        self.lost = False
        self.noise = 0.0
        self.runs = 0
        self.closed = 0

    def flip(self, bit: int, at: int = 5) -> None:
        """Flip one bit of one weight, as failing memory does."""
        self.weights.reshape(-1).view(np.uint32)[at] ^= np.uint32(1 << bit)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.runs += 1
        if self.hang.is_set():
            threading.Event().wait(30)
        if self.lost:
            raise DeviceError("CL_OUT_OF_RESOURCES")
        x: Any = inputs["x"]
        with np.errstate(all="ignore"):
            return {"y": (x @ self.weights + self.noise * self.runs).astype(np.float32)}

    def close(self) -> None:
        self.closed += 1
