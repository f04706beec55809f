"""Models that run in parts: on the device and on the CPU, with control flow, with state."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from flatbuffers import flexbuffers

from app.engine.explain import explain
from app.engine.loaded import LoadedModel
from app.engine.reader import read
from app.engine.runtime import Runtime
from app.engine.segments import HostCall
from app.errors import DeviceMemoryError, InvalidModel, UnsupportedOp
from app.tensors import Quantization
from bench.kernels.plans import plan_blob
from tests.engine import oracle
from tests.engine.builder import GraphBuilder, ModelBuilder, Spec, Value, single_op
from tests.engine.corpus import CORPUS, NETS
from tests.engine.engine_check import run_engine

STEPS = 6


def same(runtime: Runtime, blob: bytes, inputs: list[oracle.Array]) -> LoadedModel:
    """Check a model against TFLite on its inputs."""
    model = LoadedModel(runtime, read(blob))
    for actual, expected in zip(model.run(inputs), oracle.run(blob, inputs), strict=True):
        oracle.assert_same(actual, expected)
    return model


def conv(graph: GraphBuilder, x: Value, seed: int) -> Value:
    """A 1x1 convolution that keeps the shape [1,8,8,16]."""
    weights = np.random.default_rng(seed).uniform(-1, 1, (16, 1, 1, 16)).astype("f4")
    (y,) = graph.op("CONV_2D", [x, graph.const(weights), graph.const(np.zeros(16, "f4"))],
                    [Spec((1, 8, 8, 16))], {"padding": "SAME", "strideH": 1, "strideW": 1})
    return y


def test_neighbours_on_the_cpu_make_one_segment(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 8, 8, 16))
    y = conv(graph, x, 1)
    coarse, fine = ({"min": -4.0, "max": 4.0, "numBits": bits} for bits in (4, 8))
    (once,) = graph.op("FAKE_QUANT", [y], [y.spec], fine)
    (again,) = graph.op("FAKE_QUANT", [once], [y.spec], coarse)
    (side,) = graph.op("FAKE_QUANT", [y], [y.spec], fine)
    (total,) = graph.op("ADD", [conv(graph, again, 2), side], [y.spec])
    graph.outputs(total)
    blob = model.build()
    loaded = same(runtime, blob, oracle.random_inputs(blob))
    plan = loaded.prepare().plan
    segments = [s for s in plan.steps if isinstance(s, HostCall)]
    assert [len(s.nodes) for s in segments] == [3]
    assert len(segments[0].inputs) == 1
    reasons = {p.reason for p in plan.places if p.where == "host"}
    assert reasons == {"there is no kernel for FAKE_QUANT"}


def test_what_a_rewriting_made_is_no_work_for_the_cpu(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    steps = Quantization((0.01,), (5,))
    (q,) = graph.op("QUANTIZE", [graph.input((2, 3))], [Spec((2, 3), "int8", steps)])
    ones, zero = graph.const(np.array([1, 1], "i4")), graph.const(np.int8(0))
    graph.outputs(*graph.op("DILATE", [q, ones, zero], [q.spec]))
    blob = model.build()
    loaded = same(runtime, blob, oracle.random_inputs(blob))
    assert [p.node.op for p in loaded.prepare().plan.places if p.where == "host"] == ["DILATE"]


def test_names_that_are_no_text_do_not_disturb_the_cpu(runtime: Runtime) -> None:
    blob = single_op("FAKE_QUANT", [Spec((2, 3))], [Spec((2, 3))],
                     {"min": -4.0, "max": 4.0, "numBits": 8})
    inputs = oracle.random_inputs(blob)
    other = blob.replace(b"\2\0\0\0t0\0", b"\2\0\0\0\xff0\0").replace(
        b"\2\0\0\0t1\0", b"\2\0\0\0\xff1\0")
    assert other.count(b"\xff0\0") == other.count(b"\xff1\0") == 1
    oracle.assert_same(run_engine(runtime, other, inputs)[0], oracle.run(blob, inputs)[0])


def test_every_unknown_operation_is_named_at_load(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    (a,) = graph.op("SomethingNew", [x], [x.spec], custom=b"")
    (b,) = graph.op("RELU", [a], [x.spec])
    (c,) = graph.op("FlexLgamma", [b], [x.spec], custom=b"")
    graph.outputs(c)
    with pytest.raises(UnsupportedOp, match=r"SomethingNew \(a custom op\), FlexLgamma \(a Tensor"):
        LoadedModel(runtime, read(model.build()))


@pytest.mark.parametrize("taken", [True, False])
def test_if_runs_one_branch(runtime: Runtime, taken: bool) -> None:
    model = ModelBuilder()
    graph = model.graph()
    condition, x = graph.input((), "bool"), graph.input((1, 8, 8, 16))
    (y,) = graph.op("IF", [condition, conv(graph, x, 3)], [x.spec],
                    {"thenSubgraphIndex": 1, "elseSubgraphIndex": 2})
    graph.outputs(conv(graph, y, 4))
    for name, seed in (("then", 5), ("else", 6)):
        branch = model.graph(name)
        branch.outputs(conv(branch, branch.input((1, 8, 8, 16)), seed))
    blob = model.build()
    x_value = oracle.random_inputs(blob)[1]
    same(runtime, blob, [np.array(taken), x_value])


def loop(work: int) -> bytes:
    """A WHILE that multiplies a [1, work] vector by a matrix and mixes two others, so many times
    as its second input says."""
    weights = np.random.default_rng(7).uniform(-1, 1, (work, work)).astype("f4") / work ** 0.5
    specs = [Spec((), "int32"), Spec((), "int32"), *[Spec((1, work))] * 3]
    model = ModelBuilder()
    graph = model.graph()
    x, count = graph.input((1, work)), graph.input((), "int32")
    (other,) = graph.op("NEG", [x], [x.spec])
    (third,) = graph.op("ABS", [x], [x.spec])
    done = graph.op("WHILE", [graph.const(np.int32(0)), count, x, other, third], specs,
                    {"condSubgraphIndex": 1, "bodySubgraphIndex": 2})
    graph.outputs(done[0], *done[2:])
    condition = model.graph("condition")
    i, most, *_ = [condition.input(s.shape, s.dtype) for s in specs]
    condition.outputs(*condition.op("LESS", [i, most], [Spec((), "bool")]))
    body = model.graph("body")
    i, most, a, b, c = [body.input(s.shape, s.dtype) for s in specs]
    (up,) = body.op("ADD", [i, body.const(np.int32(1))], [specs[0]])
    (product,) = body.op("FULLY_CONNECTED", [a, body.const(weights), None], [specs[2]])
    (moved,) = body.op("TANH", [product], [specs[2]])
    (down,) = body.op("NEG", [c], [specs[2]])
    (mixed,) = body.op("SUB", [b, a], [specs[2]])
    body.outputs(up, most, moved, down, mixed)
    return model.build()


@pytest.mark.parametrize("work", [8, 800])
def test_while_keeps_its_variables(runtime: Runtime, work: int) -> None:
    blob = loop(work)
    x = oracle.random_inputs(blob)[0]
    for count in (0, 1, 5):
        model = same(runtime, blob, [x, np.array(count, "i4")])
    where = {p.node.op: p.where for p in model.prepare().plan.places}
    assert where["WHILE"] == ("host" if work == 8 else "state")


def accumulator() -> bytes:
    """A model with a variable: y = v + x; v = y, where v begins as ones."""
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    graph.op("CALL_ONCE", [], [], {"initSubgraphIndex": 1})
    (name,) = graph.op("VAR_HANDLE", [], [Spec((), "resource")], {"sharedName": "v"})
    (before,) = graph.op("READ_VARIABLE", [name], [x.spec])
    (after,) = graph.op("ADD", [before, x], [x.spec])
    graph.op("ASSIGN_VARIABLE", [name, after], [])
    graph.outputs(after)
    first = model.graph("first")
    (name,) = first.op("VAR_HANDLE", [], [Spec((), "resource")], {"sharedName": "v"})
    first.op("ASSIGN_VARIABLE", [name, first.const(np.ones((2, 3), "f4"))], [])
    return model.build()


def test_variables_live_for_one_request(runtime: Runtime) -> None:
    model = LoadedModel(runtime, read(accumulator()))
    assert model.stateful
    x = np.arange(6, dtype="f4").reshape(2, 3)
    for _ in range(2):
        steps = [answer[0] for answer in model.run_steps([[x], [2 * x], [x]])]
        np.testing.assert_array_equal(steps, [1 + x, 1 + 3 * x, 1 + 4 * x])
        np.testing.assert_array_equal(model.run([x])[0], 1 + x)


def state_tensors() -> bytes:
    """A recurrent layer that keeps its state in a tensor of the old kind."""
    rng = np.random.default_rng(8)
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 5))
    weights = [graph.const(rng.uniform(-1, 1, s).astype("f4")) for s in ((4, 5), (4, 4), (4,))]
    hidden = graph.variable(Spec((1, 4)))
    (y,) = graph.op("RNN", [x, *weights, hidden], [Spec((1, 4))],
                    {"fusedActivationFunction": "TANH"})
    graph.outputs(y)
    return model.build()


STREAMS = {"okay_nabu": lambda: CORPUS["mww_okay_nabu"].blob(), "rnn": state_tensors,
           "variable": accumulator}


@pytest.mark.parametrize("name", STREAMS)
def test_steps_of_a_request_are_those_of_the_interpreter(runtime: Runtime, name: str) -> None:
    blob = STREAMS[name]()
    steps = [oracle.random_inputs(blob, seed) for seed in range(STEPS)]
    expected = oracle.run_steps(blob, steps)
    model = LoadedModel(runtime, read(blob))
    for _ in range(2):
        for answer, wanted in zip(model.run_steps(steps), expected, strict=True):
            for actual, right in zip(answer, wanted, strict=True):
                oracle.assert_same(actual, right)


@pytest.mark.parametrize("name", ["gru_float32", "gru_dynamic", "lstm_float32", "lstm_int8"])
def test_recurrent_nets(runtime: Runtime, name: str) -> None:
    blob = (NETS / f"{name}.tflite").read_bytes()
    inputs = oracle.random_inputs(blob, seed=2)
    oracle.assert_model_same(blob, inputs, run_engine(runtime, blob, inputs))


def test_a_refused_part_is_taken_out_of_its_fusion(runtime: Runtime) -> None:
    model = ModelBuilder()
    graph = model.graph()
    # The batches broadcast in three ways; kernels know two.
    x, w = graph.input((2, 1, 2, 3, 4)), graph.input((1, 3, 2, 4, 5))
    (y,) = graph.op("BATCH_MATMUL", [x, w], [Spec((2, 3, 2, 3, 5))], {})
    (z,) = graph.op("HARD_SWISH", [y], [y.spec])
    graph.outputs(z)
    blob = model.build()
    loaded = same(runtime, blob, oracle.random_inputs(blob))
    assert Counter(p.where for p in loaded.prepare().plan.places)["host"] >= 1


def test_every_operator_has_a_place(runtime: Runtime) -> None:
    blob = CORPUS["selfie_segmentation"].blob()
    rows = explain(read(blob), plan_blob(blob, profile=runtime.device.profile))
    assert [r.index for r in rows] == list(range(len(rows)))
    places = Counter(r.place for r in rows)
    assert places["folded"] == 110
    assert places["fused"] > 30
    assert not places["CPU"]


def test_a_graph_that_reads_what_nothing_makes_is_refused() -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    (y,) = graph.op("NEG", [x], [x.spec])
    graph.outputs(y)
    graph.table.operators[0].inputs = [y.index]
    with pytest.raises(InvalidModel, match="reads the tensor 't1', which nothing before it makes"):
        read(model.build())


def test_a_graph_that_gives_what_nothing_makes_is_refused() -> None:
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((2, 3))
    (y,) = graph.op("NEG", [x], [x.spec])
    graph.outputs(y)
    graph.table.operators.clear()
    with pytest.raises(InvalidModel, match="nothing makes the output 't1'"):
        read(model.build())


def test_an_operation_with_more_outputs_than_results_is_refused(runtime: Runtime) -> None:
    blob = single_op("NEG", [Spec((-1, 3))], [Spec((-1, 3)), Spec((-1, 3))])
    loaded = LoadedModel(runtime, read(blob))
    with pytest.raises(InvalidModel, match=r"NEG \(operator 0\) has 2 outputs"):
        loaded.run([np.ones((2, 3), "f4")])


def test_a_model_that_does_not_fit_says_what_it_needs(runtime: Runtime) -> None:
    device = runtime.device
    tiny = replace(device, profile=replace(device.profile, global_bytes=1000))
    small = Runtime(tiny)
    blob = accumulator()
    LoadedModel(small, read(blob)).prepare()
    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 8, 8, 16))
    graph.outputs(conv(graph, x, 1))
    with pytest.raises(DeviceMemoryError, match="bytes of device memory are needed and 1000 are"):
        LoadedModel(small, read(model.build())).prepare()


def test_the_boxes_of_a_detector(runtime: Runtime) -> None:
    options = flexbuffers.Builder()
    numbers = {"max_detections": 10, "max_classes_per_detection": 1, "num_classes": 3,
               "use_regular_nms": 0, "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0,
               "w_scale": 5.0, "nms_score_threshold": 0.1, "nms_iou_threshold": 0.6}
    with options.Map():
        for name, number in numbers.items():
            (options.Float if isinstance(number, float) else options.Int)(name, number)
    model = ModelBuilder()
    graph = model.graph()
    boxes, scores = graph.input((1, 20, 4)), graph.input((1, 20, 4))
    anchors = np.random.default_rng(9).uniform(0.1, 0.9, (20, 4)).astype("f4")
    graph.outputs(*graph.op(
        "TFLite_Detection_PostProcess", [boxes, scores, graph.const(anchors)],
        [Spec((1, 10, 4)), Spec((1, 10)), Spec((1, 10)), Spec((1,))],
        custom=bytes(options.Finish())))
    blob = model.build()
    same(runtime, blob, oracle.random_inputs(blob))
