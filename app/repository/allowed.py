"""What the values of a model.yaml may be, kind by kind.

Each raises ValueError that names the key (where), what stands there and what is allowed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar

from app.repository.handwritten import text_of

Value = TypeVar("Value")


def known(kind: type, document: Any, where: str) -> dict[str, Any]:
    """Take a mapping that has fields of a dataclass and no others."""
    allowed = [item.name for item in dataclasses.fields(kind)]
    if not isinstance(document, dict):
        raise ValueError(f"{where} must be a mapping with some of {', '.join(allowed)}")
    unknown = sorted(str(key) for key in document if key not in allowed)
    if unknown:
        raise ValueError(
            f"{where} has unknown {', '.join(unknown)}; allowed are {', '.join(allowed)}"
        )
    return dict(document)


def each(value: Any, where: str, read: Callable[[Any, str], Value]) -> dict[str, Value]:
    """Take a mapping with any names, none for an empty one; read takes each of its values."""
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r:.60}; it must be a mapping with a line for each")
    named = ((text_of(name), item) for name, item in (value or {}).items())
    return {name: read(item, f"{where}.{name}") for name, item in named}


def text(value: Any, where: str) -> str:
    """Take a number for a text, too: YAML needs no quotes around one."""
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"{where} is {value!r:.60}; it must be a text")
    return text_of(value)


def labels(value: Any) -> tuple[str, ...]:
    """Take the names of a model's classes, a list."""
    if value is not None and not isinstance(value, list):
        raise ValueError(
            f"labels is {value!r:.60}; it must be a list like [cat, dog], in the order of the "
            "model's outputs"
        )
    return tuple(text(label, "labels") for label in value or ())


def numbers(value: Any, where: str) -> tuple[float, ...]:
    """Take one number, or a list of them; finite ones."""
    items = value if isinstance(value, list) else [value]
    real = (isinstance(item, int | float) and not isinstance(item, bool) for item in items)
    if not items or not all(real) or not all(map(math.isfinite, items)):
        raise ValueError(f"{where} is {value!r:.60}; it must be a number or a list of numbers")
    return tuple(float(item) for item in items)


def positions(value: Any, where: str) -> tuple[int, ...]:
    """Take places in a flat array, counted from 0."""
    items = value if isinstance(value, list) else []
    if not items or not all(isinstance(item, int) and item >= 0 for item in items):
        raise ValueError(f"{where} is {value!r:.60}; it must be a list of whole numbers from 0 on")
    return tuple(int(item) for item in items)


def between(value: Any, most: float, whole: bool, where: str) -> None:
    """Take a number from 0 to most; whole allows no other."""
    kind = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 <= value <= most:
        words = "a whole number" if whole else "a number"
        raise ValueError(f"{where} is {value!r}; it must be {words} from 0 to {most:g}")


def one_of(value: Any, allowed: tuple[str, ...], where: str) -> None:
    """Take one of the allowed words only."""
    if value not in allowed:
        raise ValueError(f"{where} is {value!r}; allowed are {', '.join(allowed)}")
