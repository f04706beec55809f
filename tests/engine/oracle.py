"""The two TFLite runtimes as judges, and what "the same answer" means for each type."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

Array = NDArray[Any]
FLOAT_TOLERANCE = 1e-4
# Of a whole net of integers, where one runtime is there alone (Python 3.12 and later) and nobody
# knows by how much two would differ: a step of one operation is a step or two at the end.
SOLE_STEPS = 2.0
RUNTIMES = ("tflite-runtime", "ai-edge-litert")
MODULES = {
    "tflite-runtime": "tflite_runtime.interpreter",
    "ai-edge-litert": "ai_edge_litert.interpreter",
}


class Refused(Exception):
    """The runtime does not take the model."""


@cache
def available() -> tuple[str, ...]:
    """List the runtimes that are installed: tflite-runtime has no wheel after Python 3.11."""
    return tuple(r for r in RUNTIMES if importlib.util.find_spec(MODULES[r].split(".")[0]))


def interpreter(model: bytes, runtime: str = "ai-edge-litert", plain: bool = False) -> Any:
    """Make an interpreter with one thread.

    plain: the runtime's own kernels, without the XNNPACK delegate.
    Raises: Refused.
    """
    module = importlib.import_module(MODULES[runtime])
    kind = module.OpResolverType
    try:
        return module.Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=(
                kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else kind.AUTO
            ),
        )
    except (ValueError, RuntimeError) as error:
        raise Refused(f"{runtime}: {error}") from error


def run(
    model: bytes, inputs: Sequence[Array], runtime: str = "ai-edge-litert", plain: bool = False
) -> list[Array]:
    """Run a model once; inputs of another shape than the model's resize it.

    Raises: Refused if the runtime does not run it.
    """
    judge = interpreter(model, runtime, plain)
    details = judge.get_input_details()
    if len(details) != len(inputs):
        raise ValueError(f"the model has {len(details)} inputs, {len(inputs)} were given")
    for detail, array in zip(details, inputs, strict=True):
        if tuple(detail["shape"]) != array.shape:
            judge.resize_tensor_input(detail["index"], array.shape, strict=False)
    try:
        judge.allocate_tensors()
        for detail, array in zip(details, inputs, strict=True):
            judge.set_tensor(detail["index"], array)
        judge.invoke()
    except (ValueError, RuntimeError) as error:
        raise Refused(f"{runtime}: {error}") from error
    return [judge.get_tensor(detail["index"]) for detail in judge.get_output_details()]


def run_steps(
    model: bytes, steps: Sequence[Sequence[Array]], runtime: str = "ai-edge-litert",
    plain: bool = False,
) -> list[list[Array]]:
    """Run a stateful model over several steps, from its initial state."""
    judge = interpreter(model, runtime, plain)
    judge.allocate_tensors()
    answers = []
    for inputs in steps:
        for detail, array in zip(judge.get_input_details(), inputs, strict=True):
            judge.set_tensor(detail["index"], array)
        judge.invoke()
        answers.append([judge.get_tensor(d["index"]) for d in judge.get_output_details()])
    return answers


def random_inputs(
    model: bytes, seed: int = 0, low: float = -1.0, high: float = 1.0, free: int = 1
) -> list[Array]:
    """Draw inputs that fit a model: floats in [low, high), small integers over their range.

    free: the extent given to dimensions that the caller may choose.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for detail in interpreter(model).get_input_details():
        signature = detail.get("shape_signature", detail["shape"])
        shape = [free if extent < 0 else extent for extent in signature]
        drawn.append(random_array(rng, shape, np.dtype(detail["dtype"]), low, high))
    return drawn


def random_array(
    rng: np.random.Generator,
    shape: Sequence[int],
    dtype: np.dtype[Any] | str,
    low: float = -1.0,
    high: float = 1.0,
) -> Array:
    """Draw one array of a type."""
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        bounds = (limits.min, limits.max + 1) if dtype.itemsize == 1 else (0, 8)
        return rng.integers(*bounds, shape).astype(dtype)
    return rng.uniform(low, high, shape).astype(dtype)


def assert_same(actual: Array, expected: Array, steps: int = 1) -> None:
    """Compare by type: floats by the output's range, small integers by steps, others exactly."""
    if expected.dtype == np.complex64:
        _same_kind(actual, expected)
        assert_close(actual.view(np.float32), expected.view(np.float32))
    elif expected.dtype.kind == "f":
        assert_close(actual, expected)
    elif expected.dtype in (np.int8, np.uint8, np.int16):
        assert_within_steps(actual, expected, steps)
    else:
        _same_kind(actual, expected)
        np.testing.assert_array_equal(actual, expected)


