"""Branches, loops, variables and models that keep state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

from app.engine.cpu.whole import WholeModel
from app.engine.ir import Launch
from app.engine.loaded import LoadedModel
from app.engine.passes.control import settle
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.errors import InvalidModel, UnsupportedOp
from tests.engine import oracle
from tests.engine.builder import GraphBuilder, ModelBuilder, Spec, Value
from tests.engine.corpus import CORPUS
from tests.engine.engine_check import assert_op_same, run_engine
from tests.service import tiny


def scalar(graph: GraphBuilder, value: float) -> Value:
    return graph.const(np.array(value, "f4"))


def branching(constant_weights: bool) -> bytes:
    model = ModelBuilder()
    graph = model.graph()
    condition, x = graph.input((), "bool"), graph.input((3, 4))
    w = graph.const(np.eye(4, dtype="f4") * 3) if constant_weights else x
    inputs = [condition, x, w] if constant_weights else [condition, x]
    graph.outputs(*graph.op("IF", inputs, [Spec((3, 4))],
                            {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2}))
    for name, op in (("then", "NEG"), ("else", "ABS")):
        part = model.graph(name)
        y = part.input((3, 4))
        if constant_weights:
            weights = part.input((4, 4))
            (y,) = part.op("FULLY_CONNECTED", [y, weights, None], [Spec((3, 4))])
        part.outputs(*part.op(op, [y], [Spec((3, 4))]))
    return model.build()


@pytest.mark.parametrize("constant_weights", [False, True])
@pytest.mark.parametrize("taken", [False, True])
def test_branches(runtime: Runtime, taken: bool, constant_weights: bool) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4)).astype("f4")
    assert_op_same(runtime, branching(constant_weights), [np.array(taken), x], on_device=False)


def looping(turns_known: bool) -> bytes:
    """While i < limit: x = 2x + i, i = i + 1."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((5,))
    limit = scalar(graph, 4) if turns_known else graph.input(())
    specs: list[Any] = [Spec(()), Spec((5,)), Spec(())]
    outputs = graph.op("WHILE", [scalar(graph, 0), x, limit], specs,
                       {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    graph.outputs(outputs[1])
    condition = model.graph("condition")
    i, _, most = (condition.input(s.shape) for s in specs)
    condition.outputs(*condition.op("LESS", [i, most], [Spec((), "bool")]))
    body = model.graph("body")
    i, x, most = (body.input(s.shape) for s in specs)
    (twice,) = body.op("MUL", [x, scalar(body, 2)], [Spec((5,))])
    (more,) = body.op("ADD", [twice, i], [Spec((5,))])
    (after,) = body.op("ADD", [i, scalar(body, 1)], [Spec(())])
    body.outputs(after, more, most)
    return model.build()


def of_open_rank(turns_known: bool) -> bytes:
    """The same, in whose body the file leaves ranks open; it writes no rank as that of a number."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 5))
    limit = scalar(graph, 3) if turns_known else graph.input(())
    outputs = graph.op("WHILE", [scalar(graph, 0), x, limit], [Spec(()), Spec((2, 5)), Spec(())],
                       {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    graph.outputs(outputs[1])
    condition = model.graph("condition")
    i, _, most = (condition.input(()) for _ in range(3))
    condition.outputs(*condition.op("LESS", [i, most], [Spec((), "bool")]))
    body = model.graph("body")
    i, x, most = (body.input(()) for _ in range(3))
    (more,) = body.op("ADD", [x, i], [Spec(())])
    begin, end, ones = (body.const(np.array(v, "i4")) for v in ([0, 1], [2, 2], [1, 1]))
    (column,) = body.op("STRIDED_SLICE", [more, begin, end, ones], [Spec(())], {"endMask": 2})
    (first,) = body.op("SLICE", [more, begin, body.const(np.array([2, 1], "i4"))], [Spec(())])
    (sums,) = body.op("SUM", [column, body.const(np.array([1], "i4"))], [Spec(())],
                      {"keepDims": True})
    (shape,) = body.op("SHAPE", [more], [Spec((-1,), "int32")], {"outType": "int32"})
    (flat,) = body.op("RESHAPE", [more, body.const(np.array([-1], "i4"))], [Spec(())])
    (again,) = body.op("RESHAPE", [flat, shape], [Spec(())])
    (less,) = body.op("SUB", [again, sums], [Spec(())])
    (last,) = body.op("MUL", [less, first], [Spec(())])
    (after,) = body.op("ADD", [i, scalar(body, 1)], [Spec(())])
    body.outputs(after, last, most)
    return model.build()


@pytest.mark.parametrize("turns_known", [False, True])
def test_loops_over_tensors_of_open_rank(runtime: Runtime, turns_known: bool) -> None:
    x = np.random.default_rng(3).uniform(-.5, .5, (2, 5)).astype("f4")
    inputs = [x] if turns_known else [x, np.array(3, "f4")]
    assert_op_same(runtime, of_open_rank(turns_known), inputs, on_device=False)


@pytest.mark.parametrize("turns_known", [False, True])
def test_loops(runtime: Runtime, turns_known: bool) -> None:
    x = np.arange(5, dtype="f4")
    inputs = [x] if turns_known else [x, np.array(3, "f4")]
    assert_op_same(runtime, looping(turns_known), inputs, on_device=turns_known)


def test_a_loop_of_known_length_leaves_no_loop() -> None:
    (graph, *_) = settle(read(looping(True)).graphs)
    assert "WHILE" not in {node.op for node in graph.nodes}


def test_a_small_branch_is_decided_on_the_device(runtime: Runtime) -> None:
    (graph, *_) = settle(read(branching(True)).graphs)
    assert [n.op for n in graph.nodes][-1] == "SELECT_V2"
    loaded = LoadedModel(runtime, read(branching(True)))
    steps = loaded.prepare().plan.steps
    loaded.close()
    assert all(isinstance(step, Launch) for step in steps)


@pytest.mark.parametrize("last_only", [False, True])
def test_lists_that_a_loop_fills_are_tensors(runtime: Runtime, last_only: bool) -> None:
    """No TFLite runtime without TensorFlow runs them; the sums are easily told."""
    x = np.arange(6, dtype="f4").reshape(2, 3)
    expected = np.stack([x * 5] if last_only else [x * t for t in (2, 3, 4, 5)])
    blob = tiny.listing(4, last_only)
    (answer,) = run_engine(runtime, blob, [x])
    np.testing.assert_array_equal(answer, expected)
    (answer,) = WholeModel(read(blob)).run([x])
    np.testing.assert_array_equal(answer, expected)


def summing() -> bytes:
    """Running sums over the first axis of x [T,-1], T free: a loop of T turns that fills a list."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((-1, -1))
    (extents,) = graph.op("SHAPE", [x], [Spec((2,), "int32")], {"outType": "int32"})
    places = [graph.const(np.array([v], "i4")) for v in (0, 1, 2)]
    (count,) = graph.op("STRIDED_SLICE", [extents, *places[:2], places[1]], [Spec((), "int32")],
                        {"shrinkAxisMask": 1})
    (wide,) = graph.op("STRIDED_SLICE", [extents, *places[1:], places[1]], [Spec((1,), "int32")],
                       {})
    shape = graph.const(np.array([-1], "i4"))
    items = graph.op("FlexTensorListReserve", [shape, count], [Spec((), "variant")], custom=b"")
    (zeros,) = graph.op("FILL", [wide, graph.const(np.float32(0))], [Spec((-1,))])
    specs = [Spec((), "int32"), Spec((), "variant"), Spec((-1,)), Spec((), "int32"),
             Spec((-1, -1))]
    ended = graph.op("WHILE", [graph.const(np.int32(0)), *items, zeros, count, x], specs,
                     {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    graph.outputs(*graph.op("FlexTensorListStack", [ended[1], shape], [Spec((-1, -1))],
                            custom=b""))
    condition = model.graph("condition")
    i, _, _, most, _ = (condition.input(s.shape, s.dtype) for s in specs)
    condition.outputs(*condition.op("LESS", [i, most], [Spec((), "bool")]))
    body = model.graph("body")
    i, own, total, most, rows = (body.input(s.shape, s.dtype) for s in specs)
    (row,) = body.op("GATHER", [rows, i], [Spec((-1,))], {"axis": 0})
    (after,) = body.op("ADD", [total, row], [Spec((-1,))], {})
    changed = body.op("FlexTensorListSetItem", [own, i, after], [Spec((), "variant")], custom=b"")
    (up,) = body.op("ADD", [i, body.const(np.int32(1))], [Spec((), "int32")], {})
    body.outputs(up, *changed, after, most, rows)
    return model.build()


def test_lists_of_as_many_items_as_an_input_is_long(runtime: Runtime) -> None:
    loaded, alone = LoadedModel(runtime, read(summing())), WholeModel(read(summing()))
    try:
        for shape in ((3, 4), (5, 2), (1, 1)):
            x = np.random.default_rng(1).integers(-9, 9, shape).astype("f4")
            (answer,) = loaded.run([x])
            np.testing.assert_array_equal(answer, x.cumsum(0))
            assert {p.where for p in loaded.prepare([shape]).plan.places} <= {"device", "free"}
            (answer,) = alone.run([x])
            np.testing.assert_array_equal(answer, x.cumsum(0))
    finally:
        loaded.close()


def test_a_list_that_is_not_filled_is_refused(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    shape, count = (graph.const(np.array(v, "i4")) for v in ([1], 2))
    items = graph.op("FlexTensorListReserve", [shape, count], [Spec((), "variant")], custom=b"")
    graph.outputs(*graph.op("FlexTensorListStack", [*items, shape], [Spec((2, 1))], custom=b""))
    with pytest.raises(UnsupportedOp, match="FlexTensorList"):
        run_engine(runtime, model.build(), [])


@pytest.mark.parametrize("op", ["LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL",
                                "NOT_EQUAL"])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1)])
def test_a_choice_by_a_comparison_is_one_kernel(runtime: Runtime, op: str,
                                                shape: tuple[int, ...]) -> None:
    model = ModelBuilder()
    graph = model.graph("main")
    x, a, b = (graph.input(shape) for _ in range(3))
    (test,) = graph.op(op, [x, scalar(graph, 0.5)], [Spec(shape, "bool")])
    graph.outputs(*graph.op("SELECT_V2", [test, a, b], [Spec(shape)]))
    values = np.linspace(-1.0, 1.5, x_size := int(np.prod(shape)), dtype="f4").reshape(shape)
    values.reshape(-1)[-1] = np.nan
    values.reshape(-1)[x_size // 2] = 0.5
    inputs = [values, np.ones(shape, "f4"), np.zeros(shape, "f4")]
    oracle.assert_model_same(model.build(), inputs, run_engine(runtime, model.build(), inputs))
    loaded = LoadedModel(runtime, read(model.build()))
    assert len(loaded.prepare().plan.steps) == 1
    loaded.close()


def test_variables_live_for_one_request(runtime: Runtime) -> None:
    model = CORPUS["mww_okay_nabu"]
    blob = model.blob()
    steps = [model.inputs(blob, seed) for seed in range(4)]
    loaded = LoadedModel(runtime, read(blob))
    first = loaded.run_steps(steps)
    again = loaded.run_steps(steps)
    loaded.close()
    for ours, expected, second in zip(first, oracle.run_steps(blob, steps), again, strict=True):
        for a, e, b in zip(ours, expected, second, strict=True):
            oracle.assert_within_steps(a, e)
            np.testing.assert_array_equal(a, b)


def counting(kind: str, other: bool = False) -> bytes:
    """Two variables that start at 1 and 2; what a step does with them depends on kind.

    other: the file has a graph for another signature, which uses a variable as well.
    """
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))

    def handle(part: GraphBuilder, name: str) -> Value:
        return part.op("VAR_HANDLE", [], [Spec((), "resource")], {"sharedName": name})[0]

    graph.op("CALL_ONCE", [], [], {"initSubgraphIndex": 1})
    names = [handle(graph, name) for name in "ab"]
    a, b = (graph.op("READ_VARIABLE", [n], [Spec((2, 3))])[0] for n in names)
    (total,) = graph.op("ADD", [a, x], [Spec((2, 3))])
    after = {"sums": (total, b), "swapped": (b, a), "given": (x, total)}[kind]
    for name, value in zip(names, after, strict=True):
        graph.op("ASSIGN_VARIABLE", [name, value], [])
    (again,) = graph.op("READ_VARIABLE", names[:1], [Spec((2, 3))])
    (product,) = graph.op("MUL", [again, b], [Spec((2, 3))])
    graph.outputs(product, *graph.op("NEG", [a], [Spec((2, 3))]))
    once = model.graph("once")
    for name, value in zip("ab", (1.0, 2.0), strict=True):
        first = once.const(np.full((2, 3), value, "f4"))
        once.op("ASSIGN_VARIABLE", [handle(once, name), first], [])
    once.outputs()
    if other:
        query = model.graph("query")
        query.outputs(*query.op("READ_VARIABLE", [handle(query, "a")], [Spec((2, 3))]))
    return model.build()


def test_another_signature_keeps_no_variable_from_the_device(runtime: Runtime) -> None:
    blob = counting("sums", other=True)
    steps = [[np.full((2, 3), i, "f4")] for i in range(3)]
    loaded = LoadedModel(runtime, read(blob))
    try:
        plan = loaded.prepare().plan
        assert len(plan.states) == 2
        assert all(isinstance(step, Launch) for step in plan.steps)
        for ours, expected in zip(loaded.run_steps(steps), oracle.run_steps(blob, steps),
                                  strict=True):
            for a, e in zip(ours, expected, strict=True):
                np.testing.assert_allclose(a, e, rtol=1e-6)
    finally:
        loaded.close()


def test_variables_without_values_are_named_at_load(runtime: Runtime) -> None:
    """As a converter writes the weights of a function that it does not know to be a model's."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    (handle,) = graph.op("VAR_HANDLE", [], [Spec((), "resource")], {"sharedName": "dense/kernel"})
    (weights,) = graph.op("READ_VARIABLE", [handle], [Spec((4, 3))])
    graph.outputs(*graph.op("FULLY_CONNECTED", [x, weights, None], [Spec((2, 4))], {}))
    with pytest.raises(InvalidModel, match=r"gives a value: dense/kernel\."):
        LoadedModel(runtime, read(model.build()))


def test_variables_that_only_loops_read_are_named_too(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    (handle,) = graph.op("VAR_HANDLE", [], [Spec((), "resource")], {"sharedName": "lstm/kernel"})
    specs = [Spec(()), Spec((3,)), Spec((), "resource")]
    outputs = graph.op("WHILE", [graph.const(np.float32(0)), graph.input((3,)), handle], specs,
                       {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    graph.outputs(outputs[1])
    condition, body = model.graph("condition"), model.graph("body")
    i, _, _ = (condition.input(s.shape, s.dtype) for s in specs)
    condition.outputs(*condition.op("LESS", [i, scalar(condition, 4)], [Spec((), "bool")]))
    i, x, handle = (body.input(s.shape, s.dtype) for s in specs)
    (kernel,) = body.op("READ_VARIABLE", [handle], [Spec((3,))])
    body.outputs(*body.op("ADD", [i, scalar(body, 1)], [i.spec]),
                 *body.op("MUL", [x, kernel], [x.spec]), handle)
    with pytest.raises(InvalidModel, match=r"gives a value: lstm/kernel\."):
        LoadedModel(runtime, read(model.build()))


@pytest.mark.parametrize("kind", ["sums", "swapped", "given"])
def test_what_a_step_assigns_the_next_one_reads(runtime: Runtime, kind: str) -> None:
    blob = counting(kind)
    rng = np.random.default_rng(0)
    steps = [[rng.uniform(-1, 1, (2, 3)).astype("f4")] for _ in range(4)]
    loaded = LoadedModel(runtime, read(blob))
    for _ in range(2):
        for ours, expected in zip(loaded.run_steps(steps), oracle.run_steps(blob, steps),
                                  strict=True):
            for a, e in zip(ours, expected, strict=True):
                np.testing.assert_allclose(a, e, rtol=1e-6)
    loaded.close()


def test_variables_that_kernels_make_never_leave_the_device(runtime: Runtime) -> None:
    loaded = LoadedModel(runtime, read(CORPUS["mww_okay_nabu"].blob()))
    found = loaded.prepare().plan
    loaded.close()
    assert len(found.states) == 6
    assert all(isinstance(step, Launch) for step in found.steps)


def test_a_published_model_with_a_branch(runtime: Runtime) -> None:
    model = CORPUS["oww_hey_jarvis"]
    inputs = model.inputs(model.blob())
    oracle.assert_model_same(model.blob(), inputs, run_engine(runtime, model.blob(), inputs))


@pytest.mark.parametrize("by_name", [True, False])
def test_hash_tables(runtime: Runtime, by_name: bool) -> None:
    names, numbers = np.array([b"cat", b"dog", b"a bird"]), np.array([3, 5, 9], "i8")
    keys, found, default = ((names, "int64", np.int64(-1)) if by_name else
                            (numbers, "bytes", np.array(b"none")))
    kinds = {"keyDtype": "bytes" if by_name else "int64", "valueDtype": found, "tableId": 7}
    model = ModelBuilder()
    graph = model.graph()
    asked = graph.input((4,), "bytes" if by_name else "int64")
    graph.op("CALL_ONCE", [], [], {"initSubgraphIndex": 1})
    (table,) = graph.op("HASHTABLE", [], [Spec((1,), "resource")], kinds)
    (answer,) = graph.op("HASHTABLE_FIND", [table, asked, graph.const(default)],
                         [Spec((4,), found)])
    (count,) = graph.op("HASHTABLE_SIZE", [table], [Spec((1,), "int64")])
    graph.outputs(answer, count)
    setup = model.graph("setup")
    (table,) = setup.op("HASHTABLE", [], [Spec((1,), "resource")], kinds)
    setup.op("HASHTABLE_IMPORT", [table, setup.const(keys),
                                  setup.const(numbers if by_name else names)], [])
    blob = model.build()
    inputs = [np.array([b"dog", b"cow", b"cat", b""], "O") if by_name else
              np.array([9, 4, 3, 0], "i8")]
    for actual, expected in zip(run_engine(runtime, blob, inputs), oracle.run(blob, inputs),
                                strict=True):
        assert actual.tolist() == expected.tolist()
        assert actual.shape == expected.shape


def test_composites_run_by_their_parts(runtime: Runtime) -> None:
    options = {"name": "odml.rms_norm", "version": 1,
               "compositeAttributes": np.frombuffer(flexbuffers.Dumps({}), "u1")}
    model = ModelBuilder()
    graph = model.graph()
    x, scale = graph.input((2, 5, 8)), graph.const(np.linspace(0.5, 2, 8, dtype="f4"))
    (y,) = graph.op("STABLEHLO_COMPOSITE", [x, scale], [x.spec],
                    {**options, "decompositionSubgraphIndex": 1})
    graph.outputs(*graph.op("STABLEHLO_COMPOSITE", [y, scale], [x.spec],
                            {**options, "decompositionSubgraphIndex": 2}))
    norm = model.graph("norm")
    x, scale = norm.input((2, 5, 8)), norm.input((8,))
    (square,) = norm.op("MUL", [x, x], [x.spec])
    (mean,) = norm.op("MEAN", [square, norm.const(np.array([2], "i4"))], [Spec((2, 5, 1))],
                      {"keepDims": True})
    (root,) = norm.op("RSQRT", [mean], [mean.spec])
    (even,) = norm.op("MUL", [x, root], [x.spec])
    norm.outputs(*norm.op("MUL", [even, scale], [x.spec]))
    nested = model.graph("nested")
    x, scale = nested.input((2, 5, 8)), nested.input((8,))
    (same,) = nested.op("STABLEHLO_COMPOSITE", [x, scale], [x.spec],
                        {**options, "decompositionSubgraphIndex": 1})
    nested.outputs(*nested.op("TANH", [same], [x.spec]))
    blob = model.build()
    assert_op_same(runtime, blob, oracle.random_inputs(blob))
