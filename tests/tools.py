"""The programs outside Python that some tests need, and what brings each of them.

One table serves the tests (skip or fail), `make tools` and `.ci/run` (what apt shall install):
`python -m tests.tools` prints the Debian packages of whatever is missing here.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def command(*names: str) -> Callable[[], bool]:
    """Make a probe that is true when every one of these commands is on the PATH."""
    return lambda: all(shutil.which(name) for name in names)


def icd(pattern: str) -> Callable[[], bool]:
    """Make a probe that is true when an OpenCL driver of that name is registered."""
    return lambda: any(Path("/etc/OpenCL/vendors").glob(pattern))


@dataclass(frozen=True, slots=True)
class Tool:
    """How to see that a tool is there, and the Debian packages that bring it.

    in_ci: false for what only `make test-full` uses, so that CI need not install it.
    """

    probe: Callable[[], bool]
    packages: tuple[str, ...]
    in_ci: bool = True


TOOLS: dict[str, Tool] = {
    "pocl": Tool(icd("pocl*.icd"), ("pocl-opencl-icd",)),
    "oclgrind": Tool(command("oclgrind"), ("oclgrind",)),
    "clang-19": Tool(
        command("clang-19", "llvm-readobj-19"), ("clang-19", "libclc-19", "llvm-19", "lld-19")
    ),
    "debootstrap": Tool(command("debootstrap"), ("debootstrap",), in_ci=False),
    "prometheus": Tool(command("prometheus"), ("prometheus",)),
    "promtool": Tool(command("promtool"), ("prometheus",)),
    "alertmanager": Tool(command("prometheus-alertmanager"), ("prometheus-alertmanager",)),
    "amtool": Tool(command("amtool"), ("prometheus-alertmanager",)),
    "node_exporter": Tool(command("prometheus-node-exporter"), ("prometheus-node-exporter",)),
    "docker-compose": Tool(command("docker-compose"), ("docker-compose",)),
    "chromium": Tool(command("chromium"), ("chromium",)),
    "curl": Tool(command("curl"), ("curl",)),
    "nginx": Tool(command("nginx", "openssl"), ("nginx-light", "openssl")),
    "npm": Tool(command("npm", "node"), ("npm", "nodejs")),
}


def missing_packages(everything: bool = False) -> list[str]:
    """List the Debian packages of the tools that are not here."""
    wanted = [tool for tool in TOOLS.values() if everything or tool.in_ci]
    return sorted({name for tool in wanted if not tool.probe() for name in tool.packages})


def require_tool(name: str) -> None:
    """Go on if the tool is there; else skip with the line that installs it, or fail in CI.

    Raises: KeyError if the tool is not in the table.
    """
    import pytest  # `make tools` runs this file before pytest is installed.

    tool = TOOLS[name]
    if tool.probe():
        return
    message = f"{name} is not here; install it: apt-get install {' '.join(tool.packages)}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


if __name__ == "__main__":
    print(*missing_packages("--all" in sys.argv))