def assert_close(actual: Array, expected: Array, tolerance: float = FLOAT_TOLERANCE) -> None:
    """Check floats within a tolerance of the expected output's range; NaN and Inf exactly."""
    _same_kind(actual, expected)
    if not expected.size:
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])
    if not finite.any():
        return
    difference = np.abs(actual[finite].astype("f8") - expected[finite].astype("f8"))
    allowed = tolerance * spread(expected[finite])
    worst = float(difference.max())
    assert worst <= allowed, (
        f"the largest difference is {worst:.3g}, {allowed:.3g} is allowed; "
        f"{int((difference > allowed).sum())} of {difference.size} values are off"
    )


def spread(values: Array) -> float:
    """Give the range of an output, zero included, so that a nearly constant one has one too."""
    return float(max(values.max(), 0.0) - min(values.min(), 0.0))


def assert_within_steps(actual: Array, expected: Array, steps: int = 1) -> None:
    """Check quantised values within so many steps."""
    _same_kind(actual, expected)
    if not expected.size:
        return
    difference = np.abs(actual.astype("i8") - expected.astype("i8"))
    worst = int(difference.max())
    assert worst <= steps, (
        f"the largest difference is {worst} steps, {steps} are allowed; "
        f"{int((difference > steps).sum())} of {difference.size} values are off"
    )



def disagreement(model: bytes, inputs: Sequence[Array]) -> list[float]:
    """Measure by how much the two runtimes differ on each output; 0 where only one runs it."""
    answers = []
    for runtime in available():
        try:
            answers.append(run(model, inputs, runtime))
        except Refused:
            continue
    if len(answers) < 2:
        return [0.0] * len(answers[0])
    return [
        float(np.abs(a.astype("f8") - b.astype("f8")).max()) if a.size else 0.0
        for a, b in zip(*answers, strict=True)
    ]


def assert_model_same(model: bytes, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
    """Check a whole model: floats within the tolerance, int8 within the runtimes' disagreement.

    Floats of ill-conditioned outputs may be off by twice as much as TFLite's own kernels are from
    those of XNNPACK, floats that are integers times a step by that step. A vector of integers must
    also have the same winner as one of the runtimes.
    """
    judges = [run(model, inputs, r) for r in available() if _takes(model, inputs, r)]
    gaps = disagreement(model, inputs)
    with contextlib.suppress(Refused):
        own = run(model, inputs, available()[-1], plain=True)
        gaps = [max(gap, 2 * _apart(a, b)) if a.dtype.kind == "f" else gap
                for gap, a, b in zip(gaps, own, judges[-1], strict=True)]
    for position, (actual, gap, step) in enumerate(zip(outputs, gaps, steps_of(model),
                                                       strict=True)):
        expected = [answers[position] for answers in judges]
        span = spread(expected[-1]) if actual.dtype.kind == "f" else 0.0
        if actual.dtype.kind == "f" and gap <= 2 * FLOAT_TOLERANCE * span:
            assert_close(actual, expected[-1],
                         max(FLOAT_TOLERANCE, 1.001 * step / span if span else 0.0))
            continue
        nearest = min(
            float(np.abs(actual.astype("f8") - e.astype("f8")).max(initial=0)) for e in expected
        )
        least = (1.0 if len(judges) > 1 else SOLE_STEPS) if actual.dtype.kind in "iu" else 0.0
        assert nearest <= max(gap, least), (
            f"output {position} is {nearest} away, the runtimes differ by {gap}"
        )
        if actual.dtype.kind in "iu" and actual.ndim == 2:
            winners = {tuple(e.argmax(-1)) for e in expected}
            assert tuple(actual.argmax(-1)) in winners


def steps_of(model: bytes) -> list[float]:
    """For each output the step of the integers that it is made of, 0 for other floats."""
    whole = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    graph = whole.subgraphs[0]
    steps: dict[int, float] = {}
    for operator in graph.operators or ():
        code = whole.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind == schema.BuiltinOperator.DEQUANTIZE:
            quant = graph.tensors[operator.inputs[0]].quantization
            if quant is not None and quant.scale is not None:
                steps[int(operator.outputs[0])] = float(quant.scale[0])
    return [steps.get(int(i), 0.0) for i in graph.outputs]


def _apart(a: Array, b: Array) -> float:
    finite = np.isfinite(a) & np.isfinite(b)
    return float(np.abs(a[finite].astype("f8") - b[finite].astype("f8")).max(initial=0))


def _takes(model: bytes, inputs: Sequence[Array], runtime: str) -> bool:
    try:
        run(model, inputs, runtime)
    except Refused:
        return False
    return True


def _same_kind(actual: Array, expected: Array) -> None:
    assert actual.shape == expected.shape, f"shape {actual.shape} instead of {expected.shape}"
    assert actual.dtype == expected.dtype, f"{actual.dtype} instead of {expected.dtype}"
