"""Check a whole model op by op: each op alone, on the values that TFLite has at that point."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.engine import oracle
from tests.engine.builder import AlignedBuilder

NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


@dataclass(frozen=True, slots=True)
class Step:
    """One op of a model as a model of its own, with its inputs and what TFLite made of them."""

    name: str
    index: int
    blob: bytes
    inputs: list[oracle.Array]
    outputs: list[oracle.Array]


def steps(blob: bytes, inputs: list[oracle.Array]) -> Iterator[Step]:
    """Cut the main graph into its ops; those without data inputs are left out."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(blob), 0)
    ran = judge(blob, inputs)
    graph = model.subgraphs[0]
    for index, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        fed = [int(i) for i in dict.fromkeys(operator.inputs)
               if i >= 0 and not constant(model, graph.tensors[i])]
        if not fed:
            continue
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        yield Step(NAMES[number], index, _alone(model, graph, operator, fed),
                   [ran.get_tensor(i).copy() for i in fed],
                   [ran.get_tensor(int(i)).copy() for i in operator.outputs])


def judge(blob: bytes, inputs: list[oracle.Array]) -> Any:
    """TFLite's own kernels after a run, with all that they made."""
    module = importlib.import_module("ai_edge_litert.interpreter")
    judge = module.Interpreter(
        model_content=blob, num_threads=1, experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    judge.allocate_tensors()
    for detail, array in zip(judge.get_input_details(), inputs, strict=True):
        judge.set_tensor(detail["index"], array)
    judge.invoke()
    return judge


def constant(model: Any, tensor: Any) -> bool:
    """Whether a tensor's numbers are in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _alone(model: Any, graph: Any, operator: Any, fed: list[int]) -> bytes:
    used = [int(i) for i in dict.fromkeys([*operator.inputs, *operator.outputs]) if i >= 0]
    place = {old: new for new, old in enumerate(used)}
    buffers = [schema.BufferT()]
    tensors = []
    for old in used:
        tensor = graph.tensors[old]
        buffer = 0
        if constant(model, tensor):
            buffers.append(model.buffers[tensor.buffer])
            buffer = len(buffers) - 1
        copied = schema.TensorT(**{**vars(tensor), "buffer": buffer})
        tensors.append(copied)
    alone = schema.OperatorT(**{
        **vars(operator), "opcodeIndex": 0,
        "inputs": [place.get(int(i), -1) for i in operator.inputs],
        "outputs": [place[int(i)] for i in operator.outputs]})
    code = model.operatorCodes[operator.opcodeIndex]
    made = schema.ModelT(version=3, operatorCodes=[code], buffers=buffers, subgraphs=[
        schema.SubGraphT(tensors=tensors, operators=[alone], inputs=[place[i] for i in fed],
                         outputs=[place[int(i)] for i in operator.outputs], name="main")])
    builder = AlignedBuilder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def apart(actual: oracle.Array, expected: oracle.Array) -> float:
    """How far two answers are apart: in steps of integers, in parts of the range of floats."""
    if not expected.size:
        return 0.0
    gap = float(np.abs(actual.astype("f8") - expected.astype("f8")).max())
    return gap / (oracle.spread(expected) or 1.0) if expected.dtype.kind == "f" else gap
