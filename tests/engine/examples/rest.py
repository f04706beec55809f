"""One example of every operation that looks up, chooses, keeps state, or is out of the ordinary."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.engine.examples.case import Case, State, data, f4, i4, of

BOXES = np.array([[0, 0, 1, 1], [0, 0, 1, .9], [.5, .5, 2, 2], [3, 3, 4, 4]], "f4")
SCORES = np.array([.9, .8, .7, .3], "f4")
LIMITS: tuple[Any, ...] = (np.int32(3), np.float32(.5), np.float32(.1))
TANH = {"fusedActivationFunction": "TANH"}
INPUTS, UNITS, STEPS = 3, 4, 5


def lstm(*, cifg: bool = False, peepholes: bool = False, projection: int = 0,
         norms: bool = False) -> tuple[Any, ...]:
    """The inputs of an LSTM op without its states: data, weights, biases, and what is asked for."""
    hidden = projection or UNITS
    gates = [None if cifg and k == 0 else k for k in range(4)]

    def each(*shape: int, seed: int, low: int = 0) -> list[Any]:
        return [None if k is None or k < low else f4(*shape, seed=seed + k) for k in gates]

    return (*each(UNITS, INPUTS, seed=1), *each(UNITS, hidden, seed=11),
            *(each(UNITS, seed=21)[:3] if peepholes else [None] * 3), *each(UNITS, seed=31),
            f4(projection, UNITS) if projection else None, None,
            State((2, hidden)), State((2, UNITS)),
            *(each(UNITS, seed=41) if norms else []))


def both_ways() -> tuple[Any, ...]:
    """A bidirectional LSTM's inputs behind its data."""
    one, states = lstm()[:-2], [State((2, UNITS)), State((2, UNITS))]
    return (*one, *one, *states, *states, *[None] * 9)


SEQUENCE = of("float32", 2, STEPS, INPUTS)
RNN = (f4(UNITS, INPUTS), f4(UNITS, UNITS, seed=8), f4(UNITS, seed=9), State((2, UNITS)))
# Forms of recurrent ops beside the one in CASES.
LSTM_FORMS: dict[str, Case] = {
    name: Case((SEQUENCE, *lstm(**form)),
               (of("float32", 2, STEPS, int(form.get("projection", 0)) or UNITS),),
               {**TANH, "cellClip": 0.4, "projClip": 0.2} if name == "all" else TANH)
    for name, form in {"plain": {}, "cifg": {"cifg": True}, "peepholes": {"peepholes": True},
                       "projection": {"projection": 3}, "norms": {"norms": True},
                       "all": {"cifg": True, "peepholes": True, "projection": 3,
                               "norms": True}}.items()}

