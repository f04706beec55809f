"""Tells the tests that only compute from those that start servers or measure time."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Nothing in these depends on what else the machine does.
COMPUTING = tuple(HERE / name for name in ("backends", "engine", "rules", "wire"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what may run beside other tests."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in COMPUTING):
            item.add_marker("compute")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long body by its argument: what gzip packs at import differs between processes."""
    return argname if isinstance(val, bytes) and len(val) > 32 else None
