"""Asks the checker process about a model, and keeps its verdict for every worker and restart."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.backends.runtimes import installed
from app.errors import (
    InvalidModel,
    ModelFileChanged,
    ModelLoadFailed,
    Overloaded,
    UnsupportedOp,
)
from app.repository.verdicts import Verdicts

LOCKS = 64
CLEARLY_FASTER = 0.9
NOT_VERIFIED = "not a valid Flatbuffer"
# What a runtime says of a model that is sound, but more than it can do: the engine may know it.
UNRESOLVED = ("unresolved custom op", "Select TensorFlow op(s)", "Didn't find op for builtin",
              "currently supported", "supported currently", "unsupported datatype",
              "unsupported tensor type")


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Bounds of one check, and the CPU runtime to be used."""

    seconds: float = 20.0
    memory_mb: int = 4096
    runtime: str = "auto"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a file before a worker touches it.

    random: it draws random numbers, so that no answer is the only right one.
    steady: how much there is to compute follows from the sizes of its inputs.
    Units: memory_bytes of one interpreter.
    """

    runtime: str
    reason: str
    stateful: bool
    memory_bytes: int
    random: bool = False
    steady: bool = False


# A pool of threads would not survive the forks; memory that is read before it is written, or
# after it was freed, shall not look like zeros by luck.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_PERTURB_": "165"}


class Sandbox:
    """One checker process of this worker, started when it is first needed."""

    def __init__(self, verdicts: Verdicts, folder: Path, options: SandboxOptions) -> None:
        self._verdicts = verdicts
        self._folder = folder
        self._options = options
        self._checker: subprocess.Popen[bytes] | None = None
        self._busy = threading.Lock()

    def check(self, path: Path, sha256: str) -> Verdict:
        """Say which runtime should run the model and why.

        The first verdict on these bytes stands for all workers, so they answer alike.
        Raises: InvalidModel, UnsupportedOp; Overloaded or OSError if there is no room to find out;
                ModelFileChanged if there are other bytes now.
        """
        fingerprint = self._fingerprint(sha256)
        verdict = self._verdicts.find(fingerprint)
        if verdict is None:
            with self._alone(fingerprint):
                verdict = self._verdicts.find(fingerprint)
                if verdict is None:
                    verdict = self._verdicts.keep(fingerprint, self._examine(path, sha256))
        if "error" in verdict:
            raise (UnsupportedOp if verdict["unsupported"] else InvalidModel)(verdict["error"])
        return Verdict(**verdict)

    def admit(self, path: Path, sha256: str) -> None:
        """Check a file that anybody has brought, which the engine may run where no runtime does.

        Raises: what check raises.
        """
        try:
            self.check(path, sha256)
        except UnsupportedOp:
            # Only models that no runtime takes whole pay for loading the engine here.
            from app.backends import parts

            parts.refuse(path.read_bytes())

    def forget(self, sha256: str) -> None:
        """Examine these bytes anew the next time, if they were refused."""
        fingerprint = self._fingerprint(sha256)
        verdict = self._verdicts.find(fingerprint)
        if verdict is not None and "error" in verdict:
            self._verdicts.forget(fingerprint)

    def close(self) -> None:
        """End the checker."""
        with self._busy:
            self._stop()

    def _fingerprint(self, sha256: str) -> str:
        facts = (sha256, sorted(installed().items()), self._options, sys.version_info[:2])
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def _examine(self, path: Path, sha256: str) -> dict[str, Any]:
        answers: dict[str, dict[str, Any]] = {}
        with self._busy:
            # Always the newer runtime first: it alone verifies the file before it reads it.
            for runtime in installed():
                answer = answers[runtime] = self._ask(path, sha256, runtime)
                if answer.get("late") or NOT_VERIFIED in answer.get("error", ""):
                    return _refusal({runtime: answer})
                if answer.get("crash") and len(answers) == 1:
                    return _refusal({runtime: answer})  # the older one is only luckier
        if self._options.runtime != "auto":
            answers = {self._options.runtime: answers[self._options.runtime]}
        good = {name: answer for name, answer in answers.items() if "error" not in answer}
        if not good:
            return _refusal(answers)
        choice, reason = _choose(good, answers)
        return {
            "runtime": choice,
            "reason": reason,
            "stateful": good[choice]["stateful"],
            "random": good[choice]["random"],
            "steady": good[choice]["steady"],
            "memory_bytes": good[choice]["memory_bytes"],
        }

    def _ask(self, path: Path, sha256: str, runtime: str) -> dict[str, Any]:
        request = {
            "path": str(path),
            "sha256": sha256,
            "runtime": runtime,
            "threads": self._options.threads,
            "seconds": self._options.seconds,
            "memory_mb": self._options.memory_mb,
        }
        for _ in range(2):  # the checker leaves when it is idle, perhaps at this very moment
            checker = self._running()
            try:
                assert checker.stdin is not None
                assert checker.stdout is not None
                checker.stdin.write(json.dumps(request).encode() + b"\n")
                checker.stdin.flush()
                if line := checker.stdout.readline():
                    return _answered(json.loads(line))
            except BrokenPipeError:
                pass
            self._stop()
        raise ModelLoadFailed("the process that checks models does not answer")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._checker is None or self._checker.poll() is not None:
            self._stop()
            self._checker = subprocess.Popen(
                [sys.executable, "-m", "app.repository.checker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                env={**os.environ, **_ENVIRONMENT},
            )
            assert self._checker.stdout is not None
            self._checker.stdout.readline()
        return self._checker

    def _stop(self) -> None:
        checker, self._checker = self._checker, None
        if checker is not None:
            for pipe in (checker.stdin, checker.stdout):
                if pipe is not None:
                    pipe.close()
            checker.kill()
            checker.wait()

    @contextmanager
    def _alone(self, fingerprint: str) -> Iterator[None]:
        """Let one worker examine while the others wait for its verdict."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"check-{int(fingerprint[:8], 16) % LOCKS}.lock"
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _answered(answer: dict[str, Any]) -> dict[str, Any]:
    if "no_room" in answer:
        raise Overloaded(f"models cannot be checked now: {answer['no_room']}; come back later")
    if "changed" in answer:
        raise ModelFileChanged(answer["changed"])
    return answer


def _choose(good: dict[str, Any], answers: dict[str, Any]) -> tuple[str, str]:
    """Take the faster runtime; a small lead is noise, and then the first one stays.

    The first one stays, too, where numbers in a request decide how much there is to compute: the
    newest survives those that no memory suffices for, older ones end with their process.
    """
    choice = next(iter(good))
    if not good[choice]["steady"]:
        return choice, "the newest, as a request decides how much there is to compute"
    for name, answer in good.items():
        best = good[choice]
        smaller = answer["size"] < best["size"]
        faster = answer["seconds"] < CLEARLY_FASTER * best["seconds"]
        if smaller or (faster and answer["size"] == best["size"]):
            choice = name
    said = [
        f"{name} {answer['seconds'] * 1e3:.2f} ms"
        if name in good
        else f"{name} cannot ({_short(answer['error'], 120)})"
        for name, answer in answers.items()
    ]
    return choice, f"timed at the first load: {'; '.join(said)}"


def _refusal(answers: dict[str, Any]) -> dict[str, Any]:
    errors = dict.fromkeys(_short(answer["error"], 400) for answer in answers.values())
    text = "; ".join(errors)
    unsupported = any(words in text for words in UNRESOLVED)
    return {"error": f"not a usable model: {text}", "unsupported": unsupported}


def _short(text: str, length: int) -> str:
    return " ".join(text.split())[:length]
