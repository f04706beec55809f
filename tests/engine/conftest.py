"""One engine runtime for all engine tests of a process."""

from __future__ import annotations

import os

import pytest

from app.engine.opencl.device import choose
from app.engine.runtime import Runtime
from tests.tools import require_tool


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """The engine on PoCL, or on what ENGINE_TEST_DEVICE names (oclgrind, llvmpipe, a card)."""
    pattern = os.environ.get("ENGINE_TEST_DEVICE", "Portable Computing Language")
    if pattern.startswith("Portable"):
        require_tool("pocl")
    device = choose(pattern)
    assert device is not None
    # No program cache of ours: PoCL keeps its own, and its binaries cost a second compilation.
    return Runtime(device)
