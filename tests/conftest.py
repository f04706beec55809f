"""Tells the tests that may run beside others from those that need a machine of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Nothing in these depends on what else the machine does.
BESIDE_OTHERS = tuple(
    HERE / name
    for name in (
        "backends", "engine", "rules", "wire",
        "repository/test_damage.py", "repository/test_handwritten.py",
        "repository/test_odd_files.py", "repository/test_pull.py", "repository/test_sandbox.py",
        "service/test_bad_models.py", "service/test_payloads.py", "service/test_photo.py",
        "service/test_replaced_files.py", "service/test_settings.py",
        "serving/test_cycles.py", "serving/test_descriptions.py",
        "serving/test_kserve.py", "serving/test_openapi.py",
    )
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what may run beside other tests."""
    for item in items:
        if any(item.path.is_relative_to(place) for place in BESIDE_OTHERS):
            item.add_marker("parallel")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long body by its argument: what gzip packs at import differs between processes."""
    return argname if isinstance(val, bytes) and len(val) > 32 else None
