"""Keeps one worker's loaded models equal to the desired state."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.backends.session import Session
from app.errors import ModelNotReady, ServingError, exhausted
from app.repository import deaths, meter
from app.repository.descriptions import Descriptions
from app.repository.manifest import Manifest
from app.repository.names import Key
from app.repository.records import Report, Wish
from app.repository.resting import RestingShelf
from app.repository.served import Loaded, Opener
from app.repository.state import State
from app.trouble import Trouble, passes, report

log = logging.getLogger("app.store")

HOUSEKEEPING_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds until a model is tried again that there was no room for, doubled each time."""


class Store(RestingShelf):
    """The models of this worker, after the wishes in the state store.

    Two threads: one watches the wishes and unloads, so that is never late; one loads.
    """

    def __init__(
        self,
        state: State,
        descriptions: Descriptions,
        load: Callable[[Wish, Manifest], Session],
        open_lane: Opener,
        heartbeat: float,
        sweep: Callable[[Sequence[Loaded]], None],
    ) -> None:
        super().__init__(descriptions.label, state, heartbeat)
        self._descriptions = descriptions
        self._load = load
        self._open_lane = open_lane
        self._sweep = sweep
        # What there was no room to load: how long to wait, and until when (time.monotonic()).
        self._later: dict[Key, tuple[float, float]] = {}
        self._applied: dict[Key, int] = {}
        self._loading: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._serving = threading.Event()
        self._threads: list[threading.Thread] = []
        self._alive: Callable[[], bool] = lambda: True
        self._changed: Callable[[], None] = lambda: None
        self._lost: Callable[[], None] = lambda: None

    def listen(self, changed: Callable[[], None], lost: Callable[[], None]) -> None:
        """Call changed after every change of the state store, and lost once when it is gone.

        Neither may wait.
        """
        self._changed = changed
        self._lost = lost

    def start(self, alive: Callable[[], bool] = lambda: True) -> None:
        """Register this worker and begin to follow the wishes; alive turns false when it drains.

        Raises: RuntimeError where there is no room for a thread; call again.
        """
        self._alive = alive
        if not self._threads:
            self._state.register(self.worker)
        # Called again where there was no room for a thread.
        for run, name in ((self._watch, "watcher"), (self._work, "loader"))[len(self._threads) :]:
            thread = threading.Thread(target=run, name=f"store-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait_until_serving(self, timeout: float) -> bool:
        """Wait until every wish was carried out once, or failed."""
        return self._serving.wait(timeout)

    def serve_now(self) -> None:
        """Take traffic though models are still loading."""
        while not self._state.serve(self.worker, self._state.generation()):
            continue
        self._serving.set()

    def stop(self) -> None:
        """Let go of everything and leave the state store."""
        self._stopping.set()
        self._loading.put(None)
        for thread in self._threads:
            thread.join(timeout=5)
        with self._lock:
            for key in list(self._loaded):
                self._retire(key, "shutdown")
        try:
            if not self._state.lost():
                self._state.leave(self.worker)
        except Exception as error:
            # The others find out by themselves.
            report(log, error, "this worker could not take its leave")

    def restate(self) -> None:
        """Report anew what is loaded, after a fault has moved it to another device."""
        for item in self.loaded():
            wish = self._wishes.get(item.key)
            if wish is not None and wish.wanted:
                self._say(wish, "ready", facts=item.facts())

    # --- following the wishes ---

    def _watch(self) -> None:
        seen, swept = -1, 0.0
        trouble = Trouble(log, "the state store cannot be followed")
        while not self._stopping.is_set():
            if self._state.lost():
                log.error("the state file was removed or replaced; this worker begins anew")
                self._lost()
                return
            try:
                now = self._state.changed()
                if now != seen:
                    seen = now
                    self._follow()
                    self._changed()
                if not self._serving.is_set():
                    self._try_to_serve()
                if not self._alive():
                    self._state.drain(self.worker)
                    self._alive = lambda: True
                if time.monotonic() - swept > HOUSEKEEPING_SECONDS:
                    swept = time.monotonic()
                    self._try_again(swept)
                    self._state.bury()
                    self._state.purge()
                    self._sweep(self.loaded())
                    trouble.over()
            except Exception as error:
                # A worker that stops following would disagree with the others for ever.
                trouble.met(error)
                seen = -1
                self._stopping.wait(1.0)
            self._stopping.wait(self._heartbeat)

    def _follow(self) -> None:
        wishes = {wish.key: wish for wish in self._state.wishes()}
        with self._lock:
            self._wish(wishes)
            gone = [key for key in self._loaded if key not in wishes]
            for key in gone:
                self._retire(key)
        for key in gone:
            self._applied.pop(key, None)
        for wish in wishes.values():
            if self._applied.get(wish.key) == wish.generation:
                continue
            if wish.wanted:
                self._loading.put(wish.key)
            else:
                with self._lock:
                    self._retire(wish.key, wish.asleep or "requested")
                self._say(wish, "unloaded")
            self._applied[wish.key] = wish.generation

    def _try_to_serve(self) -> None:
        """Begin to serve once all wishes are carried out, if there are no newer ones by then."""
        mine = {r.key: r for r in self._state.reports() if r.worker == self.worker}
        for key, wish in self._wishes.items():
            report = mine.get(key)
            if report is None or report.generation < wish.generation or report.state == "loading":
                return
        last = max((wish.generation for wish in self._wishes.values()), default=0)
        if self._state.serve(self.worker, last):
            self._serving.set()

    def _postpone(self, key: Key) -> float:
        before, _ = self._later.get(key, (FIRST_PAUSE / 2, 0.0))
        pause = min(2 * before, LONGEST_PAUSE)
        self._later[key] = pause, time.monotonic() + pause
        return pause

    def _try_again(self, now: float) -> None:
        for key, (pause, due) in list(self._later.items()):
            if now >= due:
                self._later[key] = pause, float("inf")
                self._loading.put(key)

    def _work(self) -> None:
        trouble = Trouble(log, "models cannot be loaded, or not be reported")
        while (key := self._loading.get()) is not None:
            wish = self._wishes.get(key)
            if wish is None or not wish.wanted:
                continue
            try:
                self._carry_out(wish)
                trouble.over()
            except Exception as error:
                # The others, and whoever asked, wait for this worker's report.
                trouble.met(error)
                if not self._stopping.wait(1.0):
                    self._loading.put(key)

    def _carry_out(self, wish: Wish) -> None:
        present = self._loaded.get(wish.key)
        away = deaths.set_aside(wish)
        if present and present.fulfils(wish) and not away:
            self._say(wish, "ready", facts=present.facts())
            return
        self._say(wish, "loading")
        start = time.perf_counter()
        try:
            if away:
                raise ModelNotReady(away)
            described = self._descriptions.of(wish.key.name, wish.described)
            session = self._load(wish, described.manifest)
        except Exception as error:
            newest = self._state.wish(wish.key)
            if newest is None or newest.generation != wish.generation:
                return  # what comes of this is nobody's wish any more
            known = error if isinstance(error, ServingError) else exhausted(error)
            if known is None:
                log.exception("loading %s failed unexpectedly", wish.key)
            code = getattr(known, "code", "internal_error")
            text = str(known or error) or type(error).__name__
            if passes(error):
                text += f"; it is tried again in {self._postpone(wish.key):g} s"
            if present and present.sha256 == wish.sha256 and not away:
                text += "; until it can be loaded so, it is served as it was before"
            else:
                with self._lock:
                    self._retire(wish.key, "replaced")
            with self._lock:
                self._waking.discard(wish.key)
            meter.load_failed(wish.key, code)
            self._say(wish, "failed", error=text, facts={"code": code})
            return
        self._later.pop(wish.key, None)
        loaded = self._open_lane(wish, described, session, time.perf_counter() - start)
        with self._lock:
            now = self._wishes.get(wish.key)
            current = now is not None and now.wanted
            if current:
                self._place(loaded)
        if not current:
            loaded.dispose()
            return
        self._say(wish, "ready", facts=loaded.facts())

    def _say(
        self, wish: Wish, state: str, error: str | None = None, facts: dict[str, Any] | None = None
    ) -> None:
        level = logging.WARNING if state == "failed" else logging.INFO
        log.log(
            level, "model %s", state,
            extra={"model": wish.key.name, "version": wish.key.version, "error": error},
        )  # fmt: skip
        with self._lock:
            meter.standing(len(self._loaded), sum(w.wanted for w in self._wishes.values()))
        self._state.report(
            Report(self.worker, wish.key, wish.generation, state, error, facts or {})
        )
