"""Where each node runs: on the device, for free, on the CPU, or in the engine's own hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.engine import registry
from app.engine.blame import blamed
from app.engine.clusters import Entry, Storage, absorbed, ordered
from app.engine.control_cost import light
from app.engine.ir import Graph, Launch, Node, Tensor
from app.engine.profile import DeviceProfile
from app.engine.segments import HostCall, close_segment
from app.engine.subbyte import BITS
from app.errors import UnsupportedOp

Rewrite = Callable[[Graph], Graph]
APART = "APART:"
# Types that no kernel reads: what passes.quantize took on is float32 by now.
NUMBERLESS = {"variant", *BITS}


@dataclass(frozen=True, slots=True, eq=False)
class StateCall:
    """One node that needs variables or other subgraphs; reason tells why it is no kernel."""

    node: Node
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where one node runs: "device", "host", "state" or "free" (a view), and why.

    origin holds the nodes of the graph that it stands for, more than one where they are fused.
    """

    node: Node
    where: str
    reason: str = ""
    origin: tuple[Node, ...] = ()


@dataclass(slots=True)
class Draft:
    """A plan under construction: steps in order, a place per node, views of other tensors."""

    steps: list[Launch | HostCall | StateCall] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    views: dict[Tensor, Storage] = field(default_factory=dict)


def settle(graph: Graph, profile: DeviceProfile, lower: Rewrite, fuse: Rewrite) -> Draft:
    """Lower and fuse a graph, then give every node its place and its steps.

    What the device refuses in a changed form is taken apart and tried node by node.
    Raises: UnsupportedOp that names all nodes that nothing here can run.
    """
    apart: dict[Node, str] = {}
    while True:
        # Under another name no rewriting knows the node; its number tells where parts come from.
        numbered = [replace(n, op=APART + n.op if n in apart else n.op, index=i)
                    for i, n in enumerate(graph.nodes)]
        lowered = lower(replace(graph, nodes=tuple(numbered)))
        fused = fuse(lowered)
        makers = {t: n for n in lowered.nodes for t in n.outputs}
        views: dict[Tensor, Storage] = {}
        made: set[Tensor] = set()
        kept = set(graph.outputs)
        entries: list[Entry] = []
        for node in fused.nodes:
            own = _own(graph, numbered, node)
            entries.append(_place(graph, own or node, profile, views, made, kept))
            entries[-1].whole = own is not None
            entries[-1].origin = ((graph.nodes[node.index],) if own is not None
                                  else _originals(graph, makers, node))
        changed = [e for e in entries if e.where in ("host", "state") and not e.whole]
        if not changed:
            break
        before = len(apart)
        for entry in changed:
            for node in entry.origin:
                apart.setdefault(node, entry.reason)
        if len(apart) == before:
            raise UnsupportedOp("; ".join(e.reason for e in changed))
    for entry in entries:
        first = apart.get(entry.origin[0]) if entry.origin else None
        entry.reason = first or entry.reason if entry.where in ("host", "state") else ""
    return _assembled(graph, ordered(absorbed(entries, fused, views)), views)


def _own(graph: Graph, numbered: Sequence[Node], node: Node) -> Node | None:
    """The file's operator behind a node that no rewriting changed, but for what it reads."""
    if not 0 <= node.index < len(numbered):
        return None
    before = numbered[node.index]
    alike = (node.op == before.op and not node.epilogue and node.options is before.options
             and [t and t.dtype for t in node.inputs] == [t and t.dtype for t in before.inputs]
             and [t.dtype for t in node.outputs] == [t.dtype for t in before.outputs])
    if not alike:
        return None
    return replace(graph.nodes[node.index], inputs=node.inputs, outputs=node.outputs)


def _originals(graph: Graph, makers: Mapping[Tensor, Node], node: Node) -> tuple[Node, ...]:
    numbers = {n.index for n in members(makers, node)} | {node.index}
    return tuple(graph.nodes[i] for i in sorted(numbers) if 0 <= i < len(graph.nodes))


def members(makers: Mapping[Tensor, Node], fused: Node) -> set[Node]:
    """The nodes of a graph that a fused node stands for; makers tells which node gives a tensor."""
    ends = set(fused.reads)
    found: set[Node] = set()
    waiting = [t for t in fused.outputs if t in makers]
    while waiting:
        node = makers[waiting.pop()]
        if node not in found:
            found.add(node)
            waiting.extend(t for t in node.reads if t in makers and t not in ends)
    return found


