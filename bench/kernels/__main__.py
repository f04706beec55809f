"""make kernels-report: every kernel variant of the corpus on gfx803, and each model's roofline.

Needs clang-19 and libclc-19 (apt), not the card.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.engine.planner import Plan
from app.engine.profile import RX_580
from bench.kernels.gfx803 import GEMM_LIKE, Usage, compile_all
from bench.kernels.plans import Program, launches, plan_all, programs
from bench.kernels.roofline import predict

LAUNCH_SECONDS = 7e-6


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; the exit code is 1 with --check if a kernel is not made for the card."""
    options = _options(argv)
    launch = options.launch_us * 1e-6
    plans, refused = plan_all(options.model or None)
    halves = {name: plan for name, plan in plan_all(options.model or None, HALVES)[0].items()
              if any("HALVES" in step.defines for step in launches(plan))}
    wanted = programs(plans.values())
    usages = compile_all(sorted(wanted, key=lambda p: (p.source, p.label)))
    others = [p for p in programs(halves.values()) if p not in wanted]
    more = compile_all(sorted(others, key=lambda p: (p.source, p.label)))
    without = [f"- `{name}` has no plan: {why[:160]}" for name, why in refused.items()]
    text = "\n".join([*HEAD, *_models(plans, launch), "", *without, "",
                      *_halves(plans, halves, more, launch), "", *_kernels(usages, wanted)])
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n", "utf-8")
    usages |= more
    faults = [f"{p.label}: {f}" for p, u in usages.items() for f in u.faults(p.kernel)]
    for fault in faults:
        print("not made for gfx803:", fault, file=sys.stderr)
    print(f"{len(usages)} kernel variants, {len(faults)} faults, {len(refused)} models without a "
          "plan", file=sys.stderr)
    return int(options.check and bool(faults))


HEAD = (
    "# The engine's kernels on gfx803", "",
    "Made by `make kernels-report`: the planner runs with the profile of an RX 580, clang-19 "
    "compiles every program it asks for. LLVM's register allocation; Mesa's ACO may differ a "
    "little.", "",
    "## Models", "",
    "The roofline: per launch the longer of arithmetic (6.17 TFLOP/s) and memory (256 GB/s), plus "
    "the cost of a launch. It is what the card cannot beat, not what it will reach. *Moved* are "
    "the bytes that the launches read and write, *least* are inputs, weights and outputs once; "
    "what lies between stays in 2 MB of L2 where it fits. *Thin* launches have fewer wavefronts "
    "than the card has SIMDs (144).", "",
)


HALVES = replace(RX_580, fp16_storage=True)
HALVES_HEAD = (
    "## With `precision: fp16-storage`", "",
    "Models whose activations are kept as float16, beside the same in float32 (float32 → "
    "float16-storage). Arithmetic is float32 in both. Integer models stay as they are.", "",
)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.kernels", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a kernel spills or starves")
    parser.add_argument("--model", action="append", help="only this one (several times)")
    parser.add_argument("--output", type=Path, help="write the tables here too")
    parser.add_argument("--launch-us", type=float, default=LAUNCH_SECONDS * 1e6,
                        help="microseconds that a launch costs the card")
    return parser.parse_args(argv)


def _models(plans: Mapping[str, Plan], launch: float) -> list[str]:
    rows = ["| model | launches | on the host | GFLOP | moved MB | least MB | gap | thin | "
            "arena MB (of bound) | arithmetic and memory ms | with launches ms |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for name, plan in sorted(plans.items()):
        r = predict(plan, RX_580, launch)
        rows.append(
            f"| {name} | {r.launches} | {r.host} | {r.flops / 1e9:.3f} | {r.moved / 1e6:.2f} | "
            f"{r.least / 1e6:.2f} | {r.moved / max(r.least, 1):.1f}× | {r.thin} | "
            f"{plan.arena_bytes / 1e6:.2f} ({plan.arena_bytes / max(plan.bound_bytes, 1):.2f}×) | "
            f"{r.compute * 1e3:.3f} | {r.total * 1e3:.3f} |")
    return rows


def _halves(plans: Mapping[str, Plan], halves: Mapping[str, Plan], usages: Mapping[Program, Usage],
            launch: float) -> list[str]:
    rows = [*HALVES_HEAD, "| model | moved MB | arena MB | arithmetic and memory ms | "
            "with launches ms |", "|---|--:|--:|--:|--:|"]
    for name, half in sorted(halves.items()):
        full, r = plans[name], [predict(p, RX_580, launch) for p in (plans[name], half)]
        rows.append(f"| {name} | {r[0].moved / 1e6:.2f} → {r[1].moved / 1e6:.2f} | "
                    f"{full.arena_bytes / 1e6:.2f} → {half.arena_bytes / 1e6:.2f} | "
                    f"{r[0].compute * 1e3:.3f} → {r[1].compute * 1e3:.3f} | "
                    f"{r[0].total * 1e3:.3f} → {r[1].total * 1e3:.3f} |")
    spilled = sum(bool(u.scratch or u.spills) for u in usages.values())
    waves = [u.waves for p, u in usages.items() if p.kernel in GEMM_LIKE]
    rows += ["", f"For them {len(usages)} more kernel variants are compiled: {spilled} spill, "
                 f"those that do the arithmetic keep at least {min(waves, default=0)} waves per "
                 "SIMD."]
    return rows


def _kernels(usages: Mapping[Program, Usage], count: Mapping[Program, int]) -> list[str]:
    rows = ["## Kernels", "",
            "| kernel | launches | VGPRs | SGPRs | LDS | scratch | waves per SIMD | "
            "multiply-adds in the inner loop |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for program, u in usages.items():
        label = program.label.replace("|", "\\|")
        rows.append(f"| `{label}` | {count[program]} | {u.vgprs} | {u.sgprs} | {u.lds} | "
                    f"{u.scratch} | {u.waves} | {u.share:.0%} |")
    return rows


if __name__ == "__main__":
    sys.exit(main())
