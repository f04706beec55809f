"""The file format of prometheus_client's multiprocess mode: reading, making and mending.

A file is: int32 bytes used, 4 bytes padding, then records of int32 key length, the key (JSON,
padded with spaces so that what follows is 8-aligned), float64 value, float64 timestamp.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

HEADER = 8
CAPACITY = 1 << 16  # what prometheus_client gives a new file

_INT = struct.Struct("i")
_PAIR = struct.Struct("dd")


@dataclass(frozen=True)
class Layout:
    """Where the values of a file's keys are.

    Units: offsets and end in bytes from the start of the file.
    """

    keys: tuple[bytes, ...]
    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    end: int
    sound: bool


def parse(data: bytes, start: int = HEADER) -> Layout:
    """Find the records of a file from a record's start on, as far as they can be understood.

    Source: prometheus_client.mmap_dict. A damaged key is passed over and a damaged tail ends the
            list; neither raises: what was counted besides is worth more than an error.
    """
    keys: list[bytes] = []
    starts: list[int] = []
    offsets: list[int] = []
    if len(data) < HEADER:
        return Layout((), (), (), HEADER, False)
    used = _INT.unpack_from(data)[0]
    sound = 0 <= used <= len(data)
    limit = min(max(used, 0), len(data))
    position = start
    while position + 4 <= limit:
        length = _INT.unpack_from(data, position)[0]
        value_at = position + 4 + length + (8 - (length + 4) % 8)
        if length <= 0 or value_at + _PAIR.size > limit:
            sound = False
            break
        key = data[position + 4 : position + 4 + length]
        if _is_key(key):
            keys.append(key)
            starts.append(position)
            offsets.append(value_at)
        else:
            sound = False
        position = value_at + _PAIR.size
    return Layout(tuple(keys), tuple(starts), tuple(offsets), position, sound)


def _is_key(key: bytes) -> bool:
    try:
        parts = json.loads(key.decode())
    except ValueError:
        return False
    return (
        isinstance(parts, list)
        and [type(part) for part in parts] == [str, str, dict, str]
        and all(isinstance(value, str) for value in parts[2].values())
    )


def blank() -> bytes:
    """Give the content of a file without records."""
    return _INT.pack(HEADER).ljust(CAPACITY, b"\0")


def mend(path: Path) -> bool:
    """Make sure that a sound file is there, keeping all that is readable; say if it was broken.

    The file appears whole (written beside, then renamed): a reader never sees one of no bytes.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        _replace(path, blank())
        return False
    layout = parse(data)
    if layout.sound and len(data) >= CAPACITY:
        return False
    records = b"".join(
        data[start : value_at + _PAIR.size]
        for start, value_at in zip(layout.starts, layout.offsets, strict=True)
    )
    kept = _INT.pack(HEADER + len(records)).ljust(HEADER, b"\0") + records
    size = CAPACITY
    while size < len(kept):
        size *= 2
    _replace(path, kept.ljust(size, b"\0"))
    return True


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_suffix(f".{os.getpid()}.new")
    beside.write_bytes(data)
    beside.replace(path)
