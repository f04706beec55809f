"""Errors of planning, told as what they mean: the file says what no converter would write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.engine.ir import Node
from app.errors import InvalidModel

# What a rule runs into whose node lacks an option or an input, or has impossible ones.
BROKEN = (KeyError, IndexError, TypeError, AssertionError, AttributeError, ArithmeticError,
          ValueError, MemoryError)


@contextmanager
def sound(what: str, *others: type[Exception]) -> Iterator[None]:
    """Say what of the file is not sound where work on it breaks off.

    others: errors that mean something else here, and pass.
    Raises: InvalidModel for everything that only a damaged file can bring about.
    """
    try:
        yield
    except others:
        raise
    except BROKEN as error:
        raise InvalidModel(f"{what} is damaged or not as the schema has it: "
                           f"{type(error).__name__}: {error}") from error


@contextmanager
def blamed(node: Node, *others: type[Exception]) -> Iterator[None]:
    """The same for one operator of the file."""
    with sound(f"operator {node.index} ({node.op})", *others):
        yield
