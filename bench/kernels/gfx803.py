"""Compile an OpenCL program for gfx803 without the card, and read what the compiler made of it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.kernels.plans import Program
from tests.engine.corpus import cache_folder

COMMAND = (
    "clang-19", "-x", "cl", "-cl-std=CL1.2", "--target=amdgcn-mesa-mesa3d", "-mcpu=gfx803", "-O3",
    "-cl-mad-enable", "-cl-no-signed-zeros", "-Xclang", "-finclude-default-header", "-nogpulib",
    "-Xclang", "-mlink-builtin-bitcode", "-Xclang",
    "/usr/lib/clc/polaris10-amdgcn-mesa-mesa3d.bc", "-Rpass-analysis=kernel-resource-usage", "-S",
)
REMARKS = {"vgprs": r"^VGPRs: (\d+)", "sgprs": r"^SGPRs: (\d+)",
           "scratch": r"^ScratchSize \[bytes/lane\]: (\d+)",
           "waves": r"^Occupancy \[waves/SIMD\]: (\d+)", "lds": r"^LDS Size \[bytes/block\]: (\d+)",
           "spills": r"^VGPRs Spill: (\d+)"}
MULTIPLY_ADD = re.compile(r"v_(mac|mad|fma)_f32")
# These kernels do the arithmetic: they need wavefronts to hide the memory behind.
GEMM_LIKE = {"gemm", "gemm_batch", "gemv", "depthwise_gpu", "conv", "matmul", "depthwise",
             "winograd_in", "winograd_out"}
LEAST_WAVES = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """What one kernel takes of a compute unit.

    Units: registers per lane, lds in bytes per work-group, scratch in bytes per lane, waves per
           SIMD; share is that of multiply-adds among the instructions of the inner loop.
    """

    vgprs: int
    sgprs: int
    scratch: int
    lds: int
    waves: int
    spills: int
    share: float

    def faults(self, kernel: str) -> list[str]:
        """What is wrong with it on this card."""
        found = []
        if self.scratch or self.spills:
            found.append(f"{self.scratch} bytes of scratch")
        if kernel in GEMM_LIKE and self.waves < LEAST_WAVES:
            found.append(f"{self.waves} waves per SIMD, at least {LEAST_WAVES} are wanted")
        if self.lds > 32 << 10:
            found.append(f"{self.lds} bytes of LDS, a work-group has {32 << 10}")
        return found


def compile_all(wanted: list[Program]) -> dict[Program, Usage]:
    """Compile programs, two at a time; results are kept in the cache folder.

    Raises: RuntimeError with the compiler's message.
    """
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(wanted, pool.map(usage, wanted), strict=True))


def usage(program: Program) -> Usage:
    """Compile one program, or remember what came of it."""
    text = program.text
    name = hashlib.sha256("\0".join((*COMMAND, program.kernel, VERSION, text)).encode()).hexdigest()
    kept = cache_folder() / "gfx803" / f"{name}.json"
    if kept.exists():
        return Usage(**json.loads(kept.read_text("utf-8")))
    made = _compile(program, text)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False) as file:
        json.dump(asdict(made), file)
    Path(file.name).replace(kept)
    return made


# Changes when this file reads the compiler's answer in another way.
VERSION = "1"


def _compile(program: Program, text: str) -> Usage:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "k.cl"), Path(folder, "k.s")
        source.write_text(text, "utf-8")
        done = subprocess.run([*COMMAND, str(source), "-o", str(target)], capture_output=True,
                              text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"{program.label} does not compile for gfx803:\n{done.stderr}")
        assembly = target.read_text("utf-8")
    return Usage(**remarks(done.stderr, program.kernel),
                 share=share_of_products(body(assembly, program.kernel)))


def remarks(text: str, kernel: str) -> dict[str, int]:
    """The numbers of one kernel among the compiler's remarks."""
    lines = [line.split("remark: ")[1].split(" [-Rpass")[0].strip()
             for line in text.splitlines() if "remark: " in line]
    lines = [re.sub(r"^[^ ]*:\d+:\d+: *", "", line) for line in lines]
    begin = next(i for i, line in enumerate(lines) if line.endswith(f"Name: {kernel}"))
    own = lines[begin:begin + 12]
    return {key: int(next(m[1] for line in own if (m := re.search(pattern, line))))
            for key, pattern in REMARKS.items()}


def body(assembly: str, kernel: str) -> list[str]:
    """Labels and instructions of one kernel."""
    text = assembly.split(f"\n{kernel}:", 1)[1].split(".Lfunc_end", 1)[0]
    lines = (line.split(";")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and (line[0] != "." or line[-1] == ":")]


def share_of_products(lines: list[str]) -> float:
    """Multiply-adds among the instructions of the loop, without loops in it, that has most."""
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    loops = []
    for i, line in enumerate(lines):
        target = line.split()[-1]
        if line.startswith(("s_cbranch", "s_branch")) and labels.get(target, i + 1) <= i:
            loops.append((labels[target], i + 1))
    inner = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    best = max((_products(lines[a:b]) for a, b in inner), default=(0, 0.0))
    return best[1] if best[0] else _products(lines)[1]


def _products(lines: list[str]) -> tuple[int, float]:
    instructions = [line for line in lines if not line.endswith(":")]
    products = sum(bool(MULTIPLY_ADD.match(line)) for line in instructions)
    return products, products / max(len(instructions), 1)
