"""Strings, on the host: what TensorFlow's text layers do before there are numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from app.engine.ir import Data, Node
from app.engine.ops.text_hashes import farm_hash, sip_hash
from app.engine.registry import Shape, host, shape

# String by string.
EACH: dict[str, Callable[[Node], Callable[[bytes], Any]]] = {
    "STRING_LOWER": lambda node: _cased(node, bytes.lower, str.lower),
    "STRING_UPPER": lambda node: _cased(node, bytes.upper, str.upper),
    "STRING_STRIP": lambda node: bytes.strip,
    "STRING_LENGTH": lambda node: _length(node),
    "STRING_TO_NUMBER": lambda node: float if "float" in node.outputs[0].dtype else int,
    "STATIC_REGEX_REPLACE": lambda node: _replacing(node),
    "STATIC_REGEX_FULL_MATCH": lambda node: _matching(node),
    "STRING_TO_HASH_BUCKET_FAST": lambda node: _bucket(node, farm_hash),
    "STRING_TO_HASH_BUCKET_STRONG": lambda node: _bucket(node, sip_hash(_key(node))),
}


@shape(*EACH)
def as_given(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@host(*EACH)
def each(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """y = f(x), string by string.

    Raises: ValueError if a string is no number where one is wanted.
    """
    x, function, dtype = arrays[0], EACH[node.op](node), node.outputs[0].dtype
    assert x is not None
    return [_filled([function(s) for s in x.reshape(-1).tolist()], dtype).reshape(x.shape)]


def _filled(items: Sequence[Any], dtype: str) -> Data:
    made: Data = np.empty(len(items), "O" if dtype == "bytes" else dtype)
    made[:] = items
    return made


def _cased(node: Node, ascii_only: Callable[[bytes], bytes],
           any_text: Callable[[str], str]) -> Callable[[bytes], bytes]:
    if str(node.options["encoding"]).lower() != "utf-8":
        return ascii_only
    return lambda s: any_text(s.decode("utf-8", "replace")).encode()


def _length(node: Node) -> Callable[[bytes], int]:
    if node.options["unit"] == "UTF8_CHAR":
        return lambda s: sum(c & 0xC0 != 0x80 for c in s)
    return len


def _pattern(node: Node) -> Any:
    # Few models have patterns, and the engine runs where the library is not there.
    import re2

    # TensorFlow's own; also, no pattern makes it take more than linear time.
    quiet = re2.Options()
    quiet.log_errors = False
    try:
        return re2.compile(str(node.options["pattern"]).encode(), quiet)
    except re2.error as error:
        raise ValueError(f"the pattern {node.options['pattern']!r}: {_said(error)}") from error


def _said(error: Exception) -> str:
    return b" ".join(a if isinstance(a, bytes) else str(a).encode() for a in error.args).decode(
        "utf-8", "replace")


def _replacing(node: Node) -> Callable[[bytes], bytes]:
    pattern, text = _pattern(node), str(node.options["rewrite"]).encode()
    count = 0 if node.options["replace_global"] else 1
    return lambda s: pattern.sub(lambda found: _rewritten(text, found), s, count)


def _rewritten(text: bytes, found: Any) -> bytes:
    """The replacement, in which a backslash and a digit stand for a group."""
    return re.sub(rb"\\([0-9\\])",
                  lambda m: b"\\" if m[1] == b"\\" else found[int(m[1])] or b"", text)


def _matching(node: Node) -> Callable[[bytes], bool]:
    pattern = _pattern(node)
    return lambda s: pattern.fullmatch(s) is not None


def _bucket(node: Node, number: Callable[[bytes], int]) -> Callable[[bytes], int]:
    buckets = int(node.options["num_buckets"])
    if buckets < 1:
        raise ValueError(f"{buckets} buckets")
    return lambda s: number(s) % buckets


def _key(node: Node) -> tuple[int, int]:
    key = node.options["key"]
    if not isinstance(key, tuple) or len(key) != 2:
        raise ValueError(f"a key of {key}; two numbers are needed")
    return key[0] & (1 << 64) - 1, key[1] & (1 << 64) - 1


@shape("AS_STRING")
def written_shape(node: Node) -> Sequence[Shape]:
    """Output as input."""
    return [node.input(0).shape]


@host("AS_STRING")
def written(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Numbers and truths as TensorFlow writes them.

    Source: TensorFlow's AsString, which writes as C's printf does.
    """
    x, given = arrays[0], node.options
    assert x is not None
    if x.dtype.kind == "b":
        items = [b"true" if v else b"false" for v in x.reshape(-1).tolist()]
    else:
        width = "" if given["width"] < 0 else str(given["width"])
        places = "" if given["precision"] < 0 else f".{given['precision']}"
        kind = ("d" if x.dtype.kind in "iu" else
                "e" if given["scientific"] else "g" if given["shortest"] else "f")
        form = f"%{given['fill']}{width}{places}{kind}"
        items = [(form % v).encode() for v in x.reshape(-1).tolist()]
    return [_filled(items, "bytes").reshape(x.shape)]


