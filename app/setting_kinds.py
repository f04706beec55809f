"""How the value of a setting is read, and what is allowed: the kinds that settings are made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read, and the words for what is allowed.

    read raises ValueError for what is not.
    """

    read: Callable[[str], Any]
    allowed: str


def integer(low: int, high: int) -> Kind:
    """Allow whole numbers from low to high."""
    return Kind(_between(int, low, high), f"a whole number from {low} to {high}")


def number(low: float, high: float) -> Kind:
    """Allow decimal numbers from low to high."""
    return Kind(_between(float, low, high), f"a number from {low:g} to {high:g}")


def _between(convert: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = convert(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return read


def choice(*values: str) -> Kind:
    """Allow one of these words, in any case."""

    def read(text: str) -> str:
        if text.lower() not in values:
            raise ValueError
        return text.lower()

    return Kind(read, " or ".join(values))


def _text(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError
    return value.strip()


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}|\[[0-9a-fA-F:.]+\]", value):
        raise ValueError
    return value.strip("[]")


def _origins(value: str) -> str:
    found = [part.strip().lower() for part in value.split(",")]
    for part in found if found not in (["*"], ["none"]) else ():
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", part):
            raise ValueError
    return ",".join(found)


FOLDER = Kind(lambda value: Path(_text(value)).expanduser().absolute(), "a path")
TEXT = Kind(_text, "a text that is not empty")
ORIGINS = Kind(_origins, "none, * or origins like https://example.org with commas between")
HOST = Kind(_host, "a host name or an IP address")
