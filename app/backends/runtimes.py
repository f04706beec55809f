"""The two CPU runtimes for .tflite files: same interface, different speed and coverage."""

from __future__ import annotations

import importlib
import importlib.metadata
from functools import cache
from typing import Any

# Distribution name → the module that has Interpreter. The successor first: it wins ties.
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


@cache
def installed() -> dict[str, str]:
    """Map each runtime that is installed to its version."""
    found = {}
    for name in RUNTIMES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def interpreter(runtime: str, data: bytes, threads: int) -> Any:
    """Make an interpreter over these bytes; tensors are not allocated yet.

    Raises: ValueError or RuntimeError of the runtime if it refuses the model.
    """
    module = importlib.import_module(RUNTIMES[runtime])
    return module.Interpreter(model_content=data, num_threads=threads)
