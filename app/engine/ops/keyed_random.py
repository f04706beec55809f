"""Random numbers of a key, the same each time: what Keras's seeds become, on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.engine.ir import Data, Node
from app.engine.registry import Shape, host, require, shape

DRAWN = ("KEYED_UNIFORM", "KEYED_NORMAL", "KEYED_INTEGERS")
# Philox 4x32: what the counter is multiplied by, and what the key grows by, in each of ten rounds.
FACTORS = (0xD2511F53, 0xCD9E8D57)
STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
# The key that turns a seed into a key.
SCRAMBLER = (0x3EC8F720, 0x02461E29)
# TensorFlow's names of generators: Philox, and "whatever suits the device", which is Philox.
PHILOX = (1, 3)
LOW = np.uint64(0xFFFFFFFF)


def philox(counters: Data, key: tuple[int, int]) -> Data:
    """Four random numbers for each counter.

    Shapes: counters [N,4] -> [N,4], uint64 below 2^32.
    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011 (Philox-4x32-10).
    """
    a, b, c, d = (counters[:, k].astype(np.uint64) for k in range(4))
    first, second = key
    for _ in range(ROUNDS):
        left, right = a * np.uint64(FACTORS[0]), c * np.uint64(FACTORS[1])
        a, b = (right >> np.uint64(32)) ^ b ^ np.uint64(first), right & LOW
        c, d = (left >> np.uint64(32)) ^ d ^ np.uint64(second), left & LOW
        first, second = first + STEPS[0] & int(LOW), second + STEPS[1] & int(LOW)
    return np.stack([a, b, c, d], 1)


@shape("KEY_OF_SEED")
def key_shapes(node: Node) -> Sequence[Shape]:
    """A key [1] and a counter [2]."""
    return [(1,), (2,)]


@host("KEY_OF_SEED")
def key_of_seed(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The key and the first counter that a seed of two numbers stands for.

    Source: TensorFlow's StatelessRandomGetKeyCounter.
    """
    seed = arrays[0]
    assert seed is not None
    wide = seed.astype(np.int64).view(np.uint64)
    if wide.shape != (2,):
        raise ValueError(f"a seed of shape {seed.shape}; two numbers are needed")
    ((a, b, c, d),) = philox(_halves(wide).reshape(1, 4), SCRAMBLER)
    return [np.array([a | b << np.uint64(32)], np.uint64),
            np.array([0, c | d << np.uint64(32)], np.uint64)]


def _halves(wide: Data) -> Data:
    made: Data = np.stack([wide & LOW, wide >> np.uint64(32)], -1)
    return made


@shape(*DRAWN)
def drawn_shape(node: Node) -> Sequence[Shape]:
    """The constant shape asked for.

    Raises: UnsupportedOp of a computed one.
    """
    wanted = node.input(0).data
    require(wanted is not None, f"{node.op} of a computed shape has no kernel")
    assert wanted is not None
    return [tuple(int(e) for e in wanted.reshape(-1))]


@host(*DRAWN)
def drawn(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Numbers from 0 to 1, of a standard normal distribution, or whole ones between two.

    Shapes: shape, key [1], counter [2], generator [], and two bounds of whole numbers -> y.
    Raises: ValueError for another generator than Philox, other types, or bounds without a number.
    Source: TensorFlow's StatelessRandomUniformV2, NormalV2, UniformIntV2.
    """
    wanted, key, counter, generator, *bounds = (np.asarray(a) for a in arrays)
    kind = node.outputs[0].dtype
    if int(generator) not in PHILOX or kind not in ("float32", "int32"):
        raise ValueError(f"{kind} of the generator {int(generator)}; float32 and int32 of Philox "
                         "are known")
    extents = tuple(int(e) for e in wanted.reshape(-1))
    count = int(np.prod(extents, dtype=np.int64))
    first = int(counter[0]) | int(counter[1]) << 64
    numbers = [first + k for k in range(-(-count // 4))]
    counters = np.array([[n >> 32 * k & int(LOW) for k in range(4)] for n in numbers], np.uint64)
    ((low, high),) = _halves(key.astype(np.uint64)).tolist()
    four = philox(counters.reshape(-1, 4), (low, high))
    if node.op == "KEYED_INTEGERS":
        least, most = (int(b) for b in bounds)
        if least >= most:
            raise ValueError(f"whole numbers from {least} below {most}")
        made = least + (four % np.uint64(most - least)).astype(np.int64)
    else:
        made = _fractions(four) if node.op == "KEYED_UNIFORM" else _normal(four)
    return [made.reshape(-1)[:count].reshape(extents).astype(kind)]


def _fractions(numbers: Data) -> Data:
    """The lower bits as those behind the point of 1.something, less one."""
    bits = (numbers & np.uint64(0x7FFFFF) | np.uint64(0x3F800000)).astype(np.uint32)
    made: Data = bits.view(np.float32) - np.float32(1)
    return made


def _normal(four: Data) -> Data:
    """Pairs by Box and Muller."""
    parts = _fractions(four).reshape(-1, 2)
    far = np.sqrt(-2 * np.log(np.maximum(parts[:, 0], np.float32(1e-7))))
    turn = np.float32(2 * np.pi) * parts[:, 1]
    return np.stack([np.sin(turn) * far, np.cos(turn) * far], 1)
