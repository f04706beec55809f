"""No kernel leaves its buffers, races, or uses what nobody wrote: oclgrind watches the op tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.safety.test_small_shapes import ELSEWHERE
from tests.tools import require_tool

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
DRIVER = "/usr/lib/oclgrind/liboclgrind-rt-icd.so"
FAULTY = FOLDER / "faulty_kernels.py"


def watch(folder: Path, command: list[str], timeout: float) -> tuple[str, str]:
    """Run a command under oclgrind; give what it printed, and oclgrind's findings.

    oclgrind ends with 0 whatever it finds: only its log tells.
    """
    require_tool("oclgrind")
    (folder / "oclgrind.icd").write_text(DRIVER, "utf-8")
    log = folder / "log.txt"
    environment = {**os.environ, "OCL_ICD_VENDORS": str(folder), "ENGINE_TEST_DEVICE": "Oclgrind",
                   "ENGINE_TEST_APART": "1", "PYTHONPATH": str(ROOT)}
    # Without the optimiser: oclgrind does not know an instruction that it makes (freeze).
    done = subprocess.run(
        ["oclgrind", "--build-options", "-cl-opt-disable", "--data-races", "--uninitialized",
         "--max-errors", "200", "--log", str(log), *command],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout, log.read_text("utf-8") if log.exists() else ""


def watch_tests(folder: Path, tests: list[str], timeout: float) -> None:
    printed, found = watch(folder, [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow",
        "--no-cov", f"--timeout={timeout}", *tests], timeout)
    assert " passed" in printed, printed[-4000:]
    assert not found, found[:4000]


@pytest.mark.timeout(900)
def test_every_kernel_on_small_shapes(tmp_path: Path) -> None:
    small = [str(FOLDER / f"test_small_{name}.py") for name in ("shapes", "halves")]
    others = [str(FOLDER.parent / name) for name in ELSEWHERE]
    watch_tests(tmp_path, [*small, *others, "-k", "not segmentation"], 880)


def op_tests() -> dict[str, list[str]]:
    """The op tests of each suite, but for those of whole models: a checker is too slow for them."""
    found = {path: [name for name, body in FUNCTION.findall(path.read_text("utf-8"))
                    if "runtime: Runtime" in body and not WHOLE_MODELS.search(body)]
             for path in sorted(FOLDER.parent.glob("test_e*_*.py"))}
    return {path.name: names for path, names in found.items() if names}


WHOLE_MODELS = re.compile(r"CORPUS|NETS|\bpath\b|check_op_by_op")
FUNCTION = re.compile(r"^def (test_\w+)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suite", op_tests())
def test_every_op_test(tmp_path: Path, suite: str) -> None:
    watch_tests(tmp_path, [f"{FOLDER.parent / suite}::{name}" for name in op_tests()[suite]], 3500)


@pytest.mark.parametrize(("fault", "said"), [
    ("beyond", "Invalid write"), ("race", "data race"), ("unwritten", "uninitialized value")])
def test_a_faulty_kernel_is_found(tmp_path: Path, fault: str, said: str) -> None:
    _, found = watch(tmp_path, [sys.executable, str(FAULTY), fault], 60)
    assert said in found


# Where oclgrind answers rightly without "kept" it has been mended, and safety/apart.py need not
# keep buffers any more.
@pytest.mark.parametrize(("how", "reported"), [
    (["written", "kept"], False), (["unwritten", "kept"], True),
    (["written", "freed"], True), (["unwritten", "freed"], False)])
def test_what_is_unwritten_is_only_known_of_memory_that_is_new(tmp_path: Path, how: list[str],
                                                               reported: bool) -> None:
    _, found = watch(tmp_path, [sys.executable, str(FAULTY), "again", *how], 60)
    assert ("uninitialized" in found) is reported, found[:2000]
