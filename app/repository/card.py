"""The card as one worker uses it: admission by the ledger, the guard, and what to do on a fault."""

from __future__ import annotations

import importlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from app.backends.choice import BACKENDS, PRECISIONS, OpenclOptions, Source
from app.backends.session import Session
from app.backends.tflite import TfliteOptions
from app.errors import (
    DeviceError,
    DeviceMemoryError,
    InvalidInput,
    ModelLoadFailed,
    ServingError,
)
from app.repository import golden
from app.repository.crashes import Crash
from app.repository.names import Key
from app.repository.vram import Ledger
from app.tensors import Array
from app.trust.compare import Tolerance
from app.trust.device import HUNG, LOST, DeviceTrust, RestartMemory
from app.trust.guarded import GuardedSession, KnownAnswer
from monitoring import catalogue

log = logging.getLogger("app.card")

EVICTION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class CardOptions:
    """How far the card is used and trusted.

    Units: timeout of one run in seconds; vram in bytes, 0 for nine tenths of the card's;
           evict_idle in seconds, 0 for no eviction; evict_keep in models; window in seconds.
    """

    device: OpenclOptions
    timeout: float = 30.0
    vram: int = 0
    evict_idle: float = 0.0
    evict_keep: int = 1
    restarts: int = 3
    window: float = 600.0


