"""The schema's names: element types, and the options table of each operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

TYPES = {
    name: getattr(schema.TensorType, name.upper())
    for name in (
        *("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32"),
        *("int64", "uint64", "bool", "complex64", "resource", "variant", "bfloat16"),
    )
} | {
    "bytes": schema.TensorType.STRING,
    "int4": schema.TensorType.INT4,
    "int2": schema.TensorType.INT2,
}

# The options table of an op, where it is not the op's own name in camel case plus "Options".
OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "MEAN": "ReducerOptions",
    "SUM": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_ALL": "ReducerOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "TOPK_V2": "TopKV2Options",
    "PADV2": "PadV2Options",
    "ATAN2": "ATan2Options",
    "CONV_3D_TRANSPOSE": "Conv3DOptions",
    "RANDOM_UNIFORM": "RandomOptions",
    "RANDOM_STANDARD_NORMAL": "RandomOptions",
    "MULTINOMIAL": "RandomOptions",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "BidirectionalSequenceLSTMOptions",
    "BIDIRECTIONAL_SEQUENCE_RNN": "BidirectionalSequenceRNNOptions",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions",
    "LSTM": "LSTMOptions",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "SVDF": "SVDFOptions",
    "RNN": "RNNOptions",
    "RFFT2D": "Rfft2dOptions",
    "LSH_PROJECTION": "LSHProjectionOptions",
    "STABLEHLO_COMPOSITE": "StableHLOCompositeOptions",
}

ENUMS = {
    "padding": schema.Padding,
    "fusedActivationFunction": schema.ActivationFunctionType,
    "weightsFormat": schema.FullyConnectedOptionsWeightsFormat,
    "mode": schema.MirrorPadMode,
    "kernelType": schema.LSTMKernelType,
}
TYPE_FIELDS = {
    *("inDataType", "outDataType", "outputType", "outType", "quantizedBiasType", "idxOutType"),
    *("keyDtype", "valueDtype"),
}


def options_table(name: str) -> str | None:
    """Give the name of an op's options table; None if it has none."""
    if name in OPTIONS:
        return OPTIONS[name]
    table = "".join(_camel(part) for part in name.split("_")) + "Options"
    return table if hasattr(schema, table + "T") else None


def _camel(part: str) -> str:
    digits = part[:-1].isdigit() and part.endswith("D")
    return part if digits else part[:1] + part[1:].lower()


def set_options(operator: Any, name: str, options: Mapping[str, Any] | None) -> None:
    """Give an operator its options; enums and types by their text."""
    table = options_table(name)
    if table is None:
        if options:
            raise ValueError(f"{name} has no options table, but {sorted(options)} are given")
        return
    made = getattr(schema, table + "T")()
    for key, value in _resolved(options or {}):
        if not hasattr(made, key):
            raise ValueError(f"{table} has no field {key}; it has {sorted(vars(made))}")
        setattr(made, key, value)
    if hasattr(schema.BuiltinOptions, table):
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
        operator.builtinOptions = made
    else:
        operator.builtinOptions2Type = getattr(schema.BuiltinOptions2, table)
        operator.builtinOptions2 = made


def _resolved(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, str) and key in TYPE_FIELDS:
            yield key, TYPES[value]
        elif isinstance(value, str) and key in ENUMS:
            yield key, getattr(ENUMS[key], value)
        else:
            yield key, value