def resolve(views: Mapping[Tensor, Storage], tensor: Tensor) -> Storage:
    """Follow views down to the tensor that owns the memory."""
    offset = 0
    while tensor in views:
        tensor, more = views[tensor]
        offset += more
    return tensor, offset


def _place(graph: Graph, node: Node, profile: DeviceProfile, views: dict[Tensor, Storage],
           made: set[Tensor], kept: set[Tensor]) -> Entry:
    if node.op in registry.STATEFUL:
        if light(graph, node):
            return Entry(node, "host", f"{node.op} of so little work that the CPU is done with it "
                                        "before a kernel would have started")
        return Entry(node, "state", f"{node.op} is done by the engine itself")
    if _free(node, profile, views):
        return Entry(node, "free")
    if _empty(node):
        return Entry(node, "device", "nothing to compute")
    rule = registry.OPS.get(node.op)
    if rule is None:
        return Entry(node, "host", f"there is no kernel for {node.op}")
    if any(t.dtype in NUMBERLESS for t in (*node.reads, *node.outputs)):
        return Entry(node, "host", f"{node.op} on a type of number that has no kernel")
    if any(t.dtype == "bytes" for t in (*node.reads, *node.outputs)):
        return Entry(node, "host", f"{node.op} on strings has no kernel")
    if any(-1 in t.shape for t in node.outputs):
        return Entry(node, "host", f"the shape of {node.op}'s result depends on data")
    try:
        inside = node
        if node.op == "CONCATENATION":
            with blamed(node):
                inside = _in_place(views, made, node, profile, kept)
        with blamed(node):
            entry = Entry(node, "device", "", rule(inside, profile))
        made.update(node.outputs)
        return entry
    except UnsupportedOp as error:
        reason = str(error)
        return Entry(node, "host", reason if node.op in reason else f"{node.op}: {reason}")


def _empty(node: Node) -> bool:
    return bool(node.outputs) and all(
        t.size == 0 and -1 not in t.shape and t.dtype not in (*NUMBERLESS, "bytes")
        for t in node.outputs)


def _in_place(views: dict[Tensor, Storage], made: set[Tensor], node: Node, profile: DeviceProfile,
              kept: set[Tensor]) -> Node:
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
        root, inside = resolve(views, x)
        if (root in made and root not in kept and inside == 0 and root.nbytes == x.nbytes
                and x not in kept and offset % profile.align == 0 and x.quant == y.quant):
            views[root] = (y, offset)
            made.discard(root)
            there.append(position)
        offset += x.nbytes
    return replace(node, options={**node.options, "in_place": tuple(there)})


def _free(node: Node, profile: DeviceProfile, views: dict[Tensor, Storage]) -> bool:
    rule = registry.VIEWS.get(node.op)
    # Strings have no bytes of their own in an array: there is nothing to see otherwise.
    if rule is None or node.epilogue or node.input(0).dtype == "bytes":
        return False
    try:
        with blamed(node):
            offset = rule(node)
    except UnsupportedOp:
        return False
    source = node.input(0)
    base = 0 if source.data is not None else resolve(views, source)[1]
    if source.data is not None or (base + offset) % profile.align:
        return False
    views[node.outputs[0]] = (source, offset)
    return True


def _assembled(graph: Graph, entries: Sequence[Entry], views: dict[Tensor, Storage]) -> Draft:
    draft = Draft(views=views)
    needed = _needed(graph, entries)
    refused: list[str] = []
    run: list[Entry] = []
    for entry in [*entries, None]:
        if entry is not None and entry.where == "host":
            run.append(entry)
            continue
        if entry is not None and entry.where == "free":
            continue
        if run:
            call, why = close_segment(graph, [(e.node, e.reason) for e in run], needed)
            refused += why
            draft.steps.append(call)
            run = []
        if entry is not None:
            draft.steps.extend(entry.launches if entry.where == "device"
                               else [StateCall(entry.node, entry.reason)])
    if refused:
        raise UnsupportedOp("this model has operations that nothing here can run: "
                            + "; ".join(dict.fromkeys(refused)))
    draft.places = [Place(e.node, e.where, e.reason, e.origin) for e in entries]
    return draft


def _needed(graph: Graph, entries: Sequence[Entry]) -> dict[Tensor, set[Node]]:
    # Who reads a tensor; a graph output is read by nobody in particular.
    readers: dict[Tensor, set[Node]] = {}
    for entry in entries:
        for tensor in entry.node.reads:
            readers.setdefault(tensor, set()).add(entry.node)
    for tensor in graph.outputs:
        readers.setdefault(tensor, set()).add(OUTSIDE)
    return readers


OUTSIDE = Node("OUTSIDE", (), ())
