"""Time the candidates for each shape of a model on the user's own device, and keep the fastest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from app.engine import registry
from app.engine.choices import Choices
from app.engine.ir import Graph, Node
from app.engine.opencl.executor import Executor
from app.engine.opencl.weights import Weights
from app.engine.planner import plan
from app.errors import DeviceError, UnsupportedOp

if TYPE_CHECKING:
    from app.engine.loaded import LoadedModel

Progress = Callable[[int, int, str], None]
ROUNDS = 5
# How much faster than the predicted variant another must be: less is the noise of a measurement.
MARGIN = 1.03


def tune(model: LoadedModel, shapes: Sequence[tuple[int, ...]] | None = None,
         seconds: float = 30.0, progress: Progress | None = None) -> int:
    """Tune every shape of a model's main graph that is not tuned yet; returns how many were.

    Units: seconds is the budget for all of it; what is measured by then is kept.
    Raises: InvalidInput if the shapes do not fit the model.
    """
    end = monotonic() + seconds
    profile = model.profile
    waiting = _waiting(model.prepare(shapes).plan.graph, profile)
    done = 0
    for position, (key, (node, candidates)) in enumerate(waiting.items()):
        if progress is not None:
            progress(position, len(waiting), key)
        best = _fastest(model, node, key, candidates, end)
        if best is not None:
            profile.choices.measured[key] = tuple(int(v) for v in astuple(best))
            done += 1
        if monotonic() > end:
            break
    if progress is not None:
        progress(done, len(waiting), "done" if done == len(waiting) else "out of time")
    model.runtime.keep_choices()
    model.replan()
    return done


def _waiting(graph: Graph, profile: Any) -> dict[str, tuple[Node, list[Any]]]:
    found: dict[str, tuple[Node, list[Any]]] = {}
    for node in graph.nodes:
        rule = registry.OPS.get(node.op)
        if rule is None:
            continue
        profile.choices.asked = {}
        try:
            rule(node, profile)
        except UnsupportedOp:
            continue
        finally:
            asked, profile.choices.asked = profile.choices.asked, None
        found.update({key: (node, shortlist) for key, shortlist in asked.items()
                      if key not in profile.choices.measured and len(shortlist) > 1})
    return found


def _fastest(model: LoadedModel, node: Node, key: str, candidates: Sequence[Any],
             end: float) -> Any | None:
    times: list[tuple[float, Any]] = []
    for candidate in candidates:
        if times and monotonic() > end:
            return None
        try:
            times.append((_seconds(model, node, key, candidate), candidate))
        except DeviceError:
            # What the driver cannot build or run is no candidate.
            continue
    best = min(times, key=lambda t: t[0], default=None)
    # The first one is what the shape gets without a tuner.
    if best is not None and times[0][1] is candidates[0] and times[0][0] <= best[0] * MARGIN:
        best = times[0]
    return best and best[1]


def _seconds(model: LoadedModel, node: Node, key: str, candidate: Any) -> float:
    runtime, profile = model.runtime, model.profile
    trial = Choices({**profile.choices.measured, key: astuple(candidate)})
    reads = tuple(dict.fromkeys(t for t in node.reads if t.data is None))
    graph = Graph("trial", (node,), reads, node.outputs)
    with runtime.turn(first=True):
        executor = Executor(plan(graph, replace(profile, choices=trial)), runtime.queue,
                            runtime.programs, Weights(runtime.context, runtime.queue))
        executor.seconds(1)
        return min(executor.seconds() for _ in range(ROUNDS))

