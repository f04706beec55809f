"""Files in the repository that look like models and are served by nobody, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from app.repository.names import is_name

# What other servers read beside a model, and what this one does instead.
_FOREIGN = {
    "model.yml": "model.yaml is read",
    "config.pbtxt": "model.yaml says such things here (docs/models.md)",
}
_NAMES = "names are of 1 to 64 letters, digits, '.', '_' or '-', and begin with no '.'"


def strays(root: Path, file: str) -> Iterator[str]:
    """Say of everything that is not where models are looked for what to do with it.

    file: what a version's file is called.
    """
    root = Path(os.path.realpath(root))
    for place in shown(root):
        if _is_model(place):
            yield f"{place.name!r} is in no model's folder: move it to {place.stem}/1/{file}"
        elif os.path.isdir(place):
            yield from _in_model(root, place, file)


def _in_model(root: Path, folder: Path, file: str) -> Iterator[str]:
    for place in shown(folder):
        within = str(place.relative_to(root))
        if place.name in _FOREIGN:
            yield f"{within!r} is not read: {_FOREIGN[place.name]}"
        elif _is_model(place):
            yield f"{within!r} is of no version: move it to {folder.name}/1/{file}"
        elif os.path.isdir(place):
            yield from _in_version(root, place, file)


def _in_version(root: Path, folder: Path, file: str) -> Iterator[str]:
    for place in shown(folder):
        within = str(place.relative_to(root))
        if not _is_model(place):
            continue
        if not (is_name(folder.name) and is_name(folder.parent.name)):
            yield f"{within!r} cannot be served: {_NAMES}"
        elif place.name != file:
            if not os.path.exists(folder / file):
                yield f"{within!r} is not read: call it {file}"
        elif not Path(os.path.realpath(place)).is_relative_to(root):
            yield f"{within!r} lies behind a link that leads out of MODELS_DIR: copy it there"


def shown(folder: Path) -> list[Path]:
    """List what is in a folder and not hidden; nothing where that cannot be had.

    It may be gone by the time that anybody looks at it: others upload and delete meanwhile.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _is_model(path: Path) -> bool:
    return path.suffix.lower() == ".tflite" and not os.path.isdir(path)
