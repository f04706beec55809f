"""Settings: every bad value is named, and the README's table is the truth."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from app.errors import SettingsError
from app.settings import Settings, table
from tests.service.live import ROOT


def test_the_readme_has_the_table_of_settings() -> None:
    readme = (ROOT / "README.md").read_text()
    match = re.search(r"<!-- settings:.*?-->\n(.*?)\n<!-- /settings -->", readme, re.DOTALL)
    assert match
    assert match[1].strip() == table(), "run: make settings-table"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"), ("PORT", "65536"), ("PORT", "-1"), ("WORKERS", "0"), ("WORKERS", "1.5"),
        ("HOST", "a b"), ("BACKEND", "cuda"), ("MAX_BODY_MB", "nan"), ("MAX_BODY_MB", "inf"),
        ("LOG_FORMAT", "xml"), ("REQUEST_TIMEOUT_S", "0"), ("MODELS_DIR", " "),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    assert f"{name}={value!r}" in str(caught.value)
    assert "must be" in str(caught.value)


def test_every_default_passes_its_own_check() -> None:
    default = Settings()
    environment = {
        field.name.upper(): str(getattr(default, field.name))
        for field in dataclasses.fields(Settings)
        if getattr(default, field.name) is not None
    }
    assert Settings.from_env(environment) == default


def test_a_bad_value_stops_the_start_with_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
        cwd=ROOT, env={**os.environ, "WORKERS": "many"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.strip().splitlines() == [
        "WORKERS='many' is not allowed: it must be a whole number from 1 to 256"
    ]
