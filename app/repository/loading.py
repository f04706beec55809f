"""Carries out one wish: check the file, choose the backend, load, warm up, compare."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial

from app.backends.choice import BACKENDS, PRECISIONS, OpenclOptions, Source
from app.backends.session import Session
from app.backends.tflite import TfliteOptions
from app.errors import (
    DeviceError,
    InvalidInput,
    InvalidModel,
    ModelFileChanged,
    ModelLoadFailed,
    ModelNotFound,
    ServingError,
)
from app.repository import golden, meter
from app.repository.card import Card
from app.repository.folder import Folder
from app.repository.manifest import Golden, Manifest
from app.repository.names import Key
from app.repository.records import Wish
from app.repository.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How models are loaded when neither the caller nor model.yaml says otherwise."""

    backend: str = "auto"
    precision: str = "fp32"
    device: OpenclOptions = field(default_factory=OpenclOptions)
    interpreters: int = 2
    interpreter_threads: int = 1


class Loader:
    """Makes a ready session from a wish."""

    def __init__(
        self, folder: Folder, sandbox: Sandbox, options: LoadOptions, card: Card
    ) -> None:
        self._card = card
        self._folder = folder
        self._sandbox = sandbox
        self._options = options

    def __call__(self, wish: Wish, described: Manifest) -> Session:
        """Load, run once and compare with the golden answer.

        Raises: ServingError with the reason.
        """
        data = self._read(wish.key)
        digest = hashlib.sha256(data).hexdigest()
        if digest != wish.sha256:
            # Whoever puts another file there makes it a wish before they let go.
            with self._folder.locked(wish.key):
                pass
            raise ModelFileChanged(
                f"the file has sha256 {digest} but {wish.sha256} is wanted; "
                f"POST /models/{wish.key.name}/load takes it as it is now"
            )
        described.agree(wish.key.version, digest)
        known = described.golden.get(wish.key.version)
        precision = described.precision
        if precision == "default":
            precision = self._options.precision
        source = Source(*wish.key, digest, data, self._cpu(wish), precision)
        pictures = golden.Pictures(
            self._folder.beside(wish.key.name), described.preprocessing
        )
        feed = partial(golden.tries, golden=known, pictures=pictures)
        session = self._open(source, self.backend(wish, described), feed)
        try:
            # Halved weights answer less exactly than a golden answer may have been told to be.
            halved = session.backend == "opencl" and precision != "fp32"
            least = PRECISIONS[precision] if halved else 0.0
            self._warm_up(session, known, feed, least)
        except BaseException:
            session.close()
            raise
        return session

    def _read(self, key: Key) -> bytes:
        try:
            return self._folder.read(key)
        except ModelNotFound:
            # Whoever takes a file away makes that a wish before they let go.
            with self._folder.locked(key):
                return self._folder.read(key)

    def _open(self, source: Source, backend: str, feed: golden.Feed) -> Session:
        """Load on the backend asked for; auto tries the card first, then the CPU.

        A card that failed before is left alone even where it was asked for: its callers are
        better served by the CPU than by nobody.
        """
        if backend == "tflite":
            return BACKENDS["tflite"](source, self._options.device)
        try:
            return self._card.open(source, feed)
        except (DeviceError, InvalidModel, ModelLoadFailed) as error:
            if backend != "auto" and not self._card.trust.suspect:
                raise
            session = BACKENDS["tflite"](source, self._options.device)
            session.reason = f"CPU, because {error}; {session.reason}"
            meter.fallback(source.name, source.version, error.code)
            return session

    def backend(self, wish: Wish, described: Manifest) -> str:
        """Say which backend is meant: the caller's, else model.yaml's, else the server's."""
        for choice in (wish.backend, described.backend):
            if choice != "default":
                return choice
        return self._options.backend

    def _cpu(self, wish: Wish) -> TfliteOptions | ServingError:
        try:
            verdict = self._sandbox.check(self._folder.path(wish.key), wish.sha256)
        except InvalidModel as error:
            return error
        return TfliteOptions(
            verdict.runtime,
            verdict.reason,
            threads=self._options.interpreter_threads,
            pool=self._options.interpreters,
            stateful=verdict.stateful,
            random=verdict.random,
            steady=verdict.steady,
            memory_bytes=verdict.memory_bytes,
        )

    def _warm_up(
        self, session: Session, known: Golden | None, feed: golden.Feed, least: float
    ) -> None:
        free = any(size < 0 for spec in session.inputs for size in spec.shape[1:])
        if free and known is None:
            return  # the size that this model takes is known to its users only
        try:
            _, outputs = golden.answered(session, feed(session))
        except InvalidInput as error:
            raise ModelLoadFailed(f"the warm-up run failed: {error}") from error
        if known is not None:
            golden.check(outputs, known, least)
