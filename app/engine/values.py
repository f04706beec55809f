"""What travels between steps and graphs of one request: arrays, device memory, handles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.engine.ir import Data, Node


@dataclass(frozen=True, slots=True, eq=False)
class Resident:
    """An array in device memory, valid until its owner runs again.

    Units: nbytes at offset 0 of buffer.
    """

    buffer: Any
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


def variable_name(node: Node) -> str:
    """The name of the variable that a VAR_HANDLE stands for."""
    return f"{node.options.get('container') or ''}/{node.options.get('shared_name')}"


@dataclass(frozen=True, slots=True)
class Handle:
    """What a resource tensor holds: the name of a variable or a table."""

    name: str
    shape: tuple[int, ...] = ()


Value = Data | Resident | Handle
