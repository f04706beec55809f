"""Which variant of a kernel a shape gets: the one measured, else the one predicted fastest."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

Variant = TypeVar("Variant")
# Candidates that are worth timing: the prediction is rarely further off.
SHORTLIST = 6


class Choices:
    """Measured choices of one device; knows its file where they are kept.

    measured maps a shape's key to the fields of the variant that was fastest; asked, while the
    tuner listens, collects the shortlist of every key that a rule asks for.
    """

    def __init__(self, measured: dict[str, tuple[int, ...]] | None = None) -> None:
        self.measured: dict[str, tuple[int, ...]] = measured or {}
        self.asked: dict[str, list[Any]] | None = None

    def pick(self, key: str, candidates: Sequence[Variant],
             cost: Callable[[Variant], Any]) -> Variant:
        """The measured variant if it is still a candidate, else the one with the least cost."""
        if self.asked is not None:
            self.asked[key] = sorted(candidates, key=cost)[:SHORTLIST]
        known = self.measured.get(key)
        if known is not None:
            for candidate in candidates:
                if astuple(candidate) == known:  # type: ignore[call-overload]
                    return candidate
        return min(candidates, key=cost)


def load(path: Path) -> Choices:
    """Read a file of choices; a missing or damaged one is empty."""
    try:
        rows = json.loads(path.read_text("utf-8"))
        return Choices({str(k): tuple(int(n) for n in v) for k, v in rows.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return Choices()


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold the right to tune for a file of choices; False if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def save(path: Path, choices: Choices) -> None:
    """Write choices over those of other workers that the file has meanwhile; atomic, and one
    worker after the other, so that none loses what another one measured."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".merge").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            merged = {**load(path).measured, **choices.measured}
            handle, name = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(merged, file, indent=0, sort_keys=True)
            os.replace(name, path)
    except OSError as error:
        warnings.warn(f"tuned choices cannot be kept in {path.parent}: {error}", stacklevel=2)
