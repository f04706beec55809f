"""The loaded models of one worker: found, lent out, closed when the last has given them back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import ModelNotFound, ModelNotReady, ServingError
from app.repository.names import Key, order
from app.repository.records import Wish
from app.repository.served import Loaded


class Shelf:
    """What this worker serves.

    label gives the version that a label of a wish's model stands for; None if there is no such.
    """

    def __init__(self, label: Callable[[Wish, str], str | None]) -> None:
        self._label = label
        self._lock = threading.Lock()
        self._loaded: dict[Key, Loaded] = {}
        self._newest: dict[str, Loaded] = {}
        # What should be here: it tells a model that is unknown from one that is not ready.
        self._wishes: dict[Key, Wish] = {}

    @contextmanager
    def lease(
        self, name: str, version: str | None = None, used: bool = True
    ) -> Iterator[Loaded]:
        """Borrow a ready model; the newest version if none is named.

        used is false for what is no caller's request: it keeps no model from being idle.
        Raises: ModelNotFound, ModelNotReady.
        """
        with self._lock:
            loaded = self._find(name, version)
            loaded.users += 1
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.users -= 1
                if used:
                    loaded.used = time.monotonic()
                idle = loaded.retired and loaded.users == 0
            if idle:
                loaded.dispose()

    def ready(self) -> list[Key]:
        """List what this worker serves."""
        with self._lock:
            return sorted(self._loaded)

    def peek(self, name: str, version: str | None) -> Loaded | None:
        """Look for a model without borrowing it; what is found may be closed any moment."""
        if version is not None:
            return self._loaded.get(Key(name, version))
        return self._newest.get(name)

    def loaded(self) -> list[Loaded]:
        """List what this worker serves, with all that belongs to it."""
        with self._lock:
            return [self._loaded[key] for key in sorted(self._loaded)]

    def _find(self, name: str, version: str | None) -> Loaded:
        loaded = self.peek(name, version)
        if loaded is None and version is not None:
            version = self._meant(name, version)
            loaded = self.peek(name, version)
        if loaded is None:
            raise self._absent(name, version)
        return loaded

    def _meant(self, name: str, version: str) -> str:
        """Give the version that a label stands for, or else what was given."""
        wish = next((wish for key, wish in self._wishes.items() if key.name == name), None)
        return (wish and self._label(wish, version)) or version

    def _absent(self, name: str, version: str | None) -> ServingError:
        known = {key: wish for key, wish in self._wishes.items() if not wish.deleted}
        names = sorted({key.name for key in known})
        versions = sorted((key.version for key in known if key.name == name), key=order)
        if not versions:
            return ModelNotFound(
                f"there is no model {name[:80]!r}; the models are: {', '.join(names) or 'none yet'}"
            )
        if version is not None and version not in versions:
            return ModelNotFound(
                f"model {name!r} has no version {version[:80]!r}; it has {', '.join(versions)}"
            )
        which = f"version {version} of model {name!r}" if version else f"model {name!r}"
        wanted = any(
            wish.wanted for key, wish in known.items()
            if key.name == name and version in (None, key.version)
        )  # fmt: skip
        if wanted:
            return ModelNotReady(f"{which} is not ready; GET /models/{name} says why")
        return ModelNotReady(f"{which} is not loaded; POST /models/{name}/load loads it")

    # --- with the lock held ---

    def _place(self, loaded: Loaded) -> None:
        """Lend a model from now on, in the place of what was there."""
        self._retire(loaded.key, "replaced")
        self._loaded[loaded.key] = loaded
        self._rank(loaded.key.name)
        loaded.published()

    def _retire(self, key: Key, reason: str = "requested") -> None:
        """Stop lending a model; it is closed when the last request gives it back."""
        loaded = self._loaded.pop(key, None)
        if loaded is None:
            return
        self._rank(key.name)
        loaded.retired = True
        loaded.withdrawn(reason)
        if loaded.users == 0:
            loaded.dispose()

    def _rank(self, name: str) -> None:
        versions = [key for key in self._loaded if key.name == name]
        newest = max(versions, key=lambda key: order(key.version), default=None)
        if newest is None:
            self._newest.pop(name, None)
        else:
            self._newest[name] = self._loaded[newest]
