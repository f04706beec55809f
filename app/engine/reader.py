"""A .tflite file becomes a Model: frozen graphs whose constants are views of the file's bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from app.engine import identifier
from app.engine.fields import DTYPES, OPS, ints, options_of
from app.engine.flat import quick
from app.engine.ir import Data, Graph, Model, Node, Signature, Sparsity, Tensor
from app.engine.strings import decoded
from app.engine.subbyte import STORED, unpacked
from app.errors import InvalidModel
from app.tensors import Quantization

OPAQUE = {"bytes", "resource", "variant"}
# Operations whose kernels bound their results for an activation, and the activations that are no
# bounds: they pass over these. Source: TFLite kernels/kernel_util.cc, CalculateActivationRange.
BOUNDED = {"ADD", "SUB", "MUL", "DIV", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D",
           "CONV_3D_TRANSPOSE", "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"}
UNBOUNDED = {"TANH", "SIGN_BIT"}


def read(blob: bytes) -> Model:
    """Decode a .tflite file.

    Raises: InvalidModel if it is not one, is damaged, or refers to what it does not hold.
    Source: tensorflow/lite/schema/schema.fbs.
    """
    identifier.check(blob)
    try:
        return _Reader(blob).model()
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, KeyError,
            OverflowError, MemoryError, UnicodeDecodeError) as error:
        raise InvalidModel(f"the TFLite file is damaged: {error}") from error


class _Reader:
    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.root = quick(schema.Model.GetRootAs(blob, 0))
        self.siblings: dict[int, Graph] = {}
        self.codes = [self._code(i) for i in range(self.root.OperatorCodesLength())]

    def model(self) -> Model:
        if not self.root.SubgraphsLength():
            raise ValueError("it has no subgraph")
        tensors = [self._tensors(quick(self.root.Subgraphs(i)))
                   for i in range(self.root.SubgraphsLength())]
        graphs = [self._graph(i, t) for i, t in enumerate(tensors)]
        if len(graphs) > 1:
            self.siblings.update(enumerate(graphs))
        description = (self.root.Description() or b"").decode("utf-8", "replace")
        return Model(tuple(graphs), self._signatures(tensors), description, self.blob)

    def _code(self, index: int) -> str:
        code = quick(self.root.OperatorCodes(index))
        # Files from before 2020 hold the number in the narrow field only.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            return "CUSTOM:" + (code.CustomCode() or b"?").decode("utf-8", "replace")
        return OPS.get(number, f"BUILTIN:{number}")

    def _buffer(self, index: int) -> Data | None:
        if index == 0:
            return None
        if index >= self.root.BuffersLength():
            raise ValueError(f"buffer {index} does not exist")
        buffer = quick(self.root.Buffers(index))
        if buffer.Offset() > 1:
            end = buffer.Offset() + buffer.Size()
            if end > len(self.blob):
                raise ValueError(f"buffer {index} ends behind the file")
            return np.frombuffer(self.blob, np.uint8, buffer.Size(), buffer.Offset())
        if not buffer.DataLength():
            return None
        data: Data = buffer.DataAsNumpy()
        if data.size != buffer.DataLength():
            raise ValueError(f"buffer {index} ends behind the file")
        return data

    def _tensors(self, graph: Any) -> list[Tensor]:
        inputs = set(ints(graph, "Inputs"))
        rows = [quick(graph.Tensors(i)) for i in range(graph.TensorsLength())]
        found = [self._tensor(raw, i in inputs) for i, raw in enumerate(rows)]
        found = [self._in_blocks(found, i, raw) for i, raw in enumerate(rows)]
        if not any(0 in t.shape for t in found):
            return found
        operators = (quick(graph.Operators(n)) for n in range(graph.OperatorsLength()))
        made = {i for operator in operators for i in ints(operator, "Outputs")}
        # A constant without elements has no bytes in the file either.
        return [replace(t, data=np.empty(t.shape, STORED.get(t.dtype, t.dtype)))
                if 0 in t.shape and t.data is None and t.dtype not in OPAQUE
                and i not in made and i not in inputs else t for i, t in enumerate(found)]

    def _tensor(self, raw: Any, is_input: bool) -> Tensor:
        shape = ints(raw, "Shape")
        signature = ints(raw, "ShapeSignature")
        if len(signature) == len(shape):
            shape = tuple(-1 if s < 0 else e for s, e in zip(signature, shape, strict=True))
        dtype = DTYPES.get(raw.Type(), "variant")
        sparsity = _sparsity(raw.Sparsity())
        name = (raw.Name() or b"").decode("utf-8", "replace")
        variable = bool(raw.IsVariable())
        data = None if is_input or variable else self._data(raw, shape, dtype, sparsity)
        quant = _quant(raw.Quantization())
        return Tensor(name, shape, dtype, data, quant, variable, sparsity)

    def _in_blocks(self, tensors: list[Tensor], row: int, raw: Any) -> Tensor:
        """A tensor whose scales are one of its own graph's tensors, one for each block."""
        quant = _details(raw.Quantization())
        if quant is None:
            return tensors[row]
        found = _pick(tensors, quant.Scales()).data
        zeros = None if quant.ZeroPoints() < 0 else _pick(tensors, quant.ZeroPoints()).data
        block, shape = quant.BlockSize(), tensors[row].shape
        if found is None or not shape or block < 1 or found.size * block != tensors[row].size:
            raise ValueError(f"the tensor {tensors[row].name!r} has no scale for each block of "
                             f"{block} of its numbers")
        scales = tuple(found.reshape(-1).astype(np.float32).tolist())
        points = (0,) * len(scales) if zeros is None else tuple(zeros.reshape(-1).tolist())
        return replace(tensors[row], quant=Quantization(scales, points, len(shape) - 1, block))

    def _data(self, raw: Any, shape: tuple[int, ...], dtype: str,
              sparsity: Sparsity | None) -> Data | None:
        data = self._buffer(raw.Buffer())
        if data is None or dtype in OPAQUE:
            return decoded(data, shape) if data is not None and dtype == "bytes" else data
        if dtype in STORED:
            return unpacked(data, shape, dtype)
        data = data.view(dtype)
        if sparsity is not None:
            return data
        return data.reshape(shape)

    def _graph(self, index: int, tensors: list[Tensor]) -> Graph:
        raw = quick(self.root.Subgraphs(index))
        nodes = [self._node(quick(raw.Operators(i)), tensors, i, index)
                 for i in range(raw.OperatorsLength())]
        inputs, outputs = (tuple(_pick(tensors, i) for i in ints(raw, name))
                           for name in ("Inputs", "Outputs"))
        check_order(nodes, inputs, outputs)
        name = (raw.Name() or b"").decode("utf-8", "replace")
        return Graph(name, tuple(nodes), inputs, outputs, index, self.blob, self.siblings)

    def _node(self, raw: Any, tensors: list[Tensor], index: int, graph: int) -> Node:
        inputs = tuple(None if i == -1 else _pick(tensors, i) for i in ints(raw, "Inputs"))
        outputs = tuple(_pick(tensors, i) for i in ints(raw, "Outputs"))
        options = options_of(raw)
        intermediates = ints(raw, "Intermediates")
        if intermediates:
            options["intermediates"] = tuple(_pick(tensors, i) for i in intermediates)
        op = self.codes[raw.OpcodeIndex()]
        if op in BOUNDED and options.get("fused_activation_function") in UNBOUNDED:
            options["fused_activation_function"] = "NONE"
        return Node(op, inputs, outputs, options, index=index, graph=graph)

    def _signatures(self, tensors: list[list[Tensor]]) -> tuple[Signature, ...]:
        found = []
        for i in range(self.root.SignatureDefsLength()):
            raw = self.root.SignatureDefs(i)
            own = tensors[raw.SubgraphIndex()]
            ins = (raw.Inputs(j) for j in range(raw.InputsLength()))
            outs = (raw.Outputs(j) for j in range(raw.OutputsLength()))
            found.append(Signature((raw.SignatureKey() or b"").decode(), raw.SubgraphIndex(),
                                   {m.Name().decode(): own[m.TensorIndex()].name for m in ins},
                                   {m.Name().decode(): own[m.TensorIndex()].name for m in outs}))
        return tuple(found)


