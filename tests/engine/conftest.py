"""One engine runtime for all engine tests of a process, in the shape of a CPU and of an RX 580."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.engine.opencl.device import choose
from app.engine.profile import RX_580
from app.engine.runtime import Runtime
from tests.engine.safety.apart import keep_apart
from tests.tools import require_tool

PROFILES = ("own", "rx580")


@pytest.fixture(scope="session", autouse=True)
def memory() -> Iterator[None]:
    """With ENGINE_TEST_APART every tensor has a buffer of its own, for checkers of accesses;
    with ENGINE_TEST_APART=poison these are full of NaN."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("ENGINE_TEST_APART"):
            keep_apart(patch, os.environ["ENGINE_TEST_APART"] == "poison")
        yield


@pytest.fixture(scope="session", params=PROFILES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """The engine on PoCL, or on what ENGINE_TEST_DEVICE names (oclgrind, llvmpipe, a card).

    Each test runs with the kernels meant for that device, and with those meant for an RX 580;
    ENGINE_TEST_PROFILE keeps one of the two ("own", "rx580"). Tests may ask for "floats": the
    device's own kernels, without a processor's dot products of integers.
    """
    only = os.environ.get("ENGINE_TEST_PROFILE", request.param)
    if only != request.param and (request.param, only) != ("floats", "own"):
        pytest.skip(f"ENGINE_TEST_PROFILE={only}")
    pattern = os.environ.get("ENGINE_TEST_DEVICE", "Portable Computing Language")
    if pattern.startswith("Portable"):
        require_tool("pocl")
    device = choose(pattern)
    assert device is not None
    if request.param == "rx580":
        align = max(RX_580.align, device.profile.align)
        device = replace(device, profile=replace(RX_580, align=align))
    else:
        # oclgrind runs what stands in the kernel for the instructions of a processor.
        dots = device.profile.dots or pattern == "Oclgrind"
        device = replace(device, profile=replace(device.profile,
                                                 dots=dots and request.param == "own"))
    # No program cache of ours: PoCL keeps its own, and its binaries cost a second compilation.
    return Runtime(device)
