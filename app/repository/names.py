"""Names and versions of models: what is allowed, and how versions are ordered."""

from __future__ import annotations

import re
from typing import NamedTuple

from app.errors import InvalidRequest

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Key(NamedTuple):
    """One version of one model."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def is_name(text: str) -> bool:
    """Tell whether this may name a model or a version."""
    return NAME.fullmatch(text) is not None and not text.startswith(".")


def checked(text: str, what: str) -> str:
    """Give the name back if it is allowed.

    Raises: InvalidRequest.
    """
    if not is_name(text):
        raise InvalidRequest(
            f"{text[:80]!r} cannot name a {what}: use 1 to 64 letters, digits, '.', '_' or '-', "
            "not starting with a '.'"
        )
    return text


def order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Order versions as people do: 2 < 10, 1.9 < 1.10; numbers before words at the same place."""
    parts = re.findall(r"\d+|[^\d]+", version)
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts)
