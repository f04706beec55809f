"""Every operation of the schema runs on the card, runs on the CPU, or is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import UnsupportedOp
from tests.engine import oracle
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.examples import plain, rest
from tests.engine.examples.case import Case
from tests.engine.examples.table import (
    BUILTINS,
    BY_GRAPH,
    ELSEWHERE,
    REFUSED,
    RENAMED,
    TYPES,
    written,
)

TABLE = Path(__file__).parents[2] / "docs/ops.md"
EXAMPLES: dict[str, tuple[str, Case]] = {
    **{op: (op, case) for op, case in {**plain.CASES, **rest.CASES}.items()},
    **{f"UNIDIRECTIONAL_SEQUENCE_LSTM {name}": ("UNIDIRECTIONAL_SEQUENCE_LSTM", case)
       for name, case in rest.LSTM_FORMS.items()},
}


# Types in which TFLite's own kernels give no answer to compare with: logarithms of what is not
# positive, the negative of -128, tables that leave the range of these scales (in their range:
# test_engine_quantized.py), nothing at all.
UNDEFINED = {("NEG", "int8"), ("LOG", "int16"), ("EXP", "int16"),
             ("RSQRT", "int16"), ("GELU", "int16"), ("MATRIX_DIAG", "bool"),
             ("MATRIX_SET_DIAG", "bool"), *(("SIGN", dtype) for dtype in TYPES)}
TYPED = [pytest.param(op, dtype, marks=[] if dtype == "int8" else pytest.mark.slow)
         for op, (_, case) in EXAMPLES.items() for dtype in TYPES[1:]
         if case.typed and case.values is None and dtype != case.dtype
         and (op, dtype) not in UNDEFINED]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_answers_as_tflite_does(runtime: Runtime, name: str) -> None:
    op, case = EXAMPLES[name]
    blob = case.blob(op)
    inputs = case.feed(blob)
    check(runtime, case, blob, inputs, expected(blob, inputs))


@pytest.mark.parametrize("runtime", ["own"], indirect=True)
@pytest.mark.parametrize(("op", "dtype"), TYPED)
def test_an_example_in_another_type(runtime: Runtime, op: str, dtype: str) -> None:
    check_typed(runtime, op, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["rx580"], indirect=True)
@pytest.mark.parametrize(("op", "dtype"), TYPED)
def test_an_example_in_another_type_in_the_cards_shape(
        runtime: Runtime, op: str, dtype: str) -> None:
    check_typed(runtime, op, dtype)


def check_typed(runtime: Runtime, op: str, dtype: str) -> None:
    case = EXAMPLES[op][1]
    blob = case.blob(op, dtype)
    try:
        inputs = case.feed(blob)
        answers = expected(blob, inputs)
    except oracle.Refused:
        # TFLite does not know the type: there is nothing to compare with, nor such models.
        return
    check(runtime, case, blob, inputs, answers)


def check(runtime: Runtime, case: Case, blob: bytes, inputs: list[oracle.Array],
          answers: list[oracle.Array]) -> None:
    model = LoadedModel(runtime, read(blob))
    try:
        model.prepare()
        outputs = model.run(inputs)
    finally:
        model.close()
    for actual, answer in zip(outputs, answers, strict=True):
        assert actual.shape == answer.shape
        if not case.drawn:
            oracle.assert_same(actual, answer)


def expected(blob: bytes, inputs: list[oracle.Array]) -> list[oracle.Array]:
    """The answer of the newest runtime that gives one."""
    for runtime in reversed(oracle.available()[1:]):
        try:
            return oracle.run(blob, inputs, runtime)
        except oracle.Refused:
            continue
    return oracle.run(blob, inputs, oracle.available()[0])


def test_every_operation_has_an_example_or_is_refused() -> None:
    known = {op for op, _ in EXAMPLES.values()} | {*ELSEWHERE, *BY_GRAPH, *RENAMED} | REFUSED
    assert set(BUILTINS) - known == set(), "give it an example in tests/engine/examples"
    assert known - set(BUILTINS) == set()


@pytest.mark.parametrize("op", sorted(REFUSED))
def test_what_nobody_knows_is_refused_by_its_name(runtime: Runtime, op: str) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    graph.outputs(*graph.op(op, [x, x], [Spec((2, 3))]))
    with pytest.raises(UnsupportedOp, match=rf"operation.* that neither .*{op}"):
        LoadedModel(runtime, read(model.build()))


def test_the_table_of_operations_is_current() -> None:
    assert TABLE.read_text("utf-8") == written(), "run python -m tests.engine.examples.table"
