"""The engine's vocabulary: frozen tensors, nodes and graphs, and the launches ops make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.tensors import Quantization

Data = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Sparsity:
    """How the converter packed a sparse constant; read by the DENSIFY fold.

    Shapes: order and block_map as in the schema; each dimension is ("dense", size) or
            ("csr", segments, indices).
    Source: tflite schema, SparsityParameters.
    """

    order: tuple[int, ...]
    block_map: tuple[int, ...]
    dimensions: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One value of a graph. Compared by identity: two tensors are the same or they are not.

    Shapes: row-major, without any padding; -1 marks a dimension the caller may choose and only
            occurs before passes.specialise.
    Units:  dtype is a numpy dtype name, "int4" or "int2" (constants only; data holds int8), "bytes"
            (TFLite strings) or "resource" (variables).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: Data | None = None
    quant: Quantization | None = None
    is_variable: bool = False
    sparsity: Sparsity | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        """Bytes on the device; booleans take one each."""
        return self.size * np.dtype(self.dtype).itemsize


def integers(*numbers: int) -> Tensor:
    """A constant row of int32, which has no name: axes, extents, places."""
    return Tensor("", (len(numbers),), "int32", np.array(numbers, np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """One elementwise step that a kernel applies to its result before it is stored.

    kind is a key of epilogue.STEPS; operand is its second tensor, where it has one; swapped
    tells that the operand is the left one (SUB, DIV); kept: the operand is the value that the last
    OPEN found.
    """

    kind: str
    operand: Tensor | None = None
    swapped: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation. inputs holds None where an optional input is left out.

    epilogue holds the elementwise operations that passes.fuse moved into this node;
    outputs is then the last one's output. index and graph are the operator's and its subgraph's
    numbers in the file.
    """

    op: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    epilogue: tuple[Fused, ...] = ()
    index: int = -1
    graph: int = 0

    def input(self, position: int) -> Tensor:
        """The input at position, which the op cannot do without.

        Raises: ValueError if the model leaves it out.
        """
        tensor = self.inputs[position] if position < len(self.inputs) else None
        if tensor is None:
            raise ValueError(f"{self.op} needs its input {position}")
        return tensor

    def optional(self, position: int) -> Tensor | None:
        """The input at position or None."""
        return self.inputs[position] if position < len(self.inputs) else None

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """Every tensor that is read, operands of the epilogue included."""
        every = self.inputs
        if self.epilogue:
            every = (*every, *(step.operand for step in self.epilogue))
        return tuple([t for t in every if t is not None])


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """One subgraph; nodes are in an order in which they can run.

    index is its number in the file, blob the whole file, which the CPU's part is cut from;
    siblings are the file's graphs by number, which control flow refers to.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    index: int = 0
    blob: bytes = field(default=b"", repr=False)
    siblings: Mapping[int, Graph] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """A named entry point: the names callers use, mapped to the subgraph's tensor names."""

    key: str
    graph: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A whole .tflite file. graphs[0] is the one that a request runs."""

    graphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...]
    description: str
    blob: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A constant in the layout a kernel wants; packed and uploaded once for all plans of a model.

    tensor is the model's constant, label names the layout (two Consts with the same tensor and
    label are the same buffer), pack makes the array from tensor.data when it is first needed.
    """

    tensor: Tensor
    label: str
    pack: Callable[[Data], Data]


@dataclass(frozen=True, slots=True, eq=False)
class Scratch:
    """Device memory of one node only, placed in the arena. Pass the same object to share it."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Local:
    """Local memory (LDS) of one work-group."""

    nbytes: int


Arg = Tensor | Const | Scratch | Local | np.generic


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """One kernel call, complete but for the device.

    source is the basename of a file in kernels/; defines specialise it (one program per distinct
    source and defines, so keep extents in args unless the compiler needs them). parts are the
    launches that this one runs one after the other: see chains. even: vectors begin at multiples of
    VW elements in every tensor, so that vectors of halves can be moved whole.
    Units: flops counts a multiply-add as two; it only serves reports and the tuner.
    """

    source: str
    kernel: str
    args: tuple[Arg, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...]
    defines: Mapping[str, str | int] = field(default_factory=dict)
    flops: int = 0
    parts: tuple[Launch, ...] = ()
    even: bool = False
