"""Some nodes of a model as a .tflite file of their own, so that the CPU's runtime can run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from app.engine.ir import Data, Node, Tensor
from app.engine.strings import encoded
from app.engine.subbyte import BITS, packed

CONTROL = {"IF", "WHILE", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE",
           "STABLEHLO_COMPOSITE", "STABLEHLO_REDUCE", "STABLEHLO_SORT", "STABLEHLO_SCATTER",
           "STABLEHLO_REDUCE_WINDOW"}


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Puts every byte vector on 16 bytes, as the schema asks of constants."""

    def CreateNumpyVector(self, x: Data) -> int:
        raw = x.tobytes()
        self.StartVector(x.itemsize, x.size, 16 if x.itemsize == 1 else x.itemsize)
        self.head = self.Head() - len(raw)
        self.Bytes[self.Head():self.Head() + len(raw)] = raw
        return int(self.EndVector())


def build(blob: bytes, nodes: Sequence[Node], inputs: Sequence[Tensor],
          outputs: Sequence[Tensor]) -> bytes:
    """Serialise nodes of a file with the shapes and constants they have by now.

    Operators are copied from the file as they are, so that options nobody here decodes survive.
    Raises: ValueError if a node is not one of the file's own.
    """
    maker = _Maker(blob, any(n.op in CONTROL for n in nodes))
    for tensor in inputs:
        maker.reserve(tensor)
    for node in nodes:
        maker.add(node)
    return maker.finish(inputs, outputs)


class _Maker:
    def __init__(self, blob: bytes, whole: bool) -> None:
        self.blob = blob
        self.root = schema.Model.GetRootAs(blob, 0)
        # Control flow names other subgraphs by number: they come along in their places.
        self.model = self._whole() if whole else schema.ModelT(
            version=3, buffers=[schema.BufferT()], subgraphs=[None])
        self.model.operatorCodes = [schema.OperatorCodeT.InitFromObj(self.root.OperatorCodes(i))
                                    for i in range(self.root.OperatorCodesLength())]
        self.table = schema.SubGraphT(name="part", tensors=[], operators=[], inputs=[], outputs=[])
        self.places: dict[Tensor, int] = {}
        self.wanted: set[Tensor] = set()

    def _whole(self) -> Any:
        model = schema.ModelT.InitFromObj(self.root)
        model.signatureDefs, model.metadata, model.metadataBuffer = None, None, None
        used = {t.buffer for g in model.subgraphs[1:] for t in g.tensors or ()}
        for index, buffer in enumerate(model.buffers):
            if index not in used:
                buffer.data = None
            elif buffer.offset > 1:
                buffer.data = np.frombuffer(self.blob, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
        return model

    def reserve(self, tensor: Tensor) -> None:
        self.wanted.add(tensor)

    def add(self, node: Node) -> None:
        raw = self.root.Subgraphs(node.graph)
        if not 0 <= node.index < raw.OperatorsLength():
            raise ValueError(f"{node.op} is not an operator of the file")
        made = schema.OperatorT.InitFromObj(raw.Operators(node.index))
        if not _same(node, self.model.operatorCodes[made.opcodeIndex]):
            raise ValueError(f"{node.op} stands for another operator of the file")
        rows = _ints(made.inputs)
        if len(rows) != len(node.inputs):
            raise ValueError(f"{node.op} was changed; it is not the file's operator any more")
        made.inputs = [-1 if t is None else self._place(raw, t, row)
                       for t, row in zip(node.inputs, rows, strict=True)]
        made.outputs = [self._place(raw, t, row) for t, row in
                        zip(node.outputs, _ints(made.outputs), strict=True)]
        if made.intermediates is not None:
            made.intermediates = [self._copied(raw, row) for row in _ints(made.intermediates)]
        self.table.operators.append(made)

    def _place(self, raw: Any, tensor: Tensor, row: int) -> int:
        if tensor not in self.places:
            index = self._copied(raw, row)
            made = self.table.tensors[index]
            made.shape = [max(int(e), 0) for e in tensor.shape]
            if -1 in tensor.shape:
                made.shapeSignature = [int(e) for e in tensor.shape]
            made.buffer = 0
            if tensor.data is not None and tensor not in self.wanted:
                made.buffer = self._constant(tensor)
                made.sparsity = made.sparsity if tensor.sparsity is not None else None
            self.places[tensor] = index
        return self.places[tensor]

    def _copied(self, raw: Any, row: int) -> int:
        made = schema.TensorT.InitFromObj(raw.Tensors(row))
        # The CPU's runtime tells tensors apart by number; names may be no text, which it chokes on.
        made.name, made.buffer, made.shapeSignature = "", 0, None
        details = made.quantization.details if made.quantization is not None else None
        if isinstance(details, schema.BlockwiseQuantizationT):
            details.scales = self._beside(raw, details.scales)
            details.zeroPoints = self._beside(raw, details.zeroPoints)
        self.table.tensors.append(made)
        return len(self.table.tensors) - 1

    def _beside(self, raw: Any, row: int) -> int:
        """A constant that another tensor names: the scales of its blocks."""
        if row < 0:
            return row
        index = self._copied(raw, row)
        buffer = self.root.Buffers(raw.Tensors(row).Buffer())
        content = (np.frombuffer(self.blob, np.uint8, buffer.Size(), buffer.Offset())
                   if buffer.Offset() > 1 else buffer.DataAsNumpy())
        self.model.buffers.append(schema.BufferT(data=content))
        self.table.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def _constant(self, tensor: Tensor) -> int:
        assert tensor.data is not None
        flat: Data = (encoded(tensor.data) if tensor.dtype == "bytes"
                      else np.ascontiguousarray(tensor.data).reshape(-1))
        if tensor.dtype in BITS:
            flat = packed(flat, tensor.dtype)
        self.model.buffers.append(schema.BufferT(data=flat.view(np.uint8)))
        return len(self.model.buffers) - 1

    def finish(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> bytes:
        self.table.inputs = [self.places[t] for t in inputs]
        self.table.outputs = [self.places[t] for t in outputs]
        self.model.subgraphs[0] = self.table
        self._drop_codes()
        builder = _AlignedBuilder(4096)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


    def _drop_codes(self) -> None:
        # A runtime refuses a file for an operation that it does not know and nobody uses.
        operators = [o for g in self.model.subgraphs for o in g.operators or ()]
        used = sorted({int(o.opcodeIndex) for o in operators})
        self.model.operatorCodes = [self.model.operatorCodes[i] for i in used]
        for operator in operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)


def _same(node: Node, code: Any) -> bool:
    number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    if number == schema.BuiltinOperator.CUSTOM:
        return node.op.startswith("CUSTOM:")
    return node.op == f"BUILTIN:{number}" or getattr(schema.BuiltinOperator, node.op, -1) == number


def _ints(values: Any) -> list[int]:
    return [] if values is None else [int(v) for v in values]