def _utf8(node: Node, key: str) -> None:
    if node.options[key] != "UTF-8":
        raise ValueError(f"letters in {node.options[key]}; only UTF-8 is known")


@host("UNICODE_DECODE")
def letters(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The letters of all strings as numbers, and where each string ends.

    Shapes: x [B] -> ends [B+1], letters [n].
    Raises: ValueError of another encoding than UTF-8, or where faults are asked to be told.
    Source: TensorFlow's UnicodeDecode.
    """
    x = arrays[0]
    assert x is not None
    _utf8(node, "input_encoding")
    rows = [_decoded(node, s) for s in x.reshape(-1).tolist()]
    ends = np.cumsum([0, *map(len, rows)])
    return [ends.astype(node.outputs[0].dtype),
            np.array([number for row in rows for number in row], np.int32)]


def _decoded(node: Node, text: bytes) -> list[int]:
    options = node.options
    faults = str(options["errors"])
    numbers = [ord(c) for c in text.decode("utf-8", faults)]
    other = int(options["replacement_char"])
    if options["replace_control_characters"]:
        numbers = [other if n < 32 or 127 <= n < 160 else n for n in numbers]
    return [other if n == 0xFFFD else n for n in numbers]


@host("UNICODE_ENCODE")
def spelled(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """Strings of letters that are numbers.

    Shapes: letters [n], ends [B+1] -> y [B].
    Raises: ValueError of another encoding than UTF-8, or if the ends are not those of the letters.
    Source: TensorFlow's UnicodeEncode.
    """
    numbers, ends = (np.asarray(a) for a in arrays)
    _utf8(node, "output_encoding")
    if not ends.size or ends[0] != 0 or ends[-1] != numbers.size or (np.diff(ends) < 0).any():
        raise ValueError(f"strings that end at {ends.tolist()} of {numbers.size} letters")
    other = chr(int(node.options["replacement_char"]))
    given = [chr(n) if 0 <= n < 0xD800 or 0xDFFF < n < 0x110000 else other
             for n in numbers.tolist()]
    return [_filled(["".join(given[a:b]).encode() for a, b in pairwise(ends.tolist())], "bytes")]


@shape("STRING_JOIN")
def joined_shape(node: Node) -> Sequence[Shape]:
    """All strings have one shape, or are one each.

    Raises: ValueError if there are several shapes.
    """
    return [np.broadcast_shapes(*(t.shape for t in node.reads))]


@host("STRING_JOIN")
def joined(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The strings of all inputs one after the other, place by place."""
    separator = str(node.options["separator"]).encode()
    given = np.broadcast_arrays(*(a for a in arrays if a is not None))
    items = [separator.join(row) for row in zip(*(a.reshape(-1).tolist() for a in given),
                                               strict=True)]
    return [_filled(items, "bytes").reshape(given[0].shape)]


@shape("SUBSTR")
def part_shape(node: Node) -> Sequence[Shape]:
    """The shapes of strings, places and lengths, broadcast."""
    return [np.broadcast_shapes(*(t.shape for t in node.reads))]


@host("SUBSTR")
def part(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """A part of each string; a place below zero counts from the end.

    Raises: ValueError if a part begins outside of its string.
    Source: TensorFlow's Substr.
    """
    given = np.broadcast_arrays(*(a for a in arrays if a is not None))
    letters = node.options["unit"] == "UTF8_CHAR"
    items = [_cut(s.decode("utf-8", "replace"), at, count).encode() if letters
             else _cut(s, at, count)
             for s, at, count in zip(*(a.reshape(-1).tolist() for a in given), strict=True)]
    return [_filled(items, "bytes").reshape(given[0].shape)]


def _cut(text: Any, at: int, count: int) -> Any:
    if not -len(text) <= at <= len(text):
        raise ValueError(f"a part that begins at {at} of a string of {len(text)}")
    first = at % len(text) if at < 0 else at
    return text[first:first + max(count, 0)]


@host("STRING_SPLIT_V2")
def split(node: Node, arrays: Sequence[Data | None]) -> Sequence[Data]:
    """The parts of each string between separators; without one, between runs of blanks.

    Shapes: x [N], separator [] -> places [k,2], parts [k], shape [2].
    Source: TensorFlow's StringSplitV2.
    """
    x, separator = arrays
    assert x is not None
    assert separator is not None
    sign, most = separator.reshape(-1)[0] or None, int(node.options["maxsplit"])
    rows = [s.split(sign, most) for s in x.reshape(-1).tolist()]
    places = [(n, k) for n, row in enumerate(rows) for k in range(len(row))]
    return [np.array(places, np.int64).reshape(-1, 2),
            _filled([part for row in rows for part in row], "bytes"),
            np.array([len(rows), max(map(len, rows), default=0)], np.int64)]
