"""The repository as callers see it: list, load, unload, upload and delete, on all workers."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from app.errors import (
    InvalidInput,
    InvalidModel,
    ModelConflict,
    ModelError,
    ModelNotFound,
    UnsupportedOp,
)
from app.repository.actions import Actions
from app.repository.folder import Folder
from app.repository.manifest import Manifest, read
from app.repository.names import Key, checked, order
from app.repository.records import Action, Wish, Worker
from app.repository.sandbox import Sandbox
from app.repository.standing import Outcome, Version, reached
from app.repository.state import State

log = logging.getLogger("app.models")


class Models:
    """Changes the desired state and waits until every living worker has followed."""

    def __init__(
        self, state: State, actions: Actions, folder: Folder, sandbox: Sandbox
    ) -> None:
        self._state = state
        self._actions = actions
        self._folder = folder
        self._sandbox = sandbox

    # --- reading ---

    def versions(self, name: str | None = None) -> list[Version]:
        """List every version, or those of one model, oldest version first.

        Raises: ModelNotFound if there is none of that name.
        """
        wishes = [wish for wish in self._state.wishes() if not wish.deleted]
        found = [wish for wish in wishes if name in (None, wish.key.name)]
        if name is not None and not found:
            raise self._unknown(name, wishes)
        workers = self._state.workers()
        reports = {(report.worker, report.key): report for report in self._state.reports()}
        found.sort(key=lambda wish: (wish.key.name, order(wish.key.version)))
        return [
            Version(
                wish, tuple((worker, reports.get((worker.worker, wish.key))) for worker in workers)
            )
            for wish in found
        ]

    def version(self, key: Key) -> Version:
        """Find one version.

        Raises: ModelNotFound.
        """
        versions = self.versions(key.name)
        for version in versions:
            if version.wish.key == key:
                return version
        known = ", ".join(version.wish.key.version for version in versions)
        raise ModelNotFound(
            f"model {key.name!r} has no version {key.version[:80]!r}; it has {known}"
        )

    def manifest(self, name: str) -> Manifest:
        """Read what is known of a model beyond its file.

        Raises: InvalidModel.
        """
        return read(self._folder.manifest(name))

    def workers(self) -> list[Worker]:
        """List the living workers."""
        return self._state.workers()

    def not_ready(self, expected: int) -> list[str]:
        """List why the server is not ready: workers that are missing, or still loading.

        A new model that is loading or failed is no reason; its own state says that.
        """
        workers = [worker for worker in self._state.workers() if worker.phase != "draining"]
        serving = sum(worker.phase == "serving" for worker in workers)
        reasons = [
            f"worker {worker.pid} is loading its models"
            for worker in workers
            if worker.phase == "starting"
        ]
        if len(workers) < expected:
            reasons.append(f"{expected - len(workers)} of {expected} workers are not there")
        if not serving:
            reasons.append("no worker takes requests")
        return reasons

    # --- changing ---

    def discover(self, wanted: bool) -> None:
        """Take note of what is on disk, and forget what no longer is."""
        present = self._folder.listed()
        for key in present:
            try:
                self._adopt(key, wanted and self._allowed(key, present))
            except ModelError as error:
                # One file that cannot be read must not keep the server down.
                log.warning("passed over: %s", error)
        for wish in self._state.wishes():
            if wish.key not in present and not self._folder.path(wish.key).exists():
                self._state.delete(wish.key)

    def load(self, name: str, version: str | None) -> list[Action]:
        """Wish for a version, the newest if none is named, to be loaded everywhere.

        Raises: ModelNotFound; InvalidModel or ModelLoadFailed if its file cannot be read.
        """
        unread = self._notice(name)
        known = [wish.key for wish in self._state.wishes() if not wish.deleted]
        keys = [key for key in (*known, *unread) if key.name == name]
        if version is None and keys:
            version = max((key.version for key in keys), key=order)
        key = Key(name, version or "")
        if key in unread:
            raise unread[key]
        found = self.version(key)
        self._sandbox.forget(found.wish.sha256)
        failed = any(report and report.state == "failed" for _, report in found.reports)
        wish = self._state.want(key, True, again=failed)
        return [self._begin("load", key, wish)]

    def unload(self, name: str, version: str | None) -> list[Action]:
        """Wish for a version, or for all of a model, to be unloaded everywhere.

        Raises: ModelNotFound.
        """
        if version is not None:
            chosen: Iterable[Version] = [self.version(Key(name, version))]
        else:
            versions = self.versions(name)
            chosen = [item for item in versions if item.wish.wanted] or versions[-1:]
        return [
            self._begin("unload", item.wish.key, self._state.want(item.wish.key, False))
            for item in chosen
        ]

    def put(
        self, key: Key, stream: IO[bytes], limit: int, sha256: str | None, backend: str | None
    ) -> Action:
        """Take a new file for a version, once it was found sound, and wish for it everywhere.

        Units:  limit in bytes.
        Raises: InvalidModel, RequestTooLarge, InvalidInput, StorageFailed.
        """
        checked(key.name, "model")
        checked(key.version, "version")
        with self._folder.incoming(stream, limit) as (path, digest):
            if sha256 is not None and sha256.lower() != digest:
                raise InvalidInput(f"the body has sha256 {digest}, not {sha256} as was said")
            self._sandbox.forget(digest)
            self._sound(path, digest)
            with self._folder.locked(key):
                self._folder.publish(path, key)
                wish: Wish | None = self._state.put(key, digest, backend=backend)
            if wish and any(
                report.state == "failed" and report.generation >= wish.generation
                for report in self._state.reports(key)
            ):
                wish = self._state.want(key, True, again=True)
        return self._begin("put", key, wish)

    def _sound(self, path: Path, digest: str) -> None:
        try:
            self._sandbox.check(path, digest)
        except UnsupportedOp:
            # Only models that no runtime takes whole pay for loading the engine here.
            from app.backends import parts

            parts.refuse(path.read_bytes())

    def delete(self, key: Key) -> Action:
        """Take a version away, from the disk and from every worker.

        Raises: ModelNotFound, StorageFailed.
        """
        self.version(key)
        with self._folder.locked(key):
            self._folder.remove(key)
            wish = self._state.delete(key)
        return self._begin("delete", key, wish)

    def _allowed(self, key: Key, present: Iterable[Key]) -> bool:
        """Tell whether the model's version policy wants this version loaded."""
        try:
            policy = self.manifest(key.name).version_policy
        except InvalidModel:
            return True
        if policy.specific:
            return key.version in policy.specific
        versions = sorted((k.version for k in present if k.name == key.name), key=order)
        return not policy.latest or key.version in versions[-policy.latest :]

    def _thin(self, name: str) -> None:
        """Unload the versions that a newer one has pushed out of a policy of the latest ones."""
        try:
            latest = self.manifest(name).version_policy.latest
        except InvalidModel:
            return
        wanted = [item.wish.key for item in self.versions(name) if item.wish.wanted]
        for key in wanted[:-latest] if latest else ():
            self._state.want(key, False)

    def _adopt(self, key: Key, wanted: bool) -> None:
        with self._folder.locked(key):
            if self._folder.path(key).is_file():
                self._state.adopt(key, self._folder.digest(key), wanted)

    def _notice(self, name: str) -> dict[Key, ModelError]:
        """Take note of files that were copied in by hand; gives those that cannot be read."""
        unread: dict[Key, ModelError] = {}
        for key in self._folder.listed():
            if key.name == name:
                try:
                    self._adopt(key, wanted=False)
                except ModelError as error:
                    unread[key] = error
        return unread

    def _begin(self, kind: str, key: Key, wish: Wish | None) -> Action:
        if wish is None:
            raise ModelConflict(f"{key} was deleted by another request meanwhile")
        action = Action(uuid.uuid4().hex, kind, key, wish.sha256, wish.generation, time.time())
        self._actions.begin(action)
        return action

    # --- agreement ---

    def outcome(self, action_id: str) -> Outcome:
        """Say how far an earlier action has come.

        Raises: ModelNotFound.
        """
        action = self._actions.find(action_id)
        if action is None:
            raise ModelNotFound(f"there is no action {action_id[:80]!r}, or not any more")
        return self._outcome(action)

    def wait(self, action: Action, seconds: float) -> Outcome:
        """Wait until all living workers have followed, or the time is up."""
        end = time.monotonic() + seconds
        while True:
            outcome = self._outcome(action)
            if outcome.state == "done" and action.kind == "put":
                self._thin(action.key.name)
            if outcome.state != "pending" or time.monotonic() >= end:
                return outcome
            seen = self._state.changed()
            self._state.wait_for_change(seen, end)

    def _outcome(self, action: Action) -> Outcome:
        wish = self._state.wish(action.key)
        if not _HOLDS[action.kind](wish, action):
            return Outcome(action, "superseded", ())
        goal = wish.generation if wish else action.generation
        reports = {report.worker: report for report in self._state.reports(action.key)}
        states = tuple(
            reached(worker, reports.get(worker.worker), goal, purged=wish is None)
            for worker in self._state.workers()
            if worker.phase == "serving"
        )
        found = {item.state for item in states}
        state = next((word for word in ("pending", "failed") if word in found), "done")
        return Outcome(action, state, states)

    def _unknown(self, name: str, wishes: list[Wish]) -> ModelNotFound:
        names = ", ".join(sorted({wish.key.name for wish in wishes})) or "none yet"
        return ModelNotFound(f"there is no model {name[:80]!r}; the models are: {names}")


# Whether what an action asked for is still what is wished for, perhaps by a later action.
_HOLDS: dict[str, Callable[[Wish | None, Action], bool]] = {
    "load": lambda wish, action: wish is not None and wish.wanted,
    "put": lambda wish, action: (
        wish is not None and wish.wanted and wish.sha256 == action.sha256
    ),
    "unload": lambda wish, action: wish is None or not wish.wanted,
    "delete": lambda wish, action: wish is None or wish.deleted,
}
