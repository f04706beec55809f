"""Numbers for strings, as TensorFlow's hash buckets give them: FarmHash and SipHash."""

from __future__ import annotations

from collections.abc import Callable

MASK = (1 << 64) - 1
K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
BLOCK = 64


def farm_hash(text: bytes) -> int:
    """A number of 64 bits that is the same on every machine.

    Source: FarmHash, Fingerprint64.
    """
    size = len(text)
    if size > BLOCK:
        return _long(text)
    mul = K2 + 2 * size
    if size > 16:
        return _middle(text, mul)
    if size >= 8:
        a, b = _word(text, 0) + K2, _word(text, size - 8)
        return _mixed(_turn(b, 37) * mul + a, (_turn(a, 25) + b) * mul, mul)
    if size >= 4:
        first, last = (int.from_bytes(text[at:at + 4], "little") for at in (0, size - 4))
        return _mixed(size + (first << 3), last, mul)
    if not size:
        return K2
    low, high = text[0] + (text[size >> 1] << 8), size + (text[-1] << 2)
    return _shifted(low * K2 ^ high * K0) * K2 & MASK


def _middle(text: bytes, mul: int) -> int:
    size = len(text)
    if size <= 32:
        return _mixed(*_ends(text, K1, mul), mul)
    a = _word(text, 0) * K2
    y, rest = _ends(text, K2, mul)
    z = _mixed(y, rest, mul)
    e, f = _word(text, 16) * mul, _word(text, 24)
    g, h = (y + _word(text, size - 32)) * mul, (z + _word(text, size - 24)) * mul
    return _mixed(_turn(e + f, 43) + _turn(g, 30) + h, e + _turn(f + a, 18) + g, mul)


def _ends(text: bytes, first: int, mul: int) -> tuple[int, int]:
    a, b = _word(text, 0) * first, _word(text, 8)
    c, d = _word(text, len(text) - 8) * mul, _word(text, len(text) - 16) * K2
    return _turn(a + b, 43) + _turn(c, 30) + d & MASK, a + _turn(b + K2, 18) + c & MASK


def _long(text: bytes) -> int:
    seed, last = 81, (len(text) - 1) % BLOCK
    y = seed * K1 + 113 & MASK
    z = _shifted(y * K2 + 113) * K2 & MASK
    x = seed * K2 + _word(text, 0) & MASK
    state = (x, y, z, (0, 0), (0, 0))
    for at in range(0, (len(text) - 1) // BLOCK * BLOCK, BLOCK):
        state = _round(text, at, state, K1)
    x, y, z, v, w = state
    mul = K1 + ((z & 255) << 1)
    w = (w[0] + last, w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x, y, z, v, w = _round(text, len(text) - BLOCK, (x, y, z, v, w), mul, 9)
    return _mixed(_mixed(v[0], w[0], mul) + _shifted(y) * K0 + z,
                  _mixed(v[1], w[1], mul) + x, mul)


Pair = tuple[int, int]


def _round(text: bytes, at: int, state: tuple[int, int, int, Pair, Pair], mul: int,
           weight: int = 1) -> tuple[int, int, int, Pair, Pair]:
    x, y, z, v, w = state
    x = _turn(x + y + v[0] + _word(text, at + 8), 37) * mul
    y = _turn(y + v[1] + _word(text, at + 48), 42) * mul
    x = (x ^ w[1] * weight) & MASK
    y = y + v[0] * weight + _word(text, at + 40) & MASK
    z = _turn(z + w[0], 33) * mul & MASK
    v = _block(text, at, v[1] * mul, x + w[0])
    w = _block(text, at + 32, z + w[1], y + _word(text, at + 16))
    return z, y, x, v, w


def _block(text: bytes, at: int, a: int, b: int) -> Pair:
    words = [_word(text, at + 8 * k) for k in range(4)]
    a = a + words[0]
    b = _turn(b + a + words[3], 21)
    sums = a + words[1] + words[2]
    return sums + words[3] & MASK, b + _turn(sums, 44) + a & MASK


def _mixed(u: int, v: int, mul: int) -> int:
    a = _shifted((u ^ v) * mul)
    return _shifted((v ^ a) * mul) * mul & MASK


def _shifted(v: int) -> int:
    v &= MASK
    return v ^ v >> 47


def _turn(v: int, by: int) -> int:
    v &= MASK
    return v >> by | v << 64 - by & MASK


def _word(text: bytes, at: int) -> int:
    return int.from_bytes(text[at:at + 8], "little")


def sip_hash(key: tuple[int, int]) -> Callable[[bytes], int]:
    """Numbers of 64 bits that nobody foresees who does not know the key.

    Source: Aumasson and Bernstein, SipHash: a fast short-input PRF, 2012 (SipHash-2-4).
    """
    start = (key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D,
             key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573)

    def hashed(text: bytes) -> int:
        state = start
        whole = len(text) // 8 * 8
        for at in range(0, whole, 8):
            state = _absorbed(state, _word(text, at))
        tail = (len(text) & 255) << 56 | int.from_bytes(text[whole:], "little")
        a, b, c, d = _absorbed(state, tail)
        state = (a, b, c ^ 255, d)
        for _ in range(4):
            state = _sip_round(state)
        return state[0] ^ state[1] ^ state[2] ^ state[3]

    return hashed


Four = tuple[int, int, int, int]


def _absorbed(state: Four, word: int) -> Four:
    a, b, c, d = state
    a, b, c, d = _sip_round(_sip_round((a, b, c, d ^ word)))
    return a ^ word, b, c, d


def _sip_round(state: Four) -> Four:
    a, b, c, d = state
    a, c = a + b & MASK, c + d & MASK
    b, d = _left(b, 13) ^ a, _left(d, 16) ^ c
    a = _left(a, 32)
    a, c = a + d & MASK, c + b & MASK
    d, b = _left(d, 21) ^ a, _left(b, 17) ^ c
    return a, b, _left(c, 32), d


def _left(v: int, by: int) -> int:
    return _turn(v, 64 - by)