def check_order(nodes: Sequence[Node], inputs: Sequence[Tensor],
                outputs: Sequence[Tensor]) -> None:
    """Make sure that everything is there before it is read or given, and is made once.

    Raises: ValueError that names the operator and the tensor.
    """
    there = set(inputs)
    for node in nodes:
        for tensor in node.reads:
            if tensor not in there and tensor.data is None and not tensor.is_variable:
                raise ValueError(f"operator {node.index} ({node.op}) reads the tensor "
                                 f"{tensor.name!r}, which nothing before it makes")
        for tensor in node.outputs:
            if tensor in there or tensor.data is not None:
                raise ValueError(f"operator {node.index} ({node.op}) writes the tensor "
                                 f"{tensor.name!r}, which is there already")
            there.add(tensor)
    for tensor in outputs:
        if tensor not in there and tensor.data is None and not tensor.is_variable:
            raise ValueError(f"nothing makes the output {tensor.name!r}")


def _pick(tensors: list[Tensor], index: int) -> Tensor:
    if not 0 <= index < len(tensors):
        raise ValueError(f"tensor {index} does not exist")
    return tensors[index]


def _quant(raw: Any) -> Quantization | None:
    scales = () if raw is None else ints(quick(raw), "Scale")
    if not scales:
        return None
    zeros = ints(raw, "ZeroPoint")
    if len(zeros) != len(scales):
        zeros = (zeros or (0,))[:1] * len(scales)
    return Quantization(scales, zeros, int(raw.QuantizedDimension()))


def _details(raw: Any) -> Any:
    """What a quantisation in blocks says; None of any other."""
    kind = schema.QuantizationDetails.BlockwiseQuantization
    if raw is None or raw.DetailsType() != kind:
        return None
    details = schema.BlockwiseQuantization()
    details.Init(raw.Details().Bytes, raw.Details().Pos)
    return quick(details)


def _sparsity(raw: Any) -> Sparsity | None:
    if raw is None:
        return None
    dimensions = tuple(_dimension(quick(raw.DimMetadata(i)))
                       for i in range(raw.DimMetadataLength()))
    return Sparsity(ints(raw, "TraversalOrder"), ints(raw, "BlockMap"), dimensions)


INDEX_VECTORS = {1: schema.Int32Vector, 2: schema.Uint16Vector, 3: schema.Uint8Vector}


def _dimension(raw: Any) -> tuple[Any, ...]:
    if raw.Format() == schema.DimensionType.DENSE:
        return ("dense", int(raw.DenseSize()))
    vectors = []
    for kind, table in ((raw.ArraySegmentsType(), raw.ArraySegments()),
                        (raw.ArrayIndicesType(), raw.ArrayIndices())):
        vector = INDEX_VECTORS[kind]()
        vector.Init(table.Bytes, table.Pos)
        vectors.append(np.asarray(vector.ValuesAsNumpy(), np.int64))
    return ("csr", *vectors)
