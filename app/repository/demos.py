"""Brings the models whose model.yaml names a source: `python -m app.repository.demos`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from app.errors import InvalidModel, ModelSourceError, SettingsError
from app.repository.folder import FILE
from app.repository.manifest import read
from app.repository.pull import fetch
from app.settings import Settings


def bring(models: Path, cache: Path) -> list[str]:
    """Fetch every version that is not there yet; give one line for each that cannot be had."""
    problems = []
    for path in sorted(models.glob("*/model.yaml")):
        try:
            versions = read(path).versions
        except InvalidModel as error:
            problems.append(f"{path.parent.name}: {error}")
            continue
        for version, origin in versions.items():
            dest = path.parent / version / FILE
            if origin.source is None or dest.is_file():
                continue
            try:
                fetch(origin.source, dest, sha256=origin.sha256, cache=cache, progress=True)
                print(f"{path.parent.name} {version}: fetched", file=sys.stderr)
            except (ModelSourceError, OSError) as error:
                problems.append(f"{path.parent.name} {version}: {error}")
    return problems


def main() -> int:
    """Bring what can be had; 1 if something cannot."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        sys.exit(str(error))
    problems = bring(settings.models_dir, settings.cache_dir)
    for problem in problems:
        print(f"not fetched: {problem}", file=sys.stderr)
    if problems:
        print(
            "The server starts with the models that are there; `make models` tries again.",
            file=sys.stderr,
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
