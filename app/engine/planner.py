"""A specialised graph becomes a Plan: launches and host calls in order over one arena."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from app.engine.arena import Slot, lower_bound, place
from app.engine.blame import sound
from app.engine.bundles import bundled
from app.engine.bytewise import write_bytes
from app.engine.chains import chained
from app.engine.clusters import Storage
from app.engine.halves import halve_activations
from app.engine.ir import Const, Graph, Launch, Scratch, Tensor
from app.engine.ops.dots import LEAST
from app.engine.passes.dense_pairs import pair_dense
from app.engine.passes.fuse import fuse
from app.engine.passes.lookups import with_tables
from app.engine.passes.pairs import pair
from app.engine.passes.quantize import lower
from app.engine.passes.recurrent import unfold
from app.engine.passes.rows import join_rows
from app.engine.passes.states import State, functional
from app.engine.passes.volumes import flatten
from app.engine.passes.widen import widen
from app.engine.placement import Draft, Place, StateCall, resolve, settle
from app.engine.profile import DeviceProfile
from app.engine.residents import keep_states, touched, used_on_device
from app.engine.segments import HostCall, NumpyPart
from app.engine.slices import write_slices
from app.errors import UnsupportedOp

Step = Launch | HostCall | StateCall


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All that an executor needs to run one graph with one set of input shapes.

    on_device holds the tensors that kernels touch: only they have slots in the arena; what only
    the host makes and reads never gets there. states are the variables that live in the arena
    from step to step.
    Units: arena_bytes is what is allocated, bound_bytes the largest set that is
            live at once, aligned.
    """

    graph: Graph
    steps: tuple[Step, ...]
    places: tuple[Place, ...]
    views: dict[Tensor, Storage]
    slots: dict[Tensor | Scratch, Slot]
    on_device: frozenset[Tensor]
    arena_bytes: int
    bound_bytes: int
    states: tuple[State, ...] = ()

    @property
    def particular(self) -> bool:
        """Whether numpy runs a part of it: such operations may refuse values, not only shapes."""
        return any(isinstance(p, NumpyPart) for s in self.steps if isinstance(s, HostCall)
                   for p in s.parts)

    @property
    def device_bytes(self) -> int:
        """The arena and the constants that kernels read, as the file has them."""
        constants = {a.tensor if isinstance(a, Const) else a
                     for s in self.steps if isinstance(s, Launch) for a in s.args
                     if isinstance(a, Const) or (isinstance(a, Tensor) and a.data is not None)}
        return self.arena_bytes + sum(t.nbytes for t in constants)

    def storage(self, tensor: Tensor) -> Storage:
        """The tensor whose memory holds this one, and the byte offset in it."""
        return resolve(self.views, tensor)


@sound("the model")
def plan(graph: Graph, profile: DeviceProfile,
         constants: dict[tuple[Tensor, str], Tensor] | None = None,
         lasting: bool = False, whole: bool = False) -> Plan:
    """Fuse, place and plan every node and lay out the memory.

    constants: see passes.quantize.lower; lasting: state tensors outlive a run; whole: variables
    are used by this plan alone, so that it may keep them.
    Raises: UnsupportedOp that names all nodes that neither the device nor the host can run.
    """
    known = {} if constants is None else constants

    def lowered(given: Graph) -> Graph:
        return lower(flatten(widen(given, known), known), known)

    def apart(given: Graph) -> Graph:
        return lowered(unfold(given))

    def fused(given: Graph) -> Graph:
        if profile.dots:
            return with_tables(join_rows(fuse(given), LEAST))
        return fuse(given) if profile.is_cpu else pair_dense(pair(fuse(given)))

    kept = functional(graph, lasting) if whole else None
    if kept is not None:
        # What only the CPU knows has its states there, and does not take them from here.
        with suppress(UnsupportedOp):
            draft = settle(kept[0], profile, apart, fused)
            if keep_states(draft, kept[1], profile):
                return _laid_out(graph, kept[0], draft, profile, kept[1])
    draft = settle(graph, profile, lowered if lasting else apart, fused)
    return _laid_out(graph, graph, draft, profile, ())


def _laid_out(graph: Graph, whole: Graph, draft: Draft, profile: DeviceProfile,
              states: tuple[State, ...]) -> Plan:
    outside = (*whole.inputs, *whole.outputs, *graph.outputs,
               *(t for s in states for t in (s.before, s.after)))
    write_slices(draft, outside)
    write_bytes(draft, outside)
    halve_activations(draft, graph, outside, profile)
    draft.steps = chained(bundled(draft.steps, draft.views, profile), profile)
    on_device = used_on_device(draft)
    spans = _lifetimes(whole, draft, on_device)
    for state in states:
        spans[state.before] = (-1, len(draft.steps))
    sizes = {key: _nbytes(key) for key in spans}
    slots, total = place(spans, sizes, profile.align)
    # The caller's inputs and outputs are those of the graph, without the variables.
    placed = replace(graph, nodes=tuple(p.node for p in draft.places),
                     outputs=whole.outputs[:len(graph.outputs)])
    return Plan(placed, tuple(draft.steps), tuple(draft.places), draft.views, slots, on_device,
                total, lower_bound(spans, sizes, profile.align), states)


def _lifetimes(graph: Graph, draft: Draft,
               on_device: frozenset[Tensor]) -> dict[Tensor | Scratch, tuple[int, int]]:
    spans: dict[Tensor | Scratch, tuple[int, int]] = {}

    def touch(key: Tensor | Scratch, when: int) -> None:
        if isinstance(key, Tensor):
            key, _ = resolve(draft.views, key)
            if key not in on_device:
                return
        first, last = spans.get(key, (when, when))
        spans[key] = (min(first, when), max(last, when))

    for tensor in graph.inputs:
        touch(tensor, -1)
    for when, step in enumerate(draft.steps):
        for key in touched(step):
            touch(key, when)
    for tensor in graph.outputs:
        touch(tensor, len(draft.steps))
    return spans


def _nbytes(key: Tensor | Scratch) -> int:
    return max(key.nbytes, 1)
