"""The engine on Mesa's rusticl, the OpenCL of an RX 580 today: same kernels, other compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from packaging.requirements import Requirement

from tests.engine.corpus import cache_folder
from tests.rusticl.cases import write_cases
from tests.tools import require_tool

RUN = Path(__file__).with_name("run.sh")
ROOT = Path(__file__).parents[2]


def as_root() -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and not subprocess.run(["sudo", "-n", "true"], check=False).returncode:
        return ["sudo", "-n"]
    pytest.skip("chroot needs root or passwordless sudo")


def bring_schema(packages: Path) -> None:
    """The one module of ai-edge-litert that the engine cannot do without; it is plain Python."""
    folder = packages / "ai_edge_litert"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    shutil.copy(str(schema.__file__), folder / "schema_py_generated.py")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_engine_on_rusticl(tmp_path: Path) -> None:
    require_tool("debootstrap")
    root = as_root()
    cache = cache_folder() / "rusticl"
    packages = cache / "packages"
    if not (packages / "flatbuffers").exists():
        # Pure Python, and not in Debian.
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target",
                        str(packages), "flatbuffers"], check=True, timeout=300)
    bring_schema(packages)
    names = write_cases(tmp_path)
    command = [*root, str(RUN), str(cache), str(tmp_path), "-m", "tests.rusticl.inside", "/shared",
               "rusticl", "own", "rx580"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    print(json.dumps(results, indent=1))
    wrong = {k: v for k, v in results.items() if " " in k and isinstance(v, str)}
    assert not wrong, json.dumps(wrong, indent=1)
    assert {f"{p} {n}" for p in ("own", "rx580") for n in names} <= set(results)


def test_the_engine_loads_without_what_the_root_has_not() -> None:
    needed = {Requirement(line).name for line in requires("rx580-inference") or ()
              if "extra ==" not in line}
    loaded = subprocess.check_output(
        [sys.executable, "-c", "import sys, tests.rusticl.inside; print(*sys.modules)"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True).split()
    distributions = packages_distributions()
    used = {d for name in loaded if "." not in name for d in distributions.get(name, ())}
    assert used & needed <= {"numpy", "pyopencl", "flatbuffers", "ai-edge-litert"}
    assert "numpy" in used & needed


def test_nothing_stays_mounted() -> None:
    mounts = Path("/proc/self/mounts").read_text("utf-8")
    assert str(cache_folder() / "rusticl") not in mounts
