"""Whether the server can keep its records: asked once, before the first worker."""

from __future__ import annotations

import tempfile
from pathlib import Path

from app.errors import SettingsError

# The first metric files and the state need about as much.
ROOM = 4 << 20


def check(folder: Path) -> None:
    """Refuse to start where nothing can be written; workers would die of it one by one.

    Raises: SettingsError with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ROOM))
    except OSError as error:
        raise SettingsError(
            f"STATE_DIR={str(folder)!r}: {ROOM >> 20} MB cannot be written there "
            f"({error.strerror}); make room, or name a folder on a local disk that this user may "
            "write"
        ) from error
