"""What model.yaml said when it was last asked, the same for all workers until it is asked again.

A file that is being edited is nobody's truth: it is read when a load or an upload asks for it, or
when a worker starts, and what it says then goes into the state store. Each worker follows that.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field

from app.errors import InvalidModel
from app.repository.database import Database
from app.repository.folder import Folder
from app.repository.manifest import Manifest, VersionPolicy, understood
from app.repository.records import Wish
from app.repository.state import State

log = logging.getLogger("app.models")


@dataclass(frozen=True, slots=True)
class Described:
    """A manifest, and the digest that names what it was read from; "" for none."""

    digest: str = ""
    manifest: Manifest = field(default_factory=Manifest)


_NONE = Described()


class Descriptions:
    """The descriptions of all models; safe for threads."""

    def __init__(self, database: Database, state: State, folder: Folder) -> None:
        self._database = database
        self._state = state
        self._folder = folder
        self._known: dict[str, Described] = {}

    def of(self, name: str, digest: str | None = None) -> Described:
        """Give what is known of a model; digest spares the look into the store if it is right.

        Raises: InvalidModel if nothing sound was ever read.
        """
        known = self._known.get(name)
        if known is not None and known.digest == digest:
            return known
        row = self._database.open().execute(
            "SELECT digest, text, error FROM descriptions WHERE name=?", (name,)
        ).fetchone()  # fmt: skip
        digest, text, error = row or ("", "", "")
        if error:
            raise InvalidModel(error)
        if not digest:
            return _NONE
        if known is None or known.digest != digest:
            known = self._known[name] = Described(digest, understood(text))
        return known

    def label(self, wish: Wish, label: str) -> str | None:
        """Give the version that a label of a wish's model stands for, if it is one."""
        if not wish.described:
            return None
        return self.of(wish.key.name, wish.described).manifest.version_labels.get(label)

    def policy(self, name: str) -> VersionPolicy:
        """Say which versions of a model shall be loaded: all, where that cannot be read."""
        try:
            return self.of(name).manifest.version_policy or VersionPolicy()
        except InvalidModel:
            return VersionPolicy()

    def refresh(self, name: str) -> bool:
        """Read model.yaml; where it says something else, all wanted versions are wished anew.

        Returns whether it did.
        Raises: InvalidModel, with nothing changed.
        """
        text = self._folder.description(name)
        return self._state.describe(name, self._digest(name, text, understood(text)), text)

    def notice(self, name: str) -> None:
        """Do so at a start: what cannot be read must not take the place of what could be."""
        try:
            self.refresh(name)
        except InvalidModel as error:
            log.warning("%s: %s", name, error)
            with self._database.write() as db:
                db.execute(
                    "INSERT OR IGNORE INTO descriptions VALUES (?, '', '', ?)", (name, str(error))
                )

    def _digest(self, name: str, text: str, manifest: Manifest) -> str:
        if not text:
            return ""
        digest = hashlib.sha256(text.encode())
        # A golden picture belongs to the description, though it is a file of its own.
        for picture in sorted({g.image for g in manifest.golden.values() if g.image}):
            digest.update(f"\0{picture}\0{self._folder.mark(name, picture)}".encode())
        return digest.hexdigest()
