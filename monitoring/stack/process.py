"""A program in the background, known by a file that holds its pid and start time."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class StackError(RuntimeError):
    """Something of the stack did not start; the message says what and what to do."""


@dataclass(frozen=True)
class Service:
    """One program of the stack. Units: address is host:port; patience in seconds."""

    name: str
    command: list[str]
    address: str
    ready: str
    state: Path
    environ: Mapping[str, str]

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.state / f"{self.name}.log"

    @property
    def url(self) -> str:
        """Where people and programs reach it."""
        return f"http://{self.address}"

    def refuse_others(self) -> None:
        """Make sure that nobody else is where this is going to be.

        Raises: StackError if somebody is.
        """
        host, _, port = self.address.rpartition(":")
        if self.pid() is not None or not listens(host, int(port)):
            return
        unit = Path(self.command[0]).name
        raise StackError(
            f"{self.name}: something that we did not start listens on {self.address}; stop it "
            f"(Debian's package starts one: systemctl disable --now {unit}), or choose another "
            f"port with {self.name.upper().replace('-', '_')}_PORT"
        )

    def start(self) -> bool:
        """Start it unless it runs; say whether it was started."""
        if self.pid() is not None:
            return False
        self.state.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # It outlives us on purpose, so nothing here waits for it.
        pid = os.posix_spawn(
            self.command[0], self.command, self.environ, setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )  # fmt: skip
        self._file.write_text(json.dumps({"pid": pid, "started": _started(pid)}))
        return True

    def wait(self, patience: float = 30) -> None:
        """Wait until it is ready.

        Raises: StackError with the end of its log if it ends or is not ready in time.
        """
        end = time.monotonic() + patience
        while not answers(self.url + self.ready):
            if self.pid() is None or time.monotonic() > end:
                raise StackError(f"{self.name} is not ready; {self._last_words()}")
            time.sleep(0.1)

    def stop(self, patience: float = 20) -> bool:
        """End it and wait for that; say whether it ran."""
        pid = self.pid()
        if pid is None:
            self._file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + patience
        while self.pid() is not None:
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        self._file.unlink(missing_ok=True)
        return True

    def reload(self, patience: float = 30) -> bool:
        """Let it read its configuration again and wait until it has; say whether it runs.

        Raises: StackError with the end of its log if it kept the old one.
        """
        pid = self.pid()
        if pid is None:
            return False
        before = self._loaded()
        os.kill(pid, signal.SIGHUP)
        end = time.monotonic() + patience
        while self._loaded() == before:
            if time.monotonic() > end:
                raise StackError(f"{self.name} kept its old configuration; {self._last_words()}")
            time.sleep(0.1)
        return True

    def _loaded(self) -> str:
        # When it last took a configuration, as it says itself.
        name = f"{self.name}_config_last_reload_success_timestamp_seconds "
        try:
            with urllib.request.urlopen(self.url + "/metrics", timeout=5) as page:  # noqa: S310
                lines = page.read().decode().splitlines()
        except OSError as error:
            words = f"{self.name} does not answer: {error}; {self._last_words()}"
            raise StackError(words) from error
        return next((line for line in lines if line.startswith(name)), "")

    def _last_words(self) -> str:
        tail = self.log.read_text(errors="replace").splitlines()[-5:]
        return f"its log {self.log} ends with:\n  " + "\n  ".join(tail)

    def pid(self) -> int | None:
        """Give the pid if what we started still runs; a pid that came back is somebody else's."""
        try:
            note = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        pid: int = note["pid"]
        return pid if _started(pid) == note["started"] else None

    @property
    def _file(self) -> Path:
        return self.state / f"{self.name}.pid"


def _started(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def listens(host: str, port: int) -> bool:
    """Say whether anybody takes connections there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


def answers(url: str) -> bool:
    """Say whether a program is there; for its readiness, whether it is ready."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        # Somebody is there; "ready" is another question.
        return "/-/" not in url and error.code < 500
    except OSError:
        return False
