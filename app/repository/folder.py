"""The model files on disk: models/<name>/<version>/model.tflite, never half written."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from app.errors import (
    InvalidModel,
    InvalidRequest,
    ModelConflict,
    ModelLoadFailed,
    ModelNotFound,
    RequestTooLarge,
    StorageFailed,
)
from app.repository import scratch
from app.repository.names import Key, is_name
from app.repository.strays import shown, strays

FILE = "model.tflite"
DESCRIPTION = "model.yaml"
BLOCK = 1 << 20


class Folder:
    """The repository's folder. Several processes may use it at once."""

    def __init__(self, root: Path, locks: Path, largest: int) -> None:
        """Name it.

        Units: largest in bytes of a file that is read.
        """
        self._root = root
        self._locks = locks
        self._largest = largest
        self._digests: dict[Key, tuple[tuple[int, int, int], str]] = {}

    def path(self, key: Key) -> Path:
        """Say where a version's file is."""
        return self._root / key.name / key.version / FILE

    def beside(self, name: str) -> Path:
        """Say where a model's description and its pictures are."""
        return self._root / name

    def description(self, name: str) -> str:
        """Read a model.yaml; "" where there is none.

        Raises: InvalidModel.
        """
        try:
            with self._opened(self.beside(name) / DESCRIPTION, f"the {DESCRIPTION} of {name}") as (
                file, _,
            ):  # fmt: skip
                return file.read().decode("utf-8")
        except ModelNotFound:
            return ""
        except (ModelLoadFailed, UnicodeDecodeError) as error:
            raise InvalidModel(f"{DESCRIPTION} cannot be read: {error}") from error

    def mark(self, name: str, picture: str) -> str:
        """Tell a file beside a model.yaml from what it was before, without reading it."""
        try:
            facts = (self.beside(name) / picture).stat()
        except OSError:
            return ""
        return f"{facts.st_size} {facts.st_mtime_ns}"

    def missing(self) -> bool:
        """Tell whether there is no repository, not even an empty one."""
        return not self._root.is_dir()

    def _is_inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._root))

    def _inside(self, place: Path) -> None:
        if not self._is_inside(place):
            raise ModelConflict(
                f"{place.relative_to(self._root)} is, or lies behind, a link that leads out of the "
                "repository (MODELS_DIR); what is there is neither written nor removed"
            )

    def listed(self) -> list[Key]:
        """List what is on disk; names that cannot be served, and links out of here, are not."""
        found = []
        for folder in shown(self._root):
            for version in shown(folder) if is_name(folder.name) else ():
                path = version / FILE
                if is_name(version.name) and os.path.isfile(path) and self._is_inside(path):
                    found.append(Key(folder.name, version.name))
        return found

    def gone(self, key: Key) -> bool:
        """Tell whether a version's file is not there; one that may not be looked at is."""
        try:
            self.path(key).stat()
        except OSError as error:
            return isinstance(error, FileNotFoundError | NotADirectoryError)
        return False

    def strays(self) -> list[str]:
        """Say what looks like a model and is not listed, and what to do with it."""
        return list(strays(self._root, FILE))

    def clear(self) -> None:
        """Remove what processes that were killed have left of uploads and removals."""
        scratch.clear(self._root)

    def digest(self, key: Key) -> str:
        """Compute a file's sha256; unchanged files are read once.

        Raises: ModelNotFound, InvalidModel, ModelLoadFailed.
        """
        with self._opened(self.path(key), f"the file of {key}") as (file, facts):
            mark = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
            known, digest = self._digests.get(key, (None, ""))
            if known != mark:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                self._digests[key] = mark, digest
            return digest

    def read(self, key: Key) -> bytes:
        """Read a version's file.

        Raises: ModelNotFound, InvalidModel, ModelLoadFailed.
        """
        with self._opened(self.path(key), f"the file of {key}") as (file, _):
            return file.read()

    @contextmanager
    def _opened(self, path: Path, what: str) -> Iterator[tuple[BufferedReader, os.stat_result]]:
        """Open a file that anybody may have put there, or put something else in its place."""
        try:
            # A pipe would be waited for.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as file:
                facts = os.fstat(handle)
                self._check(what, facts)
                yield file, facts
        except FileNotFoundError as error:
            raise ModelNotFound(f"{what} is not there") from error
        except OSError as error:
            raise ModelLoadFailed(f"{what} cannot be read: {error.strerror}") from error

    def _check(self, what: str, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidModel(f"what is in the place of {what} is no file")
        if facts.st_size > self._largest:
            raise InvalidModel(
                f"{what} has {facts.st_size} bytes; {self._largest} are taken (MAX_MODEL_MB)"
            )

    @contextmanager
    def locked(self, key: Key) -> Iterator[None]:
        """Keep other workers from changing this version's file meanwhile."""
        self._locks.mkdir(parents=True, exist_ok=True)
        number = int(hashlib.sha256(str(key).encode()).hexdigest()[:4], 16) % 64
        with (self._locks / f"file-{number}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def incoming(self, stream: IO[bytes], limit: int) -> Iterator[tuple[Path, str]]:
        """Receive an upload into a temporary file; give its path and sha256.

        Raises: RequestTooLarge beyond limit bytes; InvalidRequest if empty; StorageFailed.
        """
        with _storage():
            self._root.mkdir(parents=True, exist_ok=True)
            handle, path = scratch.incoming(self._root)
        sink = os.fdopen(handle, "wb")
        try:
            yield path, _copy(stream, sink, limit)
        finally:
            # What could not be written is tried once more, and has been told of.
            with suppress(OSError):
                sink.close()
            path.unlink(missing_ok=True)

    @contextmanager
    def published(self, incoming: Path, key: Key) -> Iterator[None]:
        """Put a received file in its place, in one step; back if what goes with it fails.

        Raises: StorageFailed; ModelConflict where a link leads out of the repository.
        """
        place = self.path(key)
        self._inside(place.parent)
        with _storage():
            place.parent.mkdir(parents=True, exist_ok=True)
            incoming.chmod(0o644)
            fresh, before = not place.exists(), scratch.second_name(place, incoming)
            os.replace(incoming, place)
            _sync(place.parent)
        try:
            yield
        except BaseException:
            with _storage():
                if before is not None:
                    os.replace(before, place)
                elif fresh:
                    place.unlink(missing_ok=True)
            raise
        finally:
            if before is not None:
                before.unlink(missing_ok=True)

    @contextmanager
    def removed(self, key: Key) -> Iterator[None]:
        """Take a version's folder away, in one step; put it back if what goes with it fails.

        The model's description stays.
        Raises: StorageFailed; ModelConflict where a link leads out of the repository.
        """
        self._inside(self.path(key).parent)
        with _storage(), scratch.discarded(self._root, self.path(key).parent):
            yield
        # Somebody may put another version there at this moment.
        with suppress(OSError):
            (self._root / key.name).rmdir()


def _copy(stream: IO[bytes], sink: IO[bytes], limit: int) -> str:
    digest, size = hashlib.sha256(), 0
    while block := stream.read(BLOCK):
        size += len(block)
        if size > limit:
            raise RequestTooLarge(f"a model may have {limit} bytes at most (MAX_MODEL_MB)")
        digest.update(block)
        with _storage():
            sink.write(block)
    if size == 0:
        raise InvalidRequest("the body is empty; send the bytes of a .tflite file")
    with _storage():
        sink.flush()
        os.fsync(sink.fileno())
    return digest.hexdigest()


@contextmanager
def _storage() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"the model repository cannot be written: {error}") from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
