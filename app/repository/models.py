"""The repository as callers see it: list, load, unload, upload and delete, on all workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from app.errors import InvalidInput, InvalidRequest, ModelNotFound
from app.repository.agreement import Agreement
from app.repository.descriptions import Descriptions
from app.repository.discovery import Discovery
from app.repository.folder import Folder
from app.repository.manifest import Manifest
from app.repository.names import Key, checked, order
from app.repository.records import Action, Wish, Worker
from app.repository.sandbox import Sandbox
from app.repository.standing import Outcome, Version
from app.repository.state import State


class Models:
    """Changes the desired state and waits until every living worker has followed."""

    def __init__(
        self, state: State, agreement: Agreement, descriptions: Descriptions, folder: Folder,
        sandbox: Sandbox, discovery: Discovery,
    ) -> None:  # fmt: skip
        self._state = state
        self._agreement = agreement
        self._descriptions = descriptions
        self._folder = folder
        self._sandbox = sandbox
        self._discovery = discovery

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
        """Give what is known of a model beyond its files, as it was when it was last loaded.

        Raises: InvalidModel.
        """
        return self._descriptions.of(name).manifest

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

    def load(self, name: str, version: str | None) -> list[Action]:
        """Wish for a version to be loaded everywhere, with what its model.yaml says now.

        If none is named, those that its version_policy names, or else the newest. Other versions
        of the model that are loaded follow where model.yaml has changed.
        Raises: ModelNotFound; InvalidModel or ModelLoadFailed if a file cannot be taken.
        """
        unread = self._discovery.notice(name)
        wishes = [wish for wish in self._state.wishes() if not wish.deleted]
        known = [key for key in (*(wish.key for wish in wishes), *unread) if key.name == name]
        changed = bool(known) and self._descriptions.refresh(name)
        explicit = self.manifest(name).version_policy is not None if known else False
        kind = "policy" if version is None and explicit else "load"
        actions = []
        for key in self._chosen(name, version, known, explicit):
            if key in unread:
                raise unread[key]
            found = self.version(key)
            if self._folder.gone(key):
                raise ModelNotFound(
                    f"the file of {key} is not there any more; put one there, or DELETE the version"
                )
            self._sandbox.forget(found.wish.sha256)
            failed = any(report and report.state == "failed" for _, report in found.reports)
            wish = self._state.want(key, True, again=failed)
            actions.append(self._agreement.begin(kind, key, wish))
        if changed and kind == "load":
            begun = {action.key for action in actions}
            for wish in self._state.wishes():
                if wish.key.name == name and wish.wanted and wish.key not in begun:
                    actions.append(self._agreement.begin(kind, wish.key, wish))
        return actions

    def _chosen(
        self, name: str, version: str | None, known: Sequence[Key], explicit: bool
    ) -> list[Key]:
        if version is not None or not known:
            return [Key(name, version or "")]
        if not explicit:
            return [max(known, key=lambda key: order(key.version))]
        versions = [key.version for key in known]
        policy = self._descriptions.policy(name)
        chosen = [key for key in known if policy.allows(key.version, versions)]
        if not chosen:
            raise ModelNotFound(
                f"version_policy in model.yaml of {name!r} names no version that is there: "
                f"{', '.join(sorted(versions, key=order))}"
            )
        return chosen

    def unload(self, name: str, version: str | None) -> list[Action]:
        """Wish for a version, or for all of a model, to be unloaded everywhere.

        Raises: ModelNotFound.
        """
        if version is not None:
            chosen: Iterable[Version] = [self.version(Key(name, version))]
        else:
            versions = self.versions(name)
            awake = [item for item in versions if item.wish.wanted or item.wish.asleep]
            chosen = awake or versions[-1:]
        return [
            self._agreement.begin("unload", item.wish.key, self._state.want(item.wish.key, False))
            for item in chosen
        ]

    def put(
        self, key: Key, stream: IO[bytes], limit: int, sha256: str | None, backend: str | None
    ) -> Action:
        """Take a new file for a version, once it was found sound, and wish for it everywhere.

        Units:  limit in bytes.
        Raises: InvalidRequest, InvalidModel, RequestTooLarge, InvalidInput, StorageFailed.
        """
        checked(key.name, "model")
        checked(key.version, "version")
        if key.version.lower().endswith(".tflite"):
            # curl -T FILE puts a file's name behind an address that ends with a slash.
            raise InvalidRequest(
                f"{key.version!r} is the name of a file, no version; "
                f"send it to /models/{key.name}/versions/1"
            )
        with self._folder.incoming(stream, limit) as (path, digest):
            if sha256 is not None and sha256.lower() != digest:
                raise InvalidInput(f"the body has sha256 {digest}, not {sha256} as was said")
            self._sandbox.forget(digest)
            self._sandbox.admit(path, digest)
            self._descriptions.refresh(key.name)
            with self._folder.locked(key), self._folder.published(path, key):
                wish: Wish | None = self._state.put(key, digest, backend=backend)
            if wish and any(
                report.state == "failed" and report.generation >= wish.generation
                for report in self._state.reports(key)
            ):
                wish = self._state.want(key, True, again=True)
        return self._agreement.begin("put", key, wish)

    def delete(self, key: Key) -> Action:
        """Take a version away, from the disk and from every worker.

        Raises: ModelNotFound, StorageFailed.
        """
        self.version(key)
        with self._folder.locked(key), self._folder.removed(key):
            wish = self._state.delete(key)
        return self._agreement.begin("delete", key, wish)

    # --- agreement ---

    def outcome(self, action_id: str) -> Outcome:
        """Say how far an earlier action has come.

        Raises: ModelNotFound.
        """
        return self._settled(self._agreement.find(action_id))

    def wait(self, action: Action, seconds: float) -> Outcome:
        """Wait until all living workers have followed, or the time is up."""
        return self._settled(self._agreement.wait(action, seconds))

    def _settled(self, outcome: Outcome) -> Outcome:
        """Unload what the version policy keeps no longer, now that others have taken its place."""
        if outcome.state == "done" and outcome.action.kind in ("put", "policy"):
            name = outcome.action.key.name
            policy = self._descriptions.policy(name)
            wanted = [item.wish.key for item in self.versions(name) if item.wish.wanted]
            for key in wanted:
                # An upload names its version: only a count has no room left for others.
                fixed = outcome.action.kind == "put" and not policy.latest
                if not fixed and not policy.allows(key.version, [k.version for k in wanted]):
                    self._state.want(key, False)
        return outcome

    def _unknown(self, name: str, wishes: list[Wish]) -> ModelNotFound:
        names = ", ".join(sorted({wish.key.name for wish in wishes})) or "none yet"
        return ModelNotFound(f"there is no model {name[:80]!r}; the models are: {names}")

