"""One example of every operation on whole tensors: arithmetic, shapes, products, pools."""

from __future__ import annotations

import numpy as np

from tests.engine.examples.case import Case, data, f4, i4, of

SAME = {"padding": "SAME", "strideH": 1, "strideW": 1}
POOL = {**SAME, "filterHeight": 2, "filterWidth": 2}
UNARY = ("ABS", "NEG", "FLOOR", "CEIL", "ROUND", "EXP", "LOG", "SQRT", "RSQRT", "SIN", "COS",
         "SQUARE", "SIGN", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LOGISTIC", "TANH",
         "ELU", "GELU", "HARD_SWISH", "ZEROS_LIKE")
BINARY = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SQUARED_DIFFERENCE",
          "FLOOR_DIV", "FLOOR_MOD")
COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
REDUCTIONS = ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN")

X = data(2, 3, 4)
CASES: dict[str, Case] = {
    **{op: Case((X,), (X,)) for op in UNARY},
    **{op: Case((X, data(3, 1)), (X,)) for op in BINARY},
    **{op: Case((X, data(3, 1)), (of("bool", 2, 3, 4),)) for op in COMPARISONS},
    **{op: Case((X, i4(1)), (data(2, 4),), {"keepDims": False}) for op in REDUCTIONS},
    **{op: Case((of("bool", 2, 3, 4), i4(1)), (of("bool", 2, 4),), {"keepDims": False})
       for op in ("REDUCE_ANY", "REDUCE_ALL")},
    **{op: Case((of("bool", 3, 4), of("bool", 4)), (of("bool", 3, 4),))
       for op in ("LOGICAL_AND", "LOGICAL_OR")},
    "LOGICAL_NOT": Case((of("bool", 3, 4),), (of("bool", 3, 4),)),
    **{op: Case((data(3, 4), data(3, 4)), (data(3, 4),), dtype="int32")
       for op in ("BITWISE_XOR", "RIGHT_SHIFT")},
    "ATAN2": Case((X, X), (X,)),
    "LEAKY_RELU": Case((X,), (X,), {"alpha": 0.2}),
    "PRELU": Case((data(1, 2, 3, 4), f4(1, 1, 4)), (data(1, 2, 3, 4),)),
    "SOFTMAX": Case((X,), (X,), {"beta": 1.0}),
    "LOG_SOFTMAX": Case((X,), (X,)),
    "L2_NORMALIZATION": Case((data(2, 4),), (data(2, 4),)),
    "LOCAL_RESPONSE_NORMALIZATION": Case((data(1, 2, 3, 8),), (data(1, 2, 3, 8),),
                                         {"radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.5}),
    "ADD_N": Case((X, X, X), (X,)),
    "CUMSUM": Case((X, np.array(1, "i4")), (X,), {}),
    "CONV_2D": Case((data(1, 5, 5, 3), f4(4, 3, 3, 3), f4(4)), (data(1, 5, 5, 4),), SAME),
    "DEPTHWISE_CONV_2D": Case((data(1, 5, 5, 3), f4(1, 3, 3, 3), f4(3)), (data(1, 5, 5, 3),),
                              {**SAME, "depthMultiplier": 1}),
    "TRANSPOSE_CONV": Case((i4(1, 6, 6, 4), f4(4, 3, 3, 3), data(1, 3, 3, 3)),
                           (data(1, 6, 6, 4),), {"padding": "SAME", "strideH": 2, "strideW": 2}),
    "CONV_3D": Case((data(1, 4, 5, 5, 2), f4(2, 3, 3, 2, 4), f4(4)), (data(1, 4, 5, 5, 4),),
                    {**SAME, "strideD": 1}),
    "CONV_3D_TRANSPOSE": Case((i4(1, 4, 6, 6, 4), f4(2, 3, 3, 4, 2), data(1, 2, 3, 3, 2)),
                              (data(1, 4, 6, 6, 4),),
                              {"padding": "SAME", "strideD": 2, "strideH": 2, "strideW": 2}),
    "FULLY_CONNECTED": Case((data(3, 8), f4(5, 8), f4(5)), (data(3, 5),), {}),
    "BATCH_MATMUL": Case((data(2, 3, 4), data(2, 4, 5)), (data(2, 3, 5),), {}),
    **{op: Case((data(1, 4, 4, 3),), (data(1, 4, 4, 3),), POOL)
       for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")},
    "RESIZE_BILINEAR": Case((data(1, 3, 4, 2), i4(6, 5)), (data(1, 6, 5, 2),), {}),
    "RESIZE_NEAREST_NEIGHBOR": Case((data(1, 3, 4, 2), i4(6, 5)), (data(1, 6, 5, 2),), {}),
    "CONCATENATION": Case((data(2, 3), data(2, 4)), (data(2, 7),), {"axis": 1}),
    "SPLIT": Case((np.array(1, "i4"), data(2, 6)), (data(2, 3), data(2, 3)), {"numSplits": 2}),
    "SPLIT_V": Case((data(2, 6), i4(2, 4), np.array(1, "i4")), (data(2, 2), data(2, 4)),
                    {"numSplits": 2}),
    "PACK": Case((data(2, 3), data(2, 3)), (data(2, 2, 3),), {"axis": 1, "valuesCount": 2}),
    "UNPACK": Case((data(2, 3),), (data(3), data(3)), {"axis": 0, "num": 2}),
    "SLICE": Case((data(4, 5), i4(1, 2), i4(2, 3)), (data(2, 3),)),
    "STRIDED_SLICE": Case((data(4, 5), i4(0, 4), i4(4, 0), i4(2, -2)), (data(2, 2),), {}),
    "PAD": Case((data(2, 3), i4([1, 0], [2, 1])), (data(3, 6),)),
    "PADV2": Case((data(2, 3), i4([1, 0], [2, 1]), np.float32(2.5)), (data(3, 6),)),
    "MIRROR_PAD": Case((data(2, 3), i4([1, 0], [2, 1])), (data(3, 6),), {"mode": "REFLECT"}),
    "TRANSPOSE": Case((X, i4(2, 0, 1)), (data(4, 2, 3),)),
    "RESHAPE": Case((X, i4(6, 4)), (data(6, 4),), {"newShape": [6, 4]}),
    "SQUEEZE": Case((data(2, 1, 3),), (data(2, 3),), {"squeezeDims": [1]}),
    "EXPAND_DIMS": Case((data(2, 3), np.array(1, "i4")), (data(2, 1, 3),)),
    "TILE": Case((data(2, 3), i4(2, 1)), (data(4, 3),)),
    "BROADCAST_TO": Case((data(3, 1), i4(2, 3, 4)), (data(2, 3, 4),)),
    "REVERSE_V2": Case((X, i4(1)), (X,)),
    "DEPTH_TO_SPACE": Case((data(1, 2, 2, 8),), (data(1, 4, 4, 2),), {"blockSize": 2}),
    "SPACE_TO_DEPTH": Case((data(1, 4, 4, 2),), (data(1, 2, 2, 8),), {"blockSize": 2}),
    "SPACE_TO_BATCH_ND": Case((data(1, 4, 4, 2), i4(2, 2), i4([0, 0], [0, 0])),
                              (data(4, 2, 2, 2),)),
    "BATCH_TO_SPACE_ND": Case((data(4, 2, 2, 2), i4(2, 2), i4([0, 0], [0, 0])),
                              (data(1, 4, 4, 2),)),
    "GATHER": Case((data(5, 3), i4(4, 0, 2)), (data(3, 3),), {"axis": 0}),
    "GATHER_ND": Case((data(4, 3, 2), i4([1, 2], [3, 0])), (data(2, 2),)),
    "EMBEDDING_LOOKUP": Case((of("int32", 3), f4(6, 4)), (of("float32", 3, 4),),
                             values=(i4(5, 0, 2),)),
    "ONE_HOT": Case((of("int32", 5), np.array(4, "i4"), np.float32(2), np.float32(-1)),
                    (of("float32", 5, 4),), {"axis": -1}, (i4(0, 3, 1, -1, 2),)),
    "SELECT": Case((of("bool", 3, 4), data(3, 4), data(3, 4)), (data(3, 4),)),
    "SELECT_V2": Case((of("bool", 3, 1), data(3, 4), data(4)), (data(3, 4),)),
    "ARG_MAX": Case((X, np.array(2, "i4")), (of("int64", 2, 3),), {"outputType": "int64"}),
    "ARG_MIN": Case((X, np.array(2, "i4")), (of("int64", 2, 3),), {"outputType": "int64"}),
    "TOPK_V2": Case((data(3, 7), np.array(2, "i4")), (data(3, 2), of("int32", 3, 2))),
    "CAST": Case((data(3, 4),), (of("int32", 3, 4),), {"inDataType": "float32",
                                                       "outDataType": "int32"}),
    "QUANTIZE": Case((of("float32", 3, 4),), (data(3, 4),), dtype="int8"),
    "DEQUANTIZE": Case((data(3, 4),), (of("float32", 3, 4),), dtype="int8"),
    "SHAPE": Case((X,), (of("int32", 3),), {"outType": "int32"}),
    "RANK": Case((X,), (of("int32"),)),
    "FILL": Case((i4(2, 3), data()), (data(2, 3),)),
    "RANGE": Case((data(), data(), data()), (data(4),), values=tuple(
        np.float32(v) for v in (0, 2, 0.5))),
}
