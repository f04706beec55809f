"""Whether the folders can be what the settings say: asked once, before the first worker."""

from __future__ import annotations

import tempfile

from app.errors import SettingsError
from app.settings import Settings

# The first metric files and the state need about as much.
ROOM = 4 << 20


def check(settings: Settings) -> None:
    """Refuse to start where nothing can be written; workers would die of it one by one.

    Raises: SettingsError with the reason.
    """
    folder = settings.state_dir
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
    models = settings.models_dir
    if models.exists() and not models.is_dir():
        raise SettingsError(
            f"MODELS_DIR={str(models)!r} is no folder; name the one with <model>/<version> in it, "
            "or one that is not there yet"
        )
