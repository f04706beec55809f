"""The rows of the state store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.repository.names import Key


@dataclass(frozen=True, slots=True)
class Wish:
    """What should be true of one model version on every worker.

    deaths: workers that died while they loaded it since the wish was last made.
    described: names what its model.yaml says; see descriptions.py.
    crashes: workers that crashed while they ran it; see deaths.py.
    asleep: why it is unloaded until the next request, "idle" or "evicted"; "" if it is not.
    """

    key: Key
    sha256: str
    backend: str
    wanted: bool
    deleted: bool
    generation: int
    deaths: int
    described: str = ""
    crashes: int = 0
    asleep: str = ""

    @property
    def rest(self) -> str:
        """Say of a version that is asleep that it is; "" of any other."""
        return f"{self.asleep}: the next request brings it back" if self.asleep else ""


@dataclass(frozen=True, slots=True)
class Worker:
    """One registered worker process; phase is starting, serving or draining.

    Units: since in time.monotonic() seconds, when it was registered.
    """

    worker: str
    pid: int
    since: float
    phase: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker made of one wish; state is loading, ready, failed or unloaded."""

    worker: str
    key: Key
    generation: int
    state: str
    error: str | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """A load, unload, upload or delete that somebody asked for.

    kind: load, unload, put or delete; policy is a load of what version_policy names.
    """

    id: str
    kind: str
    key: Key
    sha256: str
    generation: int
    at: float
