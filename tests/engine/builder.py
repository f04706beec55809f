"""Builds small .tflite models: any builtin or custom op, options, constants, several subgraphs.

    model = ModelBuilder()
    graph = model.graph()
    x = graph.input((1, 4, 4, 3))
    y = graph.op("RELU", [x], [Spec((1, 4, 4, 3))])
    graph.outputs(*y)
    blob = model.build()

For one op alone: single_op("ADD", [Spec((2, 3)), np.ones(3, "f4")], [Spec((2, 3))], options={...}).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike, NDArray

from app.tensors import Quantization
from tests.engine.options import TYPES, set_options
from tests.engine.packing import pack

# Ops that the runtimes know from a later version on.
VERSIONS = {"BROADCAST_TO": 2}

@dataclass(frozen=True, slots=True)
class Spec:
    """Shape, type and quantisation of a value that is not a constant.

    Shapes: -1 marks a dimension that the caller may choose.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    quant: Quantization | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor of a graph under construction."""

    index: int
    spec: Spec


class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Puts every byte vector on 16 bytes, as the schema asks of constants."""

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:
        raw = x.tobytes()
        self.StartVector(x.itemsize, x.size, 16 if x.itemsize == 1 else x.itemsize)
        self.head = self.Head() - len(raw)
        self.Bytes[self.Head() : self.Head() + len(raw)] = raw
        return int(self.EndVector())


class ModelBuilder:
    """A model of one or more graphs; the first one is what an interpreter runs."""

    def __init__(self) -> None:
        self._buffers = [schema.BufferT()]
        self._opcodes: dict[tuple[int, str | None, int], int] = {}
        self._graphs: list[GraphBuilder] = []

    def graph(self, name: str = "main") -> GraphBuilder:
        """Start a graph."""
        self._graphs.append(GraphBuilder(self, name))
        return self._graphs[-1]

    def build(self) -> bytes:
        """Serialise the model."""
        model = schema.ModelT(version=3, description="made by a test")
        model.buffers = self._buffers
        model.operatorCodes = [
            schema.OperatorCodeT(
                deprecatedBuiltinCode=min(code, 127),
                builtinCode=code,
                customCode=custom,
                version=version,
            )
            for code, custom, version in self._opcodes
        ]
        model.subgraphs = [graph.table for graph in self._graphs]
        builder = AlignedBuilder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def add_buffer(self, content: NDArray[np.uint8]) -> int:
        """Keep a constant's bytes."""
        self._buffers.append(schema.BufferT(data=content))
        return len(self._buffers) - 1

    def opcode(self, name: str, custom: bool) -> int:
        """Number an op code; the same op has one number."""
        code = 32 if custom else getattr(schema.BuiltinOperator, name)
        key = (code, name if custom else None, VERSIONS.get(name, 1))
        return self._opcodes.setdefault(key, len(self._opcodes))


class GraphBuilder:
    """One graph: add inputs, constants and ops in the order in which they run."""

    def __init__(self, model: ModelBuilder, name: str) -> None:
        self._model = model
        self.table = schema.SubGraphT(name=name, tensors=[], operators=[], inputs=[], outputs=[])

    def input(
        self, shape: Sequence[int], dtype: str = "float32", quant: Quantization | None = None
    ) -> Value:
        """Add an input of the graph."""
        value = self._tensor(Spec(tuple(shape), dtype, quant))
        self.table.inputs.append(value.index)
        return value

    def const(
        self, array: ArrayLike, quant: Quantization | None = None, dtype: str = ""
    ) -> Value:
        """Add a constant; an array of bytes becomes strings, one of int8 may be stored as int4.

        dtype: "int4", or "int2" for bytes that hold four numbers each.
        """
        data = np.asarray(array, order="C")
        packed = pack(data, dtype)
        if packed is not None:
            return self._tensor(Spec(packed.shape, packed.dtype, quant),
                                self._model.add_buffer(packed.content))
        buffer = self._model.add_buffer(np.frombuffer(data.tobytes(), np.uint8))
        return self._tensor(Spec(np.shape(array), str(data.dtype), quant), buffer)

    def blocks(self, array: NDArray[np.int8], scales: Value, size: int) -> Value:
        """Add a constant of int4 of which each so many numbers of a row have a scale."""
        value = self.const(array, Quantization((1.0,), (0,)), "int4")
        self.table.tensors[value.index].quantization = schema.QuantizationParametersT(
            detailsType=schema.QuantizationDetails.BlockwiseQuantization,
            details=schema.BlockwiseQuantizationT(scales=scales.index, zeroPoints=-1,
                                                  blockSize=size))
        return value

    def variable(self, spec: Spec) -> Value:
        """Add a state tensor of the old kind, kept from one invocation to the next."""
        return self._tensor(spec, variable=True)

    def op(
        self,
        name: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[Spec],
        options: Mapping[str, Any] | None = None,
        custom: bytes | None = None,
    ) -> list[Value]:
        """Add an operation; options by the schema's names, enums by their text.

        custom: the options' bytes of a custom op, b"" if it has none.
        """
        made = [self._tensor(spec) for spec in outputs]
        operator = schema.OperatorT(
            opcodeIndex=self._model.opcode(name, custom is not None),
            inputs=[-1 if value is None else value.index for value in inputs],
            outputs=[value.index for value in made],
        )
        if custom is not None:
            operator.customOptions = np.frombuffer(custom, np.uint8)
        else:
            set_options(operator, name, options)
        self.table.operators.append(operator)
        return made

    def intermediates(self, *specs: Spec) -> None:
        """Give the last operation tensors that only tell what it computes inside."""
        self.table.operators[-1].intermediates = [self._tensor(spec).index for spec in specs]

    def outputs(self, *values: Value) -> None:
        """Name the graph's outputs."""
        self.table.outputs.extend(value.index for value in values)

    def _tensor(self, spec: Spec, buffer: int = 0, variable: bool = False) -> Value:
        index = len(self.table.tensors)
        tensor = schema.TensorT(
            shape=[1 if extent < 0 else extent for extent in spec.shape],
            type=TYPES[spec.dtype],
            buffer=buffer,
            name=f"t{index}",
            isVariable=variable,
            hasRank=True,
        )
        if -1 in spec.shape:
            tensor.shapeSignature = list(spec.shape)
        if spec.quant is not None:
            tensor.quantization = schema.QuantizationParametersT(
                scale=np.array(spec.quant.scales, np.float32),
                zeroPoint=np.array(spec.quant.zero_points, np.int64),
                quantizedDimension=spec.quant.axis,
            )
        self.table.tensors.append(tensor)
        return Value(index, spec)


def single_op(
    name: str,
    inputs: Sequence[Spec | ArrayLike | tuple[ArrayLike, Quantization] | None],
    outputs: Sequence[Spec],
    options: Mapping[str, Any] | None = None,
    custom: bytes | None = None,
) -> bytes:
    """Build a model of one op: a Spec becomes an input, an array (with quantisation) a constant."""
    model = ModelBuilder()
    graph = model.graph()
    values: list[Value | None] = []
    for given in inputs:
        if given is None:
            values.append(None)
        elif isinstance(given, Spec):
            values.append(graph.input(given.shape, given.dtype, given.quant))
        elif isinstance(given, tuple) and isinstance(given[1], Quantization):
            values.append(graph.const(*given))
        else:
            values.append(graph.const(given))
    graph.outputs(*graph.op(name, values, outputs, options, custom))
    return model.build()
