"""What the README tells people to type works."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.service.live import ROOT, Server
from tests.tools import require_tool


def test_every_curl_of_the_readme_succeeds(folder: Path) -> None:
    require_tool("curl")
    shutil.copytree(ROOT / "models/digits", folder / "models/digits")
    commands = re.findall(r"^curl .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) >= 7
    with Server(folder, workers=2) as server:
        for command in commands:
            line = command.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
            done = subprocess.run(
                line.replace("http://localhost:8000", server.url),
                shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
