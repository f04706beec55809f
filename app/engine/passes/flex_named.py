"""TensorFlow's operations that have a numpy version here: their names, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping

from app.engine.passes.node_def import Attribute

Given = Mapping[str, Attribute]
NONE: Given = {}
# The name here, and the attributes that count with what they are where the file leaves them out.
NAMED: dict[str, tuple[str, Given]] = {
    "AdjustContrastv2": ("ADJUST_CONTRAST", NONE),
    "AdjustHue": ("ADJUST_HUE", NONE),
    "AdjustSaturation": ("ADJUST_SATURATION", NONE),
    "CTCBeamSearchDecoder": ("CTC_BEAM_SEARCH_DECODER",
                             {"beam_width": 1, "top_paths": 1, "merge_repeated": 1}),
    "CTCGreedyDecoder": ("CTC_GREEDY_DECODER", {"merge_repeated": 0, "blank_index": -1}),
    "Cholesky": ("CHOLESKY", NONE),
    "CombinedNonMaxSuppression": ("COMBINED_NON_MAX_SUPPRESSION",
                                  {"pad_per_class": 0, "clip_boxes": 1}),
    "CropAndResize": ("CROP_AND_RESIZE", {"method": "bilinear", "extrapolation_value": 0.0}),
    "CumulativeLogsumexp": ("CUMULATIVE_LOGSUMEXP", {"exclusive": 0, "reverse": 0}),
    "DenseBincount": ("DENSE_BINCOUNT", {"binary_output": 0}),
    "DynamicPartition": ("DYNAMIC_PARTITION", NONE),
    "HSVToRGB": ("HSV_TO_RGB", NONE),
    "InTopKV2": ("IN_TOP_K", NONE),
    "LogMatrixDeterminant": ("LOG_MATRIX_DETERMINANT", NONE),
    "LowerBound": ("LOWER_BOUND", NONE),
    "MatrixDiagV3": ("MATRIX_DIAG_AT", NONE),
    "MatrixSetDiagV3": ("MATRIX_SET_DIAG_AT", NONE),
    "MatrixDeterminant": ("MATRIX_DETERMINANT", NONE),
    "MatrixInverse": ("MATRIX_INVERSE", {"adjoint": 0}),
    "MatrixTriangularSolve": ("MATRIX_TRIANGULAR_SOLVE", {"lower": 1, "adjoint": 0}),
    "MaxPoolWithArgmax": ("MAX_POOL_WITH_ARGMAX",
                          {"ksize": (), "strides": (), "padding": "",
                           "include_batch_in_index": 0}),
    "Qr": ("QR", {"full_matrices": 0}),
    "RGBToHSV": ("RGB_TO_HSV", NONE),
    "RaggedTensorToTensor": ("RAGGED_TENSOR_TO_TENSOR", {"row_partition_types": ()}),
    "ResizeBicubic": ("RESIZE_BICUBIC", {"align_corners": 0, "half_pixel_centers": 0}),
    "Roll": ("ROLL", NONE),
    "SegmentMax": ("SEGMENT_MAX", NONE),
    "SegmentMean": ("SEGMENT_MEAN", NONE),
    "SegmentMin": ("SEGMENT_MIN", NONE),
    "SegmentProd": ("SEGMENT_PROD", NONE),
    "SparseFillEmptyRows": ("SPARSE_FILL_EMPTY_ROWS", NONE),
    "SparseSegmentMean": ("SPARSE_SEGMENT_MEAN", NONE),
    "SparseSegmentSqrtN": ("SPARSE_SEGMENT_SQRT_N", NONE),
    "SparseSegmentSum": ("SPARSE_SEGMENT_SUM", NONE),
    "SparseTensorDenseMatMul": ("SPARSE_TENSOR_DENSE_MATMUL", {"adjoint_a": 0, "adjoint_b": 0}),
    "StaticRegexFullMatch": ("STATIC_REGEX_FULL_MATCH", {"pattern": ""}),
    "StaticRegexReplace": ("STATIC_REGEX_REPLACE",
                           {"pattern": "", "rewrite": "", "replace_global": 1}),
    "StringJoin": ("STRING_JOIN", {"separator": ""}),
    "StringLength": ("STRING_LENGTH", {"unit": "BYTE"}),
    "StringLower": ("STRING_LOWER", {"encoding": ""}),
    "StringSplitV2": ("STRING_SPLIT_V2", {"maxsplit": -1}),
    "StringStrip": ("STRING_STRIP", NONE),
    "StringToHashBucketFast": ("STRING_TO_HASH_BUCKET_FAST", {"num_buckets": 0}),
    "StringToHashBucketStrong": ("STRING_TO_HASH_BUCKET_STRONG", {"num_buckets": 0, "key": ()}),
    "StringToNumber": ("STRING_TO_NUMBER", NONE),
    "StringUpper": ("STRING_UPPER", {"encoding": ""}),
    "Substr": ("SUBSTR", {"unit": "BYTE"}),
    "UniqueV2": ("UNIQUE_V2", NONE),
    "UniqueWithCounts": ("UNIQUE_WITH_COUNTS", NONE),
    "UpperBound": ("UPPER_BOUND", NONE),
}
# TFLite's own, which it has for fewer types of number: complex ones above all.
OWN: dict[str, tuple[str, Given]] = {
    "AddV2": ("ADD", NONE), "Sub": ("SUB", NONE), "Mul": ("MUL", NONE), "RealDiv": ("DIV", NONE),
    "Exp": ("EXP", NONE), "Log": ("LOG", NONE), "Neg": ("NEG", NONE), "Pow": ("POW", NONE),
    "SelectV2": ("SELECT_V2", NONE), "Sqrt": ("SQRT", NONE), "Square": ("SQUARE", NONE),
    "Tile": ("TILE", NONE), "Transpose": ("TRANSPOSE", NONE),
    "Sum": ("SUM", {"keep_dims": 0}), "Mean": ("MEAN", {"keep_dims": 0}),
    "Pack": ("PACK", {"axis": 0}), "LeftShift": ("LEFT_SHIFT", NONE),
}
