"""A specialised graph becomes a Plan: launches and host calls in order over one arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.engine import registry
from app.engine.arena import Slot, lower_bound, place
from app.engine.ir import Graph, Launch, Node, Scratch, Tensor
from app.engine.profile import DeviceProfile
from app.errors import UnsupportedOp


@dataclass(frozen=True, slots=True, eq=False)
class HostCall:
    """One node that numpy runs: its inputs come from the device, its outputs go back.

    reason tells why the device does not run it.
    """

    node: Node
    reason: str


Step = Launch | HostCall
Storage = tuple[Tensor, int]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where one node runs: "device", "host" or "free" (a view), and why if not on the device."""

    node: Node
    where: str
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All that an executor needs to run one graph with one set of input shapes.

    Units: arena_bytes is what is allocated, bound_bytes the largest set that is
            live at once, aligned.
    """

    graph: Graph
    steps: tuple[Step, ...]
    places: tuple[Place, ...]
    views: dict[Tensor, Storage]
    slots: dict[Tensor | Scratch, Slot]
    arena_bytes: int
    bound_bytes: int

    def storage(self, tensor: Tensor) -> Storage:
        """The tensor whose memory holds this one, and the byte offset in it."""
        return resolve(self.views, tensor)


@dataclass(slots=True)
class _Draft:
    steps: list[Step] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    views: dict[Tensor, Storage] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    made: set[Tensor] = field(default_factory=set)


def plan(graph: Graph, profile: DeviceProfile) -> Plan:
    """Plan every node and lay out the memory.

    Raises: UnsupportedOp that names all nodes that neither the device nor the host can run.
    """
    draft = _Draft()
    kept = set(graph.outputs)
    for node in graph.nodes:
        _add(draft, node, profile, kept)
    if draft.refused:
        raise UnsupportedOp("this model has operations that nothing here can run: "
                            + "; ".join(dict.fromkeys(draft.refused)))
    spans = _lifetimes(graph, draft)
    sizes = {key: _nbytes(key) for key in spans}
    slots, total = place(spans, sizes, profile.align)
    return Plan(graph, tuple(draft.steps), tuple(draft.places), draft.views, slots, total,
                lower_bound(spans, sizes, profile.align))


def resolve(views: dict[Tensor, Storage], tensor: Tensor) -> Storage:
    """Follow views down to the tensor that owns the memory."""
    offset = 0
    while tensor in views:
        tensor, more = views[tensor]
        offset += more
    return tensor, offset


def _add(draft: _Draft, node: Node, profile: DeviceProfile, kept: set[Tensor]) -> None:
    if _free(draft, node, profile):
        return
    try:
        draft.steps.extend(_launches(draft, node, profile, kept))
        draft.made.update(node.outputs)
        draft.places.append(Place(node, "device"))
    except UnsupportedOp as error:
        _fall_back(draft, node, str(error))


def _free(draft: _Draft, node: Node, profile: DeviceProfile) -> bool:
    rule = registry.VIEWS.get(node.op)
    if rule is None or node.epilogue:
        return False
    try:
        offset = rule(node)
    except UnsupportedOp:
        return False
    source = node.input(0)
    base = 0 if source.data is not None else resolve(draft.views, source)[1]
    if source.data is not None or (base + offset) % profile.align:
        return False
    draft.views[node.outputs[0]] = (source, offset)
    draft.places.append(Place(node, "free"))
    return True


def _launches(draft: _Draft, node: Node, profile: DeviceProfile,
              kept: set[Tensor]) -> Sequence[Launch]:
    rule = registry.OPS.get(node.op)
    if rule is None:
        raise UnsupportedOp(f"there is no kernel for {node.op}")
    if node.op == "CONCATENATION":
        node = _in_place(draft, node, profile, kept)
    return rule(node, profile)


def _in_place(draft: _Draft, node: Node, profile: DeviceProfile, kept: set[Tensor]) -> Node:
    """Let what feeds a concatenation write into its result, where the parts lie one after the
    other; the op then only copies the rest (options["in_place"] lists what is there already)."""
    y = node.outputs[0]
    axis = int(node.options["axis"]) % max(len(y.shape), 1)
    if any(e != 1 for e in y.shape[:axis]):
        return node
    there, offset = [], 0
    for position, x in enumerate(node.inputs):
        if x is None:
            continue
        root, inside = resolve(draft.views, x)
        if (root in draft.made and root not in kept and inside == 0 and root.nbytes == x.nbytes
                and x not in kept and offset % profile.align == 0 and x.quant == y.quant):
            draft.views[root] = (y, offset)
            draft.made.discard(root)
            there.append(position)
        offset += x.nbytes
    return replace(node, options={**node.options, "in_place": tuple(there)})


def _fall_back(draft: _Draft, node: Node, reason: str) -> None:
    if node.op not in registry.HOSTS and node.op not in registry.STATEFUL:
        draft.refused.append(reason if node.op in reason else f"{node.op}: {reason}")
        return
    draft.steps.append(HostCall(node, reason))
    draft.places.append(Place(node, "host", reason))


def touched(step: Step) -> tuple[Tensor | Scratch, ...]:
    """Everything in the arena that a step reads or writes, constants included."""
    if isinstance(step, HostCall):
        return (*step.node.reads, *step.node.outputs)
    return tuple(a for a in step.args if isinstance(a, Tensor | Scratch))


def _lifetimes(graph: Graph, draft: _Draft) -> dict[Tensor | Scratch, tuple[int, int]]:
    spans: dict[Tensor | Scratch, tuple[int, int]] = {}

    def touch(key: Tensor | Scratch, when: int) -> None:
        if isinstance(key, Tensor):
            key, _ = resolve(draft.views, key)
            if key.data is not None or key.dtype in OPAQUE:
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


OPAQUE = {"bytes", "resource", "variant"}


def _nbytes(key: Tensor | Scratch) -> int:
    return max(key.nbytes, 1)
