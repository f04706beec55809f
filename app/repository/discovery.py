"""Takes note of the files that somebody has put into the repository's folder, or taken away."""

from __future__ import annotations

import logging

from app.errors import ModelError, ServingError
from app.repository.descriptions import Descriptions
from app.repository.folder import Folder
from app.repository.names import Key
from app.repository.sandbox import Sandbox
from app.repository.state import State

log = logging.getLogger("app.models")

# How many files that nobody serves are named in the log.
STRAYS = 20


class Discovery:
    """Brings the desired state to what is on disk."""

    def __init__(
        self, state: State, descriptions: Descriptions, folder: Folder, sandbox: Sandbox
    ) -> None:
        self._state = state
        self._descriptions = descriptions
        self._folder = folder
        self._sandbox = sandbox

    def discover(self, wanted: bool) -> None:
        """Take note of what is on disk, and forget what no longer is."""
        if self._folder.missing():
            # A disk that is not there just now has not lost its models.
            log.warning("there is no folder of models (MODELS_DIR); nothing was looked for")
            return
        self._folder.clear()
        present = self._folder.listed()
        strays = self._folder.strays()
        for stray in strays[:STRAYS]:
            log.warning("passed over: %s", stray)
        if strays[STRAYS:]:
            log.warning("passed over: %d more files like these", len(strays) - STRAYS)
        for name in {key.name for key in present}:
            self._descriptions.notice(name)
        for key in present:
            versions = [k.version for k in present if k.name == key.name]
            try:
                allowed = self._descriptions.policy(key.name).allows(key.version, versions)
                self._adopt(key, wanted and allowed)
            except (ServingError, OSError) as error:
                # One file that cannot be read must not keep the server down.
                log.warning("passed over: %s", error)
        for wish in self._state.wishes():
            if wish.key not in present and self._folder.gone(wish.key):
                self._state.delete(wish.key)

    def notice(self, name: str) -> dict[Key, ServingError]:
        """Take note of files that were copied in by hand; gives those that cannot be taken."""
        unread: dict[Key, ServingError] = {}
        for key in self._folder.listed():
            if key.name == name:
                try:
                    self._adopt(key, wanted=False)
                except ServingError as error:
                    unread[key] = error
        return unread

    def _adopt(self, key: Key, wanted: bool) -> None:
        known = self._state.wish(key)
        if known is not None and known.wanted and self._in_use(key):
            digest = self._folder.digest(key)
            if digest != known.sha256:
                self._worthy(key, digest)
        with self._folder.locked(key):
            if not self._folder.gone(key):
                self._state.adopt(key, self._folder.digest(key), wanted)

    def _in_use(self, key: Key) -> bool:
        living = {worker.worker for worker in self._state.workers()}
        return any(r.worker in living and r.state != "unloaded" for r in self._state.reports(key))

    def _worthy(self, key: Key, digest: str) -> None:
        """Refuse a file that would take the place of one that is served, and cannot.

        It may be half of a copy that somebody makes at this very moment.
        """
        try:
            self._descriptions.of(key.name).manifest.agree(key.version, digest)
            self._sandbox.forget(digest)
            self._sandbox.admit(self._folder.path(key), digest)
        except ModelError as error:
            raise type(error)(
                f"the file of {key} was replaced by one that cannot be served: {error}; what is "
                "loaded goes on until the server stops"
            ) from error