CASES: dict[str, Case] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": LSTM_FORMS["plain"],
    "BIDIRECTIONAL_SEQUENCE_LSTM": Case((SEQUENCE, *both_ways()),
                                        (of("float32", 2, STEPS, 2 * UNITS),),
                                        {**TANH, "mergeOutputs": True, "timeMajor": False},
                                        drawn=True),
    "LSTM": Case((of("float32", 2, INPUTS), of("float32", 2, UNITS), f4(4 * UNITS, INPUTS + UNITS),
                  f4(4 * UNITS), of("float32", 2, UNITS)),
                 (of("float32", 2, UNITS), of("float32", 2, UNITS),
                  of("float32", 2, INPUTS + UNITS), of("float32", 2, 4 * UNITS)),
                 {**TANH, "kernelType": "BASIC"}),
    "UNIDIRECTIONAL_SEQUENCE_RNN": Case((SEQUENCE, *RNN), (of("float32", 2, STEPS, UNITS),), TANH),
    "BIDIRECTIONAL_SEQUENCE_RNN": Case(
        (SEQUENCE, *RNN, f4(UNITS, INPUTS, seed=4), f4(UNITS, UNITS, seed=5), f4(UNITS, seed=6),
         State((2, UNITS)), *[None] * 3), (of("float32", 2, STEPS, 2 * UNITS),),
        {**TANH, "mergeOutputs": True, "timeMajor": False}),
    "RNN": Case((of("float32", 2, INPUTS), *RNN), (of("float32", 2, UNITS),), TANH),
    "SVDF": Case((of("float32", 2, INPUTS), f4(8, INPUTS), f4(8, STEPS), f4(4),
                  State((2, 8 * STEPS))), (of("float32", 2, 4),), {"rank": 2}),
    "WHERE": Case((of("bool", 3, 4),), (of("int64", -1, 2),)),
    "NON_MAX_SUPPRESSION_V4": Case((of("float32", 4, 4), of("float32", 4), *LIMITS),
                                   (of("int32", 3), of("int32")), values=(BOXES, SCORES)),
    "NON_MAX_SUPPRESSION_V5": Case((of("float32", 4, 4), of("float32", 4), *LIMITS,
                                    np.float32(.5)),
                                   (of("int32", 3), of("float32", 3), of("int32")),
                                   values=(BOXES, SCORES)),
    "SCATTER_ND": Case((i4([3], [1]), data(2, 3), i4(5, 3)), (data(5, 3),)),
    "SPARSE_TO_DENSE": Case((of("int32", 2, 2), i4(3, 4), data(2), data()), (data(3, 4),),
                            {"validateIndices": True},
                            (i4([0, 1], [2, 3]), f4(2), np.float32(0.5))),
    "SEGMENT_SUM": Case((data(4, 3), i4(0, 0, 1, 2)), (data(3, 3),)),
    **{f"UNSORTED_SEGMENT_{kind}": Case((data(4, 3), i4(1, 0, 1, 2), np.int32(3)), (data(3, 3),))
       for kind in ("SUM", "PROD", "MAX", "MIN")},
    "UNIQUE": Case((of("int32", 6),), (of("int32", -1), of("int32", 6)), {"idxOutType": "int32"},
                   (i4(3, 1, 3, 2, 1, 7),)),
    "REVERSE_SEQUENCE": Case((data(2, 5, 3), i4(3, 5)), (data(2, 5, 3),),
                             {"seqDim": 1, "batchDim": 0}),
    "MATRIX_DIAG": Case((data(2, 3),), (data(2, 3, 3),)),
    "MATRIX_SET_DIAG": Case((data(2, 3, 3), data(2, 3)), (data(2, 3, 3),)),
    "BROADCAST_ARGS": Case((of("int32", 2), of("int32", 3)), (of("int32", 3),),
                           values=(i4(3, 1), i4(2, 1, 4))),
    "DYNAMIC_UPDATE_SLICE": Case((data(4, 5), data(2, 3), of("int32", 2)), (data(4, 5),),
                                 values=(f4(4, 5), f4(2, 3, seed=2), i4(1, 2))),
    "BUCKETIZE": Case((of("float32", 3, 4),), (of("int32", 3, 4),), {"boundaries": [0.3, 1.0]}),
    "BITCAST": Case((of("float32", 3),), (of("int32", 3),)),
    "FAKE_QUANT": Case((of("float32", 3, 4),), (of("float32", 3, 4),),
                       {"min": -1.0, "max": 1.5, "numBits": 8}),
    "RFFT2D": Case((of("float32", 1, 8, 8), i4(8, 8)), (of("complex64", 1, 8, 5),)),
    **{op: Case((of("complex64", 3),), (of("float32", 3),),
                values=(np.complex64([1 + 2j, 3, 4j]),)) for op in ("REAL", "IMAG", "COMPLEX_ABS")},
    "RANDOM_UNIFORM": Case((i4(3, 4),), (of("float32", 3, 4),), {"seed": 1, "seed2": 2},
                           drawn=True),
    "RANDOM_STANDARD_NORMAL": Case((i4(3, 4),), (of("float32", 3, 4),), {"seed": 1, "seed2": 2},
                                   drawn=True),
    "MULTINOMIAL": Case((of("float32", 2, 3), np.int32(4)), (of("int64", 2, 4),),
                        {"seed": 1, "seed2": 2}, drawn=True),
    "DILATE": Case((data(2, 3), i4(2, 1), np.float32(0)), (data(3, 3),)),
    "HASHTABLE_LOOKUP": Case((of("int32", 3), i4(1, 4, 9), f4(3, 2)),
                             (of("float32", 3, 2), of("uint8", 3)), values=(i4(4, 2, 9),)),
    "LSH_PROJECTION": Case((f4(3, 2), of("int32", 4), f4(4)), (of("int32", 3),), {"type": 1}),
    "EMBEDDING_LOOKUP_SPARSE": Case(
        (i4(1, 3, 0), i4([0, 0], [2, 0], [2, 1]), i4(3, 2), of("float32", 3), f4(4, 3, 2)),
        (of("float32", 3, 3, 2),), {"combiner": 0}),
    "REDUCE_WINDOW": Case((data(4, 5), np.float32(0), *[np.array(v, "i8") for v in (
        [2, 2], [1, 1], [1, 1])]), (data(3, 4),), {"reduceFunction": 1}),
    "STABLEHLO_PAD": Case((data(2, 3), np.float32(1.5)), (data(4, 6),),
                          {"edgePaddingLow": [1, 0], "edgePaddingHigh": [1, 1],
                           "interiorPadding": [0, 1]}),
    "STABLEHLO_GATHER": Case((data(4, 3), np.array([[2], [0]], "i4")), (data(2, 3),),
                             {"offsetDims": [1], "collapsedSliceDims": [0], "startIndexMap": [0],
                              "indexVectorDim": 1, "sliceSizes": [1, 3]}),
    "STABLEHLO_RNG_BIT_GENERATOR": Case((of("uint64", 2),), (of("uint64", 2), of("uint32", 4)),
                                        {"algorithm": 1}, (np.array([1, 2], "u8"),)),
    **{f"STABLEHLO_{op}": Case((data(2, 3), data(2, 3)), (data(2, 3),))
       for op in ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM")},
    "STABLEHLO_AND": Case((of("bool", 2, 3), of("bool", 2, 3)), (of("bool", 2, 3),)),
    "STABLEHLO_SHIFT_LEFT": Case((of("int32", 2, 3), of("int32", 2, 3)), (of("int32", 2, 3),)),
}
