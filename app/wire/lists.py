"""JSON documents whose large number lists become arrays without a Python object per number."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import simdjson

from app.errors import InvalidInput, InvalidRequest
from app.tensors import PARTS, Array
from app.wire.dtypes import Shape, elements

# numpy 1 allows no more dimensions.
MAX_RANK = 32
# Below this many elements walking the lists is cheaper than reading the body a second time.
_WALKED = 64
# Deleting what numbers are made of leaves the brackets and commas that show a list's shape.
_NUMBER_BYTES = b"0123456789.+-eE \t\r\n"
_LIST = b'":['
# Beyond so many lists in one body, each is walked.
_LISTS = 256
_BUFFER = {"f": ("d", np.float64), "i": ("i", np.int64), "u": ("u", np.uint64)}
# What begins so is no JSON but a picture, alone or in a form, or compressed.
_PICTURES, _GZIP = (b"\x89PNG", b"\xff\xd8\xff", b"--"), b"\x1f\x8b"
# What as_buffer raises for elements that are not numbers, or do not fit 64 bits.
_NOT_NUMBERS = (TypeError, ValueError, RuntimeError)


class Document:
    """One parsed JSON body; lists of numbers in it are read straight into arrays."""

    def __init__(self, body: bytes | memoryview) -> None:
        """Parse.

        Raises: InvalidRequest unless the body is one JSON document.
        """
        self._body = body
        self._bare: bytes | None = None
        self._starts: list[int] = []
        try:
            # A parser is never shared: it refuses to read while an older document lives.
            self._parser = simdjson.Parser()
            self.root: Any = self._parser.parse(body)
        except (ValueError, RuntimeError, UnicodeDecodeError) as error:
            said = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            said = said.partition(" This is a fatal")[0].rstrip()
            raise InvalidRequest(f"the body is not valid JSON: {said}{_advice(body)}") from error

    def array(self, element: Any, dtype: str, name: str) -> Array:
        """Read a list, nested or flat, as an array of the lists' own shape.

        Shapes: [[1, 2], [3, 4]] -> [2, 2]; a bare number -> []; a pair of a complex dtype -> [].
        Raises: InvalidInput if it is ragged, or holds what dtype cannot.
        """
        if dtype in ("bytes", "bool"):
            return _converted(_plain(element), dtype, name)
        if dtype in PARTS:
            return _complex(self.array(element, PARTS[dtype], name), dtype, name)
        if not isinstance(element, simdjson.Array):
            return _converted(element, dtype, name)
        flat = _numbers(element, np.dtype(dtype), name)
        shape = _first_path(element, name)
        if elements(shape) != flat.size or not self._regular(element, shape, flat.size):
            raise InvalidInput(
                f"input {name!r} is ragged: its lists, from the first ones, look like shape "
                f"{list(shape)}, but not all of them have those lengths; "
                "send lists of equal length, or one flat list"
            )
        return flat.reshape(shape)

    def _regular(self, element: Any, shape: Shape, size: int) -> bool:
        if size > _WALKED and self._take(_skeleton(shape)):
            return True
        return _has_shape(element.as_list(), shape)

    def _take(self, skeleton: bytes) -> bool:
        """Find a list of exactly these brackets in the body, each occurrence once."""
        if self._bare is None:
            self._bare = bytes(self._body).translate(None, _NUMBER_BYTES)
            self._starts = list(itertools.islice(_starts(self._bare), _LISTS))
        for start in self._starts:
            if self._bare.startswith(skeleton, start):
                self._starts.remove(start)
                return True
        return False


def _advice(body: bytes | memoryview) -> str:
    """Name what is most often wrong with what other writers call JSON."""
    text = bytes(body)
    if b"NaN" in text or b"Infinity" in text:
        return "; JSON has neither NaN nor Infinity: binary tensors of /v2 carry them"
    if b'"binary_data_size"' in text:
        return "; say in Inference-Header-Content-Length where it ends and the tensors begin"
    if text.startswith(_PICTURES):
        return "; pictures are sent to /models/<name>/infer"
    if text.startswith(_GZIP):
        return "; it looks compressed: say so in Content-Encoding"
    if b"\0" in text[:4]:
        return "; JSON is sent in UTF-8"
    return ""


def _starts(bare: bytes) -> Iterator[int]:
    """Find lists behind keys, not behind escaped quotes: text in a string vouches for nothing."""
    at = bare.find(_LIST)
    while at >= 0:
        if bare[at - 1 : at] != b"\\":
            yield at + len(_LIST) - 1
        at = bare.find(_LIST, at + 1)


def _plain(element: Any) -> Any:
    return element.as_list() if isinstance(element, simdjson.Array) else element


def _first_path(element: Any, name: str) -> Shape:
    shape: list[int] = []
    while isinstance(element, simdjson.Array):
        _check_rank(len(shape), name)
        shape.append(len(element))
        if not shape[-1]:
            break
        element = element[0]
    return tuple(shape)


def _check_rank(outer: int, name: str) -> None:
    if outer >= MAX_RANK:
        raise InvalidInput(f"input {name!r} is nested more than {MAX_RANK} lists deep")


def _skeleton(shape: Shape) -> bytes:
    text = b"[" + b"," * (shape[-1] - 1) + b"]"
    for length in reversed(shape[:-1]):
        text = b"[" + b",".join([text] * length) + b"]"
    return text


def _has_shape(value: Any, shape: Shape) -> bool:
    if not shape:
        return not isinstance(value, list)
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(_has_shape(item, shape[1:]) for item in value)
    )


def _complex(parts: Array, dtype: str, name: str) -> Array:
    if parts.shape[-1:] != (2,):
        raise InvalidInput(
            f"input {name!r} is {dtype}: send each of its numbers as a pair, [real, imaginary]"
        )
    numbers: Array = np.ascontiguousarray(parts).view(dtype)[..., 0]
    return numbers


def _numbers(element: Any, dtype: np.dtype[Any], name: str) -> Array:
    letter, wide = _BUFFER[dtype.kind]
    try:
        flat: Array = np.frombuffer(element.as_buffer(of_type=letter), dtype=wide)
    except _NOT_NUMBERS as error:
        flat = _whole_floats(element, dtype, name, error)
    return _narrowed(flat, dtype, name)


def _whole_floats(element: Any, dtype: np.dtype[Any], name: str, cause: Exception) -> Array:
    """Accept 1.0 where an integer is wanted, since many clients know floats only."""
    if dtype.kind != "f":
        try:
            flat = np.frombuffer(element.as_buffer(of_type="d"), dtype=np.float64)
        except _NOT_NUMBERS:
            flat = np.full(1, np.nan)
        # Beyond 2**53 a float no longer names one integer.
        if bool(np.all(np.abs(flat) <= 2**53)) and bool(np.all(flat == np.rint(flat))):
            whole: Array = flat.astype(np.int64)
            return whole
    raise InvalidInput(
        f"input {name!r} must hold only numbers that fit {dtype.name}: {cause}"
    ) from cause


def _narrowed(flat: Array, dtype: np.dtype[Any], name: str) -> Array:
    if flat.dtype == dtype:
        return flat
    if dtype.kind == "f":
        # Looked for before the cast, since asking numpy not to warn costs more than a small list.
        fits = not flat.size or bool(np.abs(flat).max() < _float_limit(dtype))
        narrow: Array = flat.astype(dtype) if fits else flat
    else:
        narrow = flat.astype(dtype)
        fits = np.array_equal(narrow, flat)
    if not fits:
        raise InvalidInput(f"input {name!r} has a value outside the range of {dtype.name}")
    return narrow


@functools.cache
def _float_limit(dtype: np.dtype[Any]) -> float:
    """Give the smallest number that would round to infinity."""
    kind = np.finfo(dtype)
    largest = float(kind.max)
    return largest + (largest - float(np.nextafter(kind.max, dtype.type(0)))) / 2


def _converted(value: Any, dtype: str, name: str) -> Array:
    """Convert plain Python values, exactly."""
    shape = _list_shape(value, name)
    if not _has_shape(value, shape):
        raise InvalidInput(
            f"input {name!r} is ragged: not all of its lists have the lengths {list(shape)}"
        )
    leaves = list(_leaves(value))
    if dtype == "bytes":
        return _strings(leaves, name).reshape(shape)
    if dtype == "bool":
        return _booleans(leaves, name).reshape(shape)
    if not all(isinstance(leaf, int | float) and not isinstance(leaf, bool) for leaf in leaves):
        raise InvalidInput(f"input {name!r} must hold numbers that fit {dtype}")
    kind = np.dtype(dtype)
    whole = kind.kind != "f" and all(float(leaf).is_integer() for leaf in leaves)
    wide = np.array([int(x) if whole else x for x in leaves], dtype=object if whole else float)
    return _scalar_narrowed(wide, kind, name).reshape(shape)


def _scalar_narrowed(wide: Array, kind: np.dtype[Any], name: str) -> Array:
    if kind.kind != "f":
        limits = np.iinfo(kind)
        fits = all(isinstance(x, int) and limits.min <= x <= limits.max for x in wide)
        if not fits:
            raise InvalidInput(f"input {name!r} has a value outside the range of {kind.name}")
        whole: Array = wide.astype(kind)
        return whole
    return _narrowed(wide.astype(np.float64), kind, name)


def _list_shape(value: Any, name: str) -> Shape:
    shape: list[int] = []
    while isinstance(value, list):
        _check_rank(len(shape), name)
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _leaves(value: Any) -> Any:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _strings(leaves: list[Any], name: str) -> Array:
    if not all(isinstance(leaf, str) for leaf in leaves):
        raise InvalidInput(f"input {name!r} has datatype BYTES: its data must be strings")
    array = np.empty(len(leaves), dtype=object)
    array[:] = [leaf.encode("utf-8", "surrogatepass") for leaf in leaves]
    return array


def _booleans(leaves: list[Any], name: str) -> Array:
    if not all(isinstance(leaf, bool | int) and leaf in (0, 1) for leaf in leaves):
        raise InvalidInput(f"input {name!r} has datatype BOOL: its data must be true or false")
    return np.array(leaves, dtype=np.bool_)