class Card:
    """Opens models on the card, behind a guard that moves this worker to the CPU on a fault."""

    def __init__(
        self, options: CardOptions, folder: Path, evict: Callable[[Key], None]
    ) -> None:
        self._options = options
        self._path = folder / "vram.sqlite3"
        self._evict = evict
        self._ledger: Ledger | None = None
        # Which session an entry of the ledger stands for: one that is replaced goes later.
        self._entries: dict[Key, object] = {}
        self.trust = DeviceTrust()
        self.memory = RestartMemory(
            folder / "device-faults.jsonl", options.restarts, options.window
        )
        if self.memory.exhausted():
            self.trust.lose("given_up", self.memory.reason())
        self.trust.listen(self._count)

    def open(self, source: Source, known: golden.Feed) -> Session:
        """Load a model on the card; known gives the inputs of its golden check
        that are tried, one after the other.

        Raises: DeviceMemoryError if it does not fit; what the OpenCL backend raises.
        """
        if self.trust.suspect:
            raise DeviceError(f"this worker no longer uses the card: {self.trust.detail}")
        ledger = self._open_ledger()
        self._admit(ledger, source)
        try:
            # Plans of larger batches come later, and are made only while there is room.
            source = replace(source, reserve=partial(ledger.reserve, *_key(source)))
            session = BACKENDS["opencl"](source, self._options.device)
            try:
                return self._guarded(ledger, source, session, known)
            except BaseException:
                # A hung driver would hang this thread, too.
                if self.trust.kind != HUNG:
                    session.close()
                raise
        except BaseException:
            # The session that this one should have replaced still holds its memory.
            if _key(source) not in self._entries:
                ledger.release(source.name, source.version)
            raise

    def settle(self, sessions: Mapping[Key, Session]) -> None:
        """Bring the ledger up to what the loaded models hold now, and the metrics with it."""
        if self._ledger is None:
            return
        for key, session in sessions.items():
            if session.backend == "opencl":
                self._ledger.settle(*key, session.memory_bytes)
        held = sum(entry.size for entry in self._ledger.held())
        catalogue.LEDGER_BYTES.labels("reserved").set(held)
        catalogue.LEDGER_BYTES.labels("limit").set(self._ledger.capacity)

    def touch(self, used: Mapping[tuple[str, str], float]) -> None:
        """Tell the other workers when this one used its models last."""
        if self._ledger is not None:
            self._ledger.touch(used)

    def close(self) -> None:
        """Give this worker's entries back."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def crashed(self, crash: Crash) -> None:
        """Note the end of a worker in the card's driver; leave the card after too many."""
        if not crash.device:
            return
        try:
            self.memory.note(LOST)
        except OSError as error:
            log.error("it cannot be noted that the card's driver crashed: %s", error)
        if self.memory.exhausted():
            self.trust.lose("given_up", self.memory.reason())

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            # Imported here: pyopencl may only be touched in a worker, after the fork.
            backend = importlib.import_module("app.backends.opencl")
            device = backend.runtime_of(self._options.device, os.getpid()).device
            total = int(device.profile.global_bytes)
            capacity = self._options.vram or total * 9 // 10
            self._ledger = Ledger(self._path, device.pci or device.label, capacity)
        return self._ledger

    def _admit(self, ledger: Ledger, source: Source) -> None:
        key = Key(source.name, source.version)
        # A file is mostly weights; what comes on top is known when it was measured once.
        size = ledger.measured(source.sha256) or len(source.data)
        end = time.monotonic() + EVICTION_SECONDS
        while True:
            try:
                ledger.reserve(*key, size)
                return
            except DeviceMemoryError:
                victims = self._victims(ledger, size, key)
                if not victims or time.monotonic() > end:
                    catalogue.REJECTED.labels("device_memory").inc()
                    raise
            for victim in victims:
                self._evict(Key(*victim))
            time.sleep(0.1)

    def _victims(self, ledger: Ledger, size: int, key: Key) -> list[tuple[str, str]]:
        if not self._options.evict_idle:
            return []
        return ledger.victims(
            size, self._options.evict_idle, self._options.evict_keep, spare=(key.name, key.version)
        )

    def _guarded(
        self,
        ledger: Ledger,
        source: Source,
        session: Session,
        known: golden.Feed,
    ) -> Session:
        tried, entry = iter(known(session)), object()
        guarded = GuardedSession(
            session,
            lambda: BACKENDS["tflite"](source, self._options.device),
            _answer(source, session, tried, self._options.device),
            self.trust,
            self._options.timeout,
            session.concurrency,
            freed=lambda: self._release(source, entry),
        )
        while True:
            try:
                verdict = guarded.arm()
                break
            except InvalidInput:
                # tflite-runtime computes on from inputs that are too small to be right.
                guarded.answer = _answer(source, session, tried, self._options.device)
        # A model that was never right is the engine's fault more likely than the card's.
        result = "pass" if verdict.ok else "error"
        catalogue.CHECKED.labels(catalogue.model_labels(*_key(source))[0], result).inc()
        if not verdict.ok:
            guarded.close()
            raise DeviceError(f"the card computes {source.name} wrongly: {verdict.detail}")
        ledger.learn(source.sha256, session.memory_bytes)
        ledger.reserve(source.name, source.version, session.memory_bytes)
        self._entries[_key(source)] = entry
        return cast(Session, guarded)

    def _release(self, source: Source, entry: object) -> None:
        if self._entries.get(_key(source)) is not entry:
            return
        del self._entries[_key(source)]
        if self._ledger is not None:
            self._ledger.release(source.name, source.version)

    def _count(self, kind: str, detail: str) -> None:
        log.error("the card is no longer trusted: %s: %s", kind, detail)
        catalogue.DEVICE_FAULTS.labels(kind).inc()
        catalogue.DEVICE_SUSPECT.set(1)


def _key(source: Source) -> Key:
    return Key(source.name, source.version)


def _answer(
    source: Source, session: Session, tried: Iterable[Mapping[str, Array]], options: OpenclOptions
) -> KnownAnswer:
    """Ask the CPU what is right; where it cannot run the model, the card is its own measure.

    Raises: ModelLoadFailed if the model takes no input that is tried.
    """
    tolerance = Tolerance(PRECISIONS[source.precision], mean=source.precision != "fp32")
    if isinstance(source.cpu, TfliteOptions) and source.cpu.random:
        tolerance = Tolerance(relative=0.0, absolute=math.inf, steps=math.inf)
    try:
        cpu = BACKENDS["tflite"](source, options)
    except ServingError as error:
        log.warning("%s has no golden answer of the CPU: %s", source.name, error)
        return KnownAnswer(*golden.answered(session, tried), tolerance)
    try:
        return KnownAnswer(*golden.answered(cpu, tried), tolerance)
    except InvalidInput as error:
        raise ModelLoadFailed(f"no input for its check: {error}") from error
    finally:
        cpu.close()
