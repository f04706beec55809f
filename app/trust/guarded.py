"""A session on a device that may lie, hang or vanish, with the CPU behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from app.backends.session import Prepares, Session
from app.errors import DeviceError, DeviceHung, DeviceMemoryError
from app.tensors import Array
from app.trust.compare import Tolerance, Verdict, compare, same_bits
from app.trust.device import HUNG, LOST, WRONG, DeviceTrust
from app.trust.watchdog import PATIENCE, Watchdog


@runtime_checkable
class Readable(Protocol):
    """A session that can read its weights back from the device."""

    def damaged(self) -> list[str]:
        """Name the weights that the device no longer holds as they were sent."""


@runtime_checkable
class Shared(Protocol):
    """A session that waits for its turn on a device that other sessions use too."""

    @property
    def busy_seconds(self) -> float:
        """How long the device has been at what it does now, whoever asked for it."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An input, and what the CPU backend makes of it."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    tolerance: Tolerance = field(default_factory=Tolerance)


class GuardedSession:
    """Answers from the device while it is trusted, and from the CPU from then on.

    The golden check is twofold: against the CPU, within the tolerance; and against the device's
    own first answer, to the bit, which finds faults in memory that are far too small for any
    tolerance. Where weights can be read back, they are compared with what was sent. A device that
    does not repeat itself to the bit at the start is held to the tolerance alone.
    """

    def __init__(
        self,
        primary: Session,
        fallback: Callable[[], Session],
        answer: KnownAnswer,
        trust: DeviceTrust,
        timeout: float,
        threads: int = 1,
        freed: Callable[[], None] = lambda: None,
    ) -> None:
        self._primary = primary
        self._prepares = primary if isinstance(primary, Prepares) else None
        self._make_fallback = fallback
        self.answer = answer
        self._trust = trust
        busy = (lambda: primary.busy_seconds) if isinstance(primary, Shared) else None
        self._watchdog = Watchdog(timeout, threads, busy)
        self._timeout = timeout
        self._maker: Watchdog | None = None
        self._lock = threading.Lock()
        self._fallback: Session | None = None
        self._first: dict[str, Array] | None = None
        self._closed = self._armed = False
        self._freed = freed

    # -- the session protocol --------------------------------------------------------------------

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once, on the CPU if the device fails meanwhile.

        Raises: InvalidInput if an array does not fit.
        """
        if self._trust.suspect:
            return self.cpu().run(inputs)
        try:
            return self._on_device(inputs)
        except DeviceMemoryError:
            # Too large a request says nothing about the device's health.
            return self.cpu().run(inputs)
        except DeviceError as error:
            self._trust.lose(HUNG if isinstance(error, DeviceHung) else LOST, str(error))
            return self.cpu().run(inputs)

    def prepared(self, inputs: Mapping[str, Array]) -> bool:
        """Tell whether a run of these inputs needs nothing to be made first."""
        if self._prepares is None or self._trust.suspect:
            return True
        return self._prepares.prepared(inputs)

    def prepare(self, inputs: Mapping[str, Array]) -> None:
        """Make what it needs; a compiler that never comes back is a hung device."""
        prepares = self._prepares
        if prepares is None or self._trust.suspect:
            return
        with self._lock:
            if self._closed:
                return
            self._maker = self._maker or Watchdog(PATIENCE * self._timeout)
            maker = self._maker
        try:
            maker.call(lambda: prepares.prepare(inputs))
        except DeviceHung as error:
            self._trust.lose(HUNG, str(error))

    def close(self) -> None:
        """Free both sessions, unless the device's driver holds on to its own."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._watchdog.close()
        if self._maker is not None:
            self._maker.close()
        if self._trust.kind != HUNG:
            self._primary.close()
            self._freed()
        if self._fallback is not None:
            self._fallback.close()

    def __getattr__(self, name: str) -> Any:
        """Describe what answers now: backend, device, reason, specs, memory, concurrency."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.cpu() if self._trust.suspect else self._primary, name)

    @property
    def reason(self) -> str:
        """Say why this backend answers."""
        if self._trust.suspect:
            return f"CPU, because the card is no longer trusted: {self._trust.detail}"
        return self._primary.reason

    @property
    def tolerance(self) -> Tolerance:
        """What the device may differ from the CPU by."""
        return self.answer.tolerance

    # -- trust -----------------------------------------------------------------------------------

    def arm(self) -> Verdict:
        """Check after the load, and remember the device's own answer."""
        if self._trust.suspect:
            return Verdict(0.0)
        verdict = self.check()
        self._armed = verdict.ok
        if verdict.ok and not self._trust.suspect:
            first = self._on_device(self.answer.inputs)
            if same_bits(first, self._on_device(self.answer.inputs)):
                self._first = first
        return verdict

    def check(self) -> Verdict:
        """Run the known input on the device; no answer, or one that was right before, ends trust.

        A wrong answer before arm() was through is the engine's fault more likely than the card's.
        """
        try:
            found = self._on_device(self.answer.inputs)
            damaged = self._damaged()
        except DeviceError as error:
            self._trust.lose(HUNG if isinstance(error, DeviceHung) else LOST, str(error))
            return Verdict(float("inf"), detail=str(error))
        verdict = compare(self.answer.outputs, found, self.answer.tolerance)
        if verdict.ok and self._first is not None and not same_bits(self._first, found):
            verdict = Verdict(float("inf"), detail="it no longer repeats its own answer to the bit")
        elif verdict.ok and damaged:
            verdict = Verdict(float("inf"), detail=f"weights changed on it: {', '.join(damaged)}")
        if not verdict.ok and self._armed:
            where = f"output {verdict.output!r}: " if verdict.output else ""
            self._trust.lose(WRONG, f"the golden check failed: {where}{verdict.detail}")
        return verdict

    def cpu(self) -> Session:
        """Give the CPU session, made when it is first needed."""
        with self._lock:
            if self._fallback is None:
                self._fallback = self._make_fallback()
            return self._fallback

    def _on_device(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs: dict[str, Array] = self._watchdog.call(lambda: self._primary.run(inputs))
        return outputs

    def _damaged(self) -> list[str]:
        if not isinstance(self._primary, Readable):
            return []
        names: list[str] = self._watchdog.call(self._primary.damaged)
        return names
