"""What the tables of a .tflite file say, as Python's own values under the schema's names."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from app.engine.flat import quick

DTYPES = {
    schema.TensorType.FLOAT32: "float32", schema.TensorType.FLOAT16: "float16",
    schema.TensorType.FLOAT64: "float64", schema.TensorType.INT8: "int8",
    schema.TensorType.UINT8: "uint8", schema.TensorType.INT16: "int16",
    schema.TensorType.UINT16: "uint16", schema.TensorType.INT32: "int32",
    schema.TensorType.UINT32: "uint32", schema.TensorType.INT64: "int64",
    schema.TensorType.UINT64: "uint64", schema.TensorType.BOOL: "bool",
    schema.TensorType.COMPLEX64: "complex64", schema.TensorType.COMPLEX128: "complex128",
    schema.TensorType.STRING: "bytes", schema.TensorType.RESOURCE: "resource",
    schema.TensorType.VARIANT: "variant", schema.TensorType.INT4: "int4",
    schema.TensorType.INT2: "int2",
}


def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int)}


OPS = _names(schema.BuiltinOperator)
OPTION_TYPES = _names(schema.BuiltinOptions)
OPTION_TYPES_2 = _names(schema.BuiltinOptions2)
ENUMS = {
    "fused_activation_function": _names(schema.ActivationFunctionType),
    "padding": _names(schema.Padding),
    "weights_format": _names(schema.FullyConnectedOptionsWeightsFormat),
    "mode": _names(schema.MirrorPadMode),
    "kernel_type": _names(schema.LSTMKernelType),
    "in_data_type": DTYPES, "out_data_type": DTYPES, "output_type": DTYPES,
    "out_type": DTYPES, "idx_out_type": DTYPES,
}
SKIPPED = {"Init", "GetRootAs"}


def ints(table: Any, name: str) -> tuple[Any, ...]:
    """A vector of numbers; empty without the field."""
    values = getattr(table, name + "AsNumpy")()
    # Without the field the package gives the number 0.
    return () if isinstance(values, int) else tuple(values.tolist())


def options_of(raw: Any) -> dict[str, Any]:
    """An operator's options; "custom" holds the bytes of a custom one."""
    options: dict[str, Any] = {}
    if not raw.CustomOptionsIsNone():
        options["custom"] = bytes(raw.CustomOptionsAsNumpy())
    for types, number, table in (
            (OPTION_TYPES, raw.BuiltinOptionsType(), raw.BuiltinOptions()),
            (OPTION_TYPES_2, raw.BuiltinOptions2Type(), raw.BuiltinOptions2())):
        kind = types.get(number, "NONE")
        if kind != "NONE" and table is not None:
            options.update(_decoded(kind, table))
    return options


def _decoded(kind: str, table: Any) -> dict[str, Any]:
    options: dict[str, Any] = {}
    decoded = getattr(schema, kind)()
    decoded.Init(table.Bytes, table.Pos)
    quick(decoded)
    for name, key in _fields(kind):
        value = _field(decoded, name)
        options[key] = ENUMS[key].get(value, value) if key in ENUMS else value
    return options


@cache
def _fields(kind: str) -> list[tuple[str, str]]:
    """The methods that give a table's fields, each with the name that its option gets."""
    names = [n for n in vars(getattr(schema, kind)) if n[0].isupper() and n not in SKIPPED
             and not n.startswith("GetRootAs")
             and not n.endswith(("AsNumpy", "Length", "IsNone", "BufferHasIdentifier"))]
    return [(n, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", n).lower()) for n in names]


def _field(table: Any, name: str) -> Any:
    if hasattr(table, name + "AsNumpy"):
        return ints(table, name)
    value = getattr(table, name)()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
