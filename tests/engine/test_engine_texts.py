"""Strings before they are numbers: what TensorFlow's text layers leave in files equals Python's,
and its hashes equal TensorFlow's (2.21)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.ops.text_hashes import farm_hash, sip_hash
from app.engine.runtime import Runtime
from app.errors import InvalidInput
from tests.engine.builder import Spec
from tests.engine.test_engine_host import answers, check, flex

WORDS = np.array([b"Hello World", b"", b" two  blanks ", "h\u00e9".encode()], "O")
TEXTS = (b"", b"a", b"hello", b"0123456789", b"x" * 20, b"y" * 40, b"z" * 64,
         bytes(range(65, 91)) * 5, b"q" * 128)


def texts(*shape: int) -> Spec:
    return Spec(shape, "bytes")


def test_hashes() -> None:
    assert [farm_hash(t) % 2**62 for t in TEXTS] == [
        1936946117179621455, 3694432073954588131, 3786372426573024488, 3244036785122165995,
        3621402210320469444, 276292113409495006, 294799756062990872, 3321191017164394986,
        3049490681071257226]
    hashed = sip_hash((7, 2**64 - 3))
    assert [hashed(t) % 2**62 for t in TEXTS] == [
        1729069120854646443, 744652949068820822, 3366965286304097346, 2265109240572378246,
        750181430352456842, 3602040106507342548, 393306132168314006, 1870560776839581632,
        3744072048463361462]


def test_buckets(runtime: Runtime) -> None:
    spec = Spec((4,), "int64")
    check(runtime, flex("StringToHashBucketFast", [texts(4)], [spec], num_buckets=1000), [WORDS],
          [[farm_hash(w) % 1000 for w in WORDS]])
    check(runtime, flex("StringToHashBucketStrong", [texts(4)], [spec], num_buckets=1000,
                        key=(7, -3)), [WORDS],
          [[sip_hash((7, 2**64 - 3))(w) % 1000 for w in WORDS]])


@pytest.mark.parametrize(("name", "given", "expected"), [
    ("StringLower", {"encoding": ""}, [b"hello world", b"", b" two  blanks ", "h\u00e9".encode()]),
    ("StringUpper", {"encoding": "utf-8"},
     [b"HELLO WORLD", b"", b" TWO  BLANKS ", "H\u00c9".encode()]),
    ("StringStrip", {}, [b"Hello World", b"", b"two  blanks", "h\u00e9".encode()]),
    ("StaticRegexReplace", {"pattern": "([a-z])o", "rewrite": r"<\1>"},
     [b"Hel<l> World", b"", b" t<w>  blanks ", "h\u00e9".encode()]),
    ("StringLength", {"unit": "BYTE"}, [11, 0, 13, 3]),
    ("StringLength", {"unit": "UTF8_CHAR"}, [11, 0, 13, 2]),
    ("StaticRegexFullMatch", {"pattern": "[A-Z].*"}, [True, False, False, False]),
], ids=str)
def test_each_string(runtime: Runtime, name: str, given: Any, expected: Any) -> None:
    kind = np.asarray(expected, "O" if isinstance(expected[0], bytes) else None)
    dtype = {"O": "bytes", "b": "bool", "i": "int32"}[kind.dtype.kind]
    check(runtime, flex(name, [texts(4)], [Spec((4,), dtype)], **given), [WORDS], [kind])


def test_numbers_from_strings(runtime: Runtime) -> None:
    for dtype, given, expected in (("float32", [b"1.5", b"-2e3"], [1.5, -2000]),
                                   ("int32", [b"12", b"-3"], [12, -3])):
        blob = flex("StringToNumber", [texts(2)], [Spec((2,), dtype)])
        check(runtime, blob, [np.array(given, "O")], [expected])
        with pytest.raises(InvalidInput, match="oops"):
            answers(runtime, blob, [np.array([b"1", b"oops"], "O")])


def test_joined_and_cut(runtime: Runtime) -> None:
    a, b = np.array([b"a", b"bc"], "O"), np.array(b"x", "O")
    check(runtime, flex("StringJoin", [texts(2), texts()], [texts(2)], separator="-"), [a, b],
          [np.array([b"a-x", b"bc-x"], "O")])
    at, count = np.array([-3, 1], "i4"), np.array([2, 9], "i4")
    blob = flex("Substr", [texts(2), Spec((2,), "int32"), Spec((2,), "int32")], [texts(2)])
    words = np.array([b"hello", b"abc"], "O")
    check(runtime, blob, [words, at, count], [np.array([b"ll", b"bc"], "O")])
    with pytest.raises(InvalidInput, match="begins at 9"):
        answers(runtime, blob, [words, at + 8, count])


@pytest.mark.parametrize(("separator", "most", "rows"), [
    (b"", -1, [[b"Hello", b"World"], [], [b"two", b"blanks"], ["h\u00e9".encode()]]),
    (b"o", 1, [[b"Hell", b" World"], [b""], [b" tw", b"  blanks "], ["h\u00e9".encode()]])])
def test_split(runtime: Runtime, separator: bytes, most: int, rows: Any) -> None:
    outputs = [Spec((-1, 2), "int64"), texts(-1), Spec((2,), "int64")]
    blob = flex("StringSplitV2", [texts(4), texts()], outputs, maxsplit=most)
    check(runtime, blob, [WORDS, np.array(separator, "O")], [
        [(n, k) for n, row in enumerate(rows) for k in range(len(row))],
        np.array([part for row in rows for part in row], "O"), [4, 2]])
