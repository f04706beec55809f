"""Brings one URL into one file: resumable, checked, and safe against other processes."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO

from app.errors import ModelSourceError
from app.repository.web import (
    TRIES,
    Connection,
    RangeRefused,
    headers_of,
    pause,
    unreachable,
    without_login,
)

CHUNK = 1 << 16
SIZE_LIMIT = 4 << 30


class _Interrupted(Exception):
    """The transfer broke off; what came so far is kept."""


@dataclass(slots=True)
class Progress:
    """A bar on a terminal, one line elsewhere, nothing when it is off.

    Units: done and total in bytes.
    """

    label: str
    enabled: bool
    stream: IO[str] = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)
    drawn: float = 0.0

    def show(self, done: int, total: int | None, *, last: bool = False) -> None:
        """Draw the state, at most ten times a second."""
        now = time.monotonic()
        if not self.enabled or not (last or now - self.drawn > 0.1):
            return
        if self.stream.isatty():
            self.drawn = now
            share = min(1.0, done / total) if total else 0.0
            bar = "#" * round(24 * share)
            rate = done / max(now - self.started, 1e-3) / 1e6
            of = f"/{total / 1e6:.1f}" if total else ""
            text = f"\r{self.label} [{bar:<24}] {done / 1e6:.1f}{of} MB {rate:.1f} MB/s "
            self.stream.write(text + ("\n" if last else ""))
        elif last:
            self.stream.write(f"{self.label}: {done / 1e6:.1f} MB\n")
        self.stream.flush()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`.lock: one process at a time, freed by the kernel if it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def download(
    url: str, dest: Path, *, sha256: str | None, web: Connection, progress: Progress
) -> Path:
    """Bring a URL into dest, going on where an earlier try broke off.

    The caller holds the lock of dest.
    Raises: ModelSourceError if it can't be had or is not what sha256 says; NotThere.
    """
    part = dest.with_name(dest.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    resumed = part.exists()
    _transfer(url, part, sure=sha256 is not None, web=web, progress=progress)
    digest = file_sha256(part)
    if sha256 is not None and digest != sha256 and resumed:
        # What an earlier process left may be of another file: once more from the start.
        part.unlink()
        _transfer(url, part, sure=True, web=web, progress=progress)
        digest = file_sha256(part)
    if sha256 is not None and digest != sha256:
        part.unlink()
        raise ModelSourceError(
            f"{without_login(url)} has sha256 {digest} and not {sha256} as it should"
        )
    _tag(part).unlink(missing_ok=True)
    os.replace(part, dest)
    return dest


def file_sha256(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _transfer(url: str, part: Path, *, sure: bool, web: Connection, progress: Progress) -> None:
    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _append(url, part, sure=sure, web=web, progress=progress)
        except (OSError, http.client.HTTPException, _Interrupted) as error:
            after = part.stat().st_size if part.exists() else 0
            tries = 0 if after > before else tries + 1
            if tries >= TRIES:
                raise unreachable(url, error) from error
            pause(tries)


def _append(url: str, part: Path, *, sure: bool, web: Connection, progress: Progress) -> None:
    """Fetch the bytes that are still missing; without a known digest only of the same version."""
    have = part.stat().st_size if part.exists() else 0
    tag = _tag(part).read_text() if _tag(part).exists() else ""
    headers = {"Accept-Encoding": "identity"}
    if have and (tag or sure):
        headers["Range"] = f"bytes={have}-"
        if tag:
            headers["If-Range"] = tag
    try:
        stream = web.open(url, headers)
    except RangeRefused as error:
        part.unlink(missing_ok=True)
        raise _Interrupted("the server refused the range") from error
    with stream:
        answer = headers_of(stream)
        start = have if _continues(answer, have) else 0
        _remember_version(part, answer)
        length = answer.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("r+b" if start else "wb") as sink:
            sink.seek(start)
            done = _copy(stream, sink, start, total, progress)
    if total is not None and done < total:
        raise _Interrupted(f"it broke off after {done} of {total} bytes")
    progress.show(done, total, last=True)


def _copy(
    source: IO[bytes], sink: IO[bytes], done: int, total: int | None, progress: Progress
) -> int:
    while block := source.read(CHUNK):
        sink.write(block)
        done += len(block)
        if done > SIZE_LIMIT:
            raise ModelSourceError(f"the file is larger than {SIZE_LIMIT} bytes")
        progress.show(done, total)
    return done


def _continues(answer: Message, have: int) -> bool:
    return (answer.get("Content-Range") or "").startswith(f"bytes {have}-") and have > 0


def _remember_version(part: Path, answer: Message) -> None:
    tag = answer.get("ETag", "")
    if tag and not tag.startswith("W/"):
        _tag(part).write_text(tag)
    else:
        _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")
