"""What the documentation says stays true: the links and the make targets."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from app.repository import manifest

ROOT = Path(__file__).parents[1]
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *RUNBOOKS]
# Written by `make up-monitoring`.
MADE = {"var/monitoring/alertmanager.log"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    # Without quotes, targets of one word would be mistaken for prose.
    named = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)+)|`make ([a-z-]+)", page.read_text()))
    named = {target for pair in named for target in pair if target}
    known = subprocess.run(["make", "-qp"], cwd=ROOT, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^([a-z][a-z-]+):", known, re.MULTILINE))
    assert named <= targets, f"{page.name} names {sorted(named - targets)}"


def test_the_description_of_a_model_has_every_key_and_is_read() -> None:
    text = (ROOT / "docs/models.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    assert manifest.understood(text).golden
    for part in ("Manifest", "Preprocessing", "Batching", "VersionPolicy", "Origin", "Golden"):
        for field in dataclasses.fields(getattr(manifest, part)):
            assert re.search(rf"\b{field.name}:", text), f"{part}.{field.name}"


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.name)
def test_what_a_runbook_names_is_there(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"\b(?:deploy|docs|var)/[a-z_/.-]*[a-z]", text):
        assert path in MADE or path.startswith("var/state") or (ROOT / path).exists(), path
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
