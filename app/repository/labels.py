"""Names for versions, such as stable and canary, as model.yaml gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.errors import InvalidModel
from app.repository.manifest import Manifest, read


class Labels:
    """Reads a description again when its file has changed."""

    def __init__(self, path: Callable[[str], Path]) -> None:
        self._path = path
        self._known: dict[str, tuple[int, Manifest]] = {}

    def __call__(self, name: str, label: str) -> str | None:
        """Give the version that a label stands for, if it is one."""
        path = self._path(name)
        try:
            at = path.stat().st_mtime_ns
        except OSError:
            return None
        known = self._known.get(name)
        if known is None or known[0] != at:
            try:
                known = at, read(path)
            except InvalidModel:
                return None
            self._known[name] = known
        return known[1].version_labels.get(label)
