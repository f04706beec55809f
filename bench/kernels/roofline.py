"""What the card can do at best with a plan: arithmetic, memory, launches."""

from __future__ import annotations

from dataclasses import dataclass

from app.engine.ir import Const, Launch, Scratch, Tensor
from app.engine.planner import Plan
from app.engine.profile import DeviceProfile
from app.engine.segments import HostCall
from bench.kernels.plans import launches

WAVE = 64


@dataclass(frozen=True, slots=True)
class Roofline:
    """One model on one card.

    Units: seconds, bytes; moved is what the launches read and write, least what any program has
           to: inputs, weights and outputs once. thin counts launches with fewer wavefronts than
           the card has SIMDs.
    """

    launches: int
    host: int
    flops: int
    moved: int
    least: int
    compute: float
    total: float
    thin: int


def predict(plan: Plan, profile: DeviceProfile, launch_cost: float) -> Roofline:
    """Sum the roofline of every launch: the longer of arithmetic and memory, and its start.

    Units: launch_cost in seconds.
    """
    own = launches(plan)
    sizes: dict[tuple[int, str], int] = {}
    total = compute = 0.0
    moved = 0
    for launch in own:
        nbytes = sum(_bytes(a, sizes) for a in _distinct(launch))
        moved += nbytes
        seconds = max(launch.flops / profile.flops, nbytes / profile.bandwidth)
        compute += seconds
        total += seconds + launch_cost
    ends = sum(t.nbytes for t in (*plan.graph.inputs, *plan.graph.outputs))
    return Roofline(len(own), sum(len(s.nodes) for s in plan.steps if isinstance(s, HostCall)),
                    sum(s.flops for s in own), moved, ends + sum(sizes.values()), compute, total,
                    sum(waves(s) < 4 * profile.compute_units for s in own))


def waves(launch: Launch) -> int:
    """Wavefronts that a launch starts."""
    groups, lanes = 1, 1
    for size, width in zip(launch.global_size, launch.local_size, strict=True):
        groups *= -(-size // width)
        lanes *= width
    return groups * -(-lanes // WAVE)


def _distinct(launch: Launch) -> list[Tensor | Const | Scratch]:
    found: dict[int, Tensor | Const | Scratch] = {}
    for arg in launch.args:
        if isinstance(arg, Tensor | Const | Scratch):
            found[id(arg)] = arg
    return list(found.values())


def _bytes(arg: Tensor | Const | Scratch, sizes: dict[tuple[int, str], int]) -> int:
    if isinstance(arg, Scratch):
        return arg.nbytes
    if isinstance(arg, Tensor) and arg.data is None:
        return arg.nbytes
    label = arg.label if isinstance(arg, Const) else "raw"
    data = arg.tensor.data if isinstance(arg, Const) else arg.data
    assert data is not None
    key = (id(data), label)
    if key not in sizes:
        sizes[key] = arg.pack(data).nbytes if isinstance(arg, Const) else data.nbytes
    return sizes[key]
