"""How far the workers have followed what is wished for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.repository.records import Action, Report, Wish, Worker


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What one worker made of a wish; pending until it reports."""

    worker: str
    pid: int
    state: str
    error: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far an action has come: done, pending, failed or superseded."""

    action: Action
    state: str
    workers: tuple[WorkerState, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """One version: the wish, each living worker's report, and the facts of a ready one."""

    wish: Wish
    reports: tuple[tuple[Worker, Report | None], ...]

    def current(self) -> Iterator[tuple[Worker, Report | None]]:
        """Give each living worker's report, None where it has not followed the wish yet."""
        for worker, report in self.reports:
            late = report is None or report.generation < self.wish.generation
            yield worker, None if late else report

    def facts(self) -> dict[str, object]:
        """Give what a ready worker knows of the model; all of them know the same."""
        for _, report in self.reports:
            if report is not None and report.state == "ready":
                return report.facts
        return {}


def reached(worker: Worker, report: Report | None, goal: int, purged: bool) -> WorkerState:
    """Say how far a worker is on its way to a generation; purged if nothing is left to follow."""
    if purged:  # which happens when every worker has let go of it
        return WorkerState(worker.worker, worker.pid, "unloaded")
    if report is None or report.generation < goal or report.state == "loading":
        return WorkerState(worker.worker, worker.pid, "pending")
    code = report.facts.get("code")
    return WorkerState(worker.worker, worker.pid, report.state, report.error, code)
