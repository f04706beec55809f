"""Strings before they are numbers: what TensorFlow's text layers leave in files equals Python's,
and its hashes equal TensorFlow's (2.21)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.engine.ops.text_hashes import farm_hash, sip_hash
from app.engine.runtime import Runtime
from app.errors import InvalidInput, InvalidModel
from tests.engine.builder import ModelBuilder, Spec
from tests.engine.node_defs import node_def
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
    # TensorFlow's dialect, and a pattern that a backtracking library would take years for.
    ("StaticRegexFullMatch", {"pattern": r"h\pL"}, [False, False, False, True]),
    ("StaticRegexFullMatch", {"pattern": "(([A-z]*)*)*!"}, [False] * 4),
], ids=str)
def test_each_string(runtime: Runtime, name: str, given: Any, expected: Any) -> None:
    kind = np.asarray(expected, "O" if isinstance(expected[0], bytes) else None)
    dtype = {"O": "bytes", "b": "bool", "i": "int32"}[kind.dtype.kind]
    check(runtime, flex(name, [texts(4)], [Spec((4,), dtype)], **given), [WORDS], [kind])


def test_a_pattern_in_another_dialect_is_refused(runtime: Runtime) -> None:
    blob = flex("StaticRegexFullMatch", [texts(4)], [Spec((4,), "bool")], pattern="(?=a)b")
    with pytest.raises((InvalidInput, InvalidModel), match="invalid perl operator"):
        answers(runtime, blob, [WORDS])


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


@pytest.mark.parametrize(("given", "attributes", "expected"), [
    (np.array([5, -12]), {"width": 4}, [b"   5", b" -12"]),
    (np.array([1.5, -2], "f4"), {"precision": -1}, [b"1.500000", b"-2.000000"]),
    (np.array([1.5, -2], "f4"), {"precision": 2, "width": 8, "fill": "0"},
     [b"00001.50", b"-0002.00"]),
    (np.array([1.5, 1e9], "f4"), {"shortest": True}, [b"1.5", b"1e+09"]),
    (np.array([True, False]), {}, [b"true", b"false"])], ids=str)
def test_numbers_as_strings(runtime: Runtime, given: Any, attributes: Any, expected: Any) -> None:
    blob = flex("AsString", [Spec((2,), str(given.dtype))], [texts(2)], **attributes)
    check(runtime, blob, [given], [np.array(expected, "O")])


def test_letters(runtime: Runtime) -> None:
    words = np.array(["h\u00e9\x01".encode(), b"", b"a\xff\xe2\x82b"], "O")
    outputs = [Spec((-1,), "int64"), Spec((-1,), "int32")]
    for controls, other in ((True, 65533), (False, 1)):
        blob = flex("UnicodeDecode", [texts(3)], outputs, input_encoding="UTF-8",
                    errors="replace", replacement_char=65533,
                    replace_control_characters=controls)
        check(runtime, blob, [words],
              [[0, 3, 3, 7], [104, 233, other, 97, 65533, 65533, 98]])
    blob = flex("UnicodeEncode", [Spec((4,), "int32"), Spec((4,), "int64")], [texts(-1)],
                output_encoding="UTF-8", errors="replace", replacement_char=65)
    numbers = np.array([104, 233, 0xD800, 98], "i4")
    check(runtime, blob, [numbers, np.array([0, 2, 2, 4])],
          [np.array(["h\u00e9".encode(), b"", b"Ab"], "O")])
    with pytest.raises(InvalidInput, match="4 letters"):
        answers(runtime, blob, [numbers, np.array([0, 2, 2, 5])])


def test_crossed_features(runtime: Runtime) -> None:
    """The numbers are TensorFlow's."""
    given: list[Any] = [np.array([[0, 0], [0, 1], [1, 0]]), np.array([b"red", b"blue", b"x"], "O"),
                        np.array([2, 2]), np.array([[5, -2], [7, 0]])]
    blob = flex("SparseCross", [Spec((3, 2), "int64"), texts(3), Spec((2,), "int64"),
                                Spec((2, 2), "int64")],
                [Spec((-1, 2), "int64"), Spec((-1,), "int64"), Spec((2,), "int64")],
                N=1, hashed_output=True, num_buckets=1000, hash_key=956888297470)
    check(runtime, blob, given, [[[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 1]],
                                 [468, 561, 866, 520, 783, 327], [2, 4]])


def test_counts_of_ragged_rows(runtime: Runtime) -> None:
    x = np.array([1, 1, 4, 0, 2, 9], "i4")
    blob = flex("RaggedBincount", [Spec((4,), "int64"), Spec((6,), "int32"),
                                   np.array(5, "i4"), np.zeros(0, "f4")], [Spec((3, 5))],
                binary_output=False)
    check(runtime, blob, [np.array([0, 3, 3, 6]), x],
          [[[0, 2, 0, 0, 1], [0] * 5, [1, 0, 1, 0, 0]]])


@pytest.mark.parametrize("flexible", [False, True])
def test_lookups_in_constant_tables_need_no_state(runtime: Runtime, flexible: bool) -> None:
    """Whole numbers by whole numbers, which TFLite has no table for; and without a device."""
    model = ModelBuilder()
    graph = model.graph()
    asked = graph.input((2, 3), "int64")
    graph.op("CALL_ONCE", [], [], {"initSubgraphIndex": 1})

    def table(part: Any) -> Any:
        resource = [Spec((), "resource")]
        if flexible:
            return part.op("FlexHashTableV2", [], resource,
                           custom=node_def("HashTableV2", shared_name="17"))[0]
        return part.op("HASHTABLE", [], resource,
                       {"keyDtype": "int64", "valueDtype": "int64", "tableId": 17})[0]

    def named(name: str) -> tuple[str, Any]:
        if not flexible:
            return f"HASHTABLE_{name.upper()}", {}
        return f"FlexLookupTable{name}V2", {"custom": node_def(f"LookupTable{name}V2")}

    find, more = named("Find")
    (found,) = graph.op(find, [table(graph), asked, graph.const(np.int64(-1))],
                        [Spec((2, 3), "int64")], **more)
    size, more = named("Size")
    (count,) = graph.op(size, [table(graph)], [Spec((1,), "int64")], **more)
    graph.outputs(*graph.op("ADD", [found, count], [found.spec]))
    setup = model.graph("setup")
    fill, more = named("Import")
    setup.op(fill, [table(setup), setup.const(np.array([10, 20, 30])),
                    setup.const(np.array([1, 2, 3]))], [], **more)
    check(runtime, model.build(), [np.array([[30, 5, 10], [20, 20, 0]])],
          [[[6, 2, 4], [5, 5, 2]]])
