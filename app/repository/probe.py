"""Tries one model file in a process that may die of it: parse, allocate, run, time.

Runs only in children of the checker (checker.py); what it finds goes back as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from app.backends.tflite import TfliteOptions, TfliteSession
from app.engine import identifier
from app.errors import InvalidInput, InvalidModel, ModelFileChanged, ServingError
from app.repository import golden
from app.tensors import Array, TensorSpec

TIMING_SECONDS = 0.15
TIMING_RUNS = 20
# mallopt(3): bytes that are set where memory was allocated, inverted, or freed.
M_PERTURB = -6
GARBAGE = (0x5A, 0xFF, 0x01)
RANDOM = {
    schema.BuiltinOperator.RANDOM_UNIFORM,
    schema.BuiltinOperator.RANDOM_STANDARD_NORMAL,
    schema.BuiltinOperator.MULTINOMIAL,
}
STATEFUL = {schema.BuiltinOperator.VAR_HANDLE, schema.BuiltinOperator.CALL_ONCE}
LOOPS = {schema.BuiltinOperator.WHILE, schema.BuiltinOperator.STABLEHLO_WHILE}
# How large their outputs are, and so how much there is to do, may depend on a computed value, if
# there are more of those than the data alone.
GROWING = {
    schema.BuiltinOperator.BROADCAST_TO: 1,
    schema.BuiltinOperator.FILL: 0,
    schema.BuiltinOperator.MIRROR_PAD: 1,
    schema.BuiltinOperator.MULTINOMIAL: 1,
    schema.BuiltinOperator.NON_MAX_SUPPRESSION_V4: 2,
    schema.BuiltinOperator.NON_MAX_SUPPRESSION_V5: 2,
    schema.BuiltinOperator.ONE_HOT: 1,
    schema.BuiltinOperator.PAD: 1,
    schema.BuiltinOperator.PADV2: 1,
    schema.BuiltinOperator.RANDOM_STANDARD_NORMAL: 0,
    schema.BuiltinOperator.RANDOM_UNIFORM: 0,
    schema.BuiltinOperator.RANGE: 0,
    schema.BuiltinOperator.RESIZE_BILINEAR: 1,
    schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR: 1,
    schema.BuiltinOperator.SCATTER_ND: 2,
    schema.BuiltinOperator.SPARSE_TO_DENSE: 2,
    schema.BuiltinOperator.SPLIT_V: 1,
    schema.BuiltinOperator.TILE: 1,
    schema.BuiltinOperator.TOPK_V2: 1,
    schema.BuiltinOperator.TRANSPOSE_CONV: 1,
    schema.BuiltinOperator.UNSORTED_SEGMENT_MAX: 2,
    schema.BuiltinOperator.UNSORTED_SEGMENT_MIN: 2,
    schema.BuiltinOperator.UNSORTED_SEGMENT_PROD: 2,
    schema.BuiltinOperator.UNSORTED_SEGMENT_SUM: 2,
}


def limit(seconds: float, memory_mb: int) -> None:
    """Bound this process for good: address space, CPU time, no core file, no written file."""
    cpu = int(seconds) + 1
    bounds = {
        resource.RLIMIT_AS: (memory_mb << 20,) * 2,
        # At the second the kernel sends SIGKILL, which would not say why.
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
    }
    for what, value in bounds.items():
        resource.setrlimit(what, value)


def structure(data: bytes) -> dict[str, Any]:
    """Read what the file says about itself, without any native code.

    Raises: InvalidModel.
    """
    identifier.check(data)
    try:
        return _structure(schema.Model.GetRootAs(data, 0))
    except InvalidModel:
        raise
    except Exception as error:  # the generated reader raises whatever the bytes lead it to
        raise InvalidModel(f"its structure is damaged ({type(error).__name__}: {error})") from error


def _structure(model: Any) -> dict[str, Any]:
    if model.Version() != 3 or model.SubgraphsLength() < 1:
        raise InvalidModel("it has no graph, or not version 3 of the TFLite schema")
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    builtin = [max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes]
    buffers, variables, steady = model.BuffersLength(), False, True
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        tensors = graph.TensorsLength()
        for index in range(tensors):
            tensor = graph.Tensors(index)
            variables |= bool(tensor.IsVariable())
            _within(tensor.Buffer(), buffers, "a buffer")
        for index in range(graph.OperatorsLength()):
            node = graph.Operators(index)
            _within(node.OpcodeIndex(), len(codes), "an operator code")
            for end in (node.InputsAsNumpy(), node.OutputsAsNumpy()):
                for tensor_index in np.atleast_1d(end):
                    _within(int(tensor_index), tensors, "a tensor", low=-1)
            code = builtin[node.OpcodeIndex()]
            steady &= code not in LOOPS
            steady &= code not in GROWING or _computed(model, graph, node) <= GROWING[code]
        for end in (graph.InputsAsNumpy(), graph.OutputsAsNumpy()):
            for tensor_index in np.atleast_1d(end):
                _within(int(tensor_index), tensors, "a tensor")
    found = set(builtin)
    return {
        "stateful": bool(STATEFUL & found), "random": bool(RANDOM & found),
        "variables": variables, "steady": steady,
    }  # fmt: skip


def _computed(model: Any, graph: Any, node: Any) -> int:
    """Count the inputs that are no constants."""
    tensors = [graph.Tensors(int(i)) for i in np.atleast_1d(node.InputsAsNumpy()) if i >= 0]
    return sum(not model.Buffers(tensor.Buffer()).DataLength() for tensor in tensors)


def _within(index: int, count: int, what: str, low: int = 0) -> None:
    if not low <= index < count:
        raise InvalidModel(f"its structure is damaged (it names {what} {index} of {count})")


def probe(path: Path, sha256: str, runtime: str, threads: int) -> dict[str, Any]:
    """Load the model in one runtime, run it on zeros and time it.

    Units: seconds is the quickest of several runs; memory_bytes what the process grew by.
    Raises: ServingError with the reason if the model cannot be used; ModelFileChanged if the file
            is not the one with this sha256, for which the verdict would be remembered.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileChanged(f"it was taken away before it was checked: {error}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelFileChanged("another file was put in its place before it was checked")
    facts = structure(data)
    before = _resident()
    options = TfliteOptions(runtime, "", threads=threads, pool=1, stateful=facts["stateful"])
    try:
        session = TfliteSession(data, options)
        size, seconds = _time(session)
        _repeat(data, options, size, same=not facts["random"])
    except ServingError:
        raise
    except (MemoryError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise InvalidModel(f"{runtime} refuses it: {error or type(error).__name__}") from error
    grown = max(_resident() - before, len(data))
    return {**facts, "size": size, "seconds": seconds, "memory_bytes": grown}


def _repeat(data: bytes, options: TfliteOptions, size: int, same: bool) -> None:
    """Load and run a few times more, each time with other garbage in fresh memory.

    A file that sends the runtime beyond its buffers may survive one run by luck; here it crashes
    or answers the same question differently.
    Raises: InvalidModel.
    """
    allocator = ctypes.CDLL(None)
    seen: set[bytes] = set()
    for garbage in GARBAGE:
        allocator.mallopt(M_PERTURB, garbage)
        session = TfliteSession(data, options)
        outputs = session.run({spec.name: zeros(spec, size) for spec in session.inputs})
        with contextlib.suppress(InvalidInput):  # where inputs are indices, a ramp is out of range
            outputs = session.run({spec.name: golden.ramp(spec, size) for spec in session.inputs})
        session.close()
        seen.add(b"".join(array.tobytes() for array in outputs.values() if array.dtype != object))
    if same and len(seen) > 1:
        raise InvalidModel(
            f"its answers under {options.runtime} change from run to run, so it reads memory that "
            "is not its own"
        )


def _time(session: TfliteSession) -> tuple[int, float]:
    """Find the smallest size of the free dimensions that runs, and the time it takes.

    Raises: InvalidModel if it runs at none: what fails here for want of memory would take all
            that a worker can get.
    """
    free = any(size < 0 for spec in session.inputs for size in spec.shape[1:])
    reason = ""
    for size in golden.FREE_SIZES if free else (1,):
        inputs = {spec.name: zeros(spec, size) for spec in session.inputs}
        try:
            session.run(inputs)
            return size, _fastest(session, inputs)
        except InvalidInput as error:
            reason = str(error)
    tried = f" at any of the sizes {golden.FREE_SIZES} of its free dimensions" if free else ""
    raise InvalidModel(f"it does not run{tried}: {reason}")


def _fastest(session: TfliteSession, inputs: Mapping[str, Array]) -> float:
    best, end = float("inf"), time.perf_counter() + TIMING_SECONDS
    for _ in range(TIMING_RUNS):
        start = time.perf_counter()
        session.run(inputs)
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            break
    return best


def zeros(spec: TensorSpec, free: int = 1) -> Array:
    """Make an input of zeros, or of empty strings.

    Shapes: a free dimension 0 is taken for the batch and gets 1, the others the size given.
    """
    shape = golden.shaped(spec, free)
    if spec.dtype == "bytes":
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, spec.dtype)


def _resident() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
