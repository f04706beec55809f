"""The tables that give an operation its meaning: launches, shapes, views and host code.

Filled by decorators when app.engine.ops is imported; a duplicate raises at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from app.engine.ir import Data, Launch, Node
from app.engine.profile import DeviceProfile
from app.engine.values import Value
from app.errors import UnsupportedOp

Shape = tuple[int, ...]
Planner = Callable[[Node, DeviceProfile], Sequence[Launch]]
ShapeRule = Callable[[Node], Sequence[Shape]]
HostRule = Callable[[Node, Sequence[Data | None]], Sequence[Data]]
ViewRule = Callable[[Node], int]


class RunContext(Protocol):
    """What a stateful op may use during one request.

    variables and tables live for one request and are shared by all subgraphs and steps.
    """

    variables: dict[str, Value]
    tables: dict[str, dict[Any, Any]]
    done_once: set[int]

    def call_graph(self, index: int, inputs: Sequence[Value | None]) -> Sequence[Value]:
        """Run subgraph index of the model; its results may stay on the device."""

    def array(self, value: Value | None) -> Data:
        """The numbers of a value; waits for the device if they are there."""

    def store(self, name: str, value: Value) -> None:
        """Give a variable a value, in memory of its own."""

    def entered(self, executor: Any) -> None:
        """Told before a plan runs: state tensors of its parts begin anew in each request."""

    def keep(self, things: Sequence[Any]) -> None:
        """Hold what the device still reads until the request is over."""


StatefulRule = Callable[[Node, Sequence[Value | None], RunContext], Sequence[Value]]
Rule = TypeVar("Rule")

OPS: dict[str, Planner] = {}
SHAPES: dict[str, ShapeRule] = {}
HOSTS: dict[str, HostRule] = {}
VIEWS: dict[str, ViewRule] = {}
STATEFUL: dict[str, StatefulRule] = {}


def _entry(table: dict[str, Rule], names: Sequence[str]) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        for name in names:
            if name in table:
                raise ValueError(f"{name} is registered twice")
            table[name] = rule
        return rule

    return add


def op(*names: str) -> Callable[[Planner], Planner]:
    """Register how a node becomes launches. The rule raises UnsupportedOp with the reason."""
    return _entry(OPS, names)


def shape(*names: str) -> Callable[[ShapeRule], ShapeRule]:
    """Register the output shapes; the rule may read node.input(i).data of constants."""
    return _entry(SHAPES, names)


def host(*names: str) -> Callable[[HostRule], HostRule]:
    """Register a numpy version: folds constants at load and runs what the device cannot."""
    return _entry(HOSTS, names)


def stateful(*names: str) -> Callable[[StatefulRule], StatefulRule]:
    """Register a host op that needs variables or other subgraphs (IF, WHILE, READ_VARIABLE)."""
    return _entry(STATEFUL, names)


def view(*names: str) -> Callable[[ViewRule], ViewRule]:
    """Register an op that costs nothing: output 0 is input 0 at the returned byte offset."""
    return _entry(VIEWS, names)


def require(condition: bool, reason: str) -> None:
    """Refuse a node on the device.

    Raises: UnsupportedOp with reason unless condition holds.
    """
    if not condition:
        raise UnsupportedOp(reason)


def require_dtype(node: Node, *dtypes: str) -> None:
    """Refuse a node whose data (input 0, output 0) is of another type.

    Raises: UnsupportedOp that names the types.
    """
    for tensor in (node.input(0), node.outputs[0]):
        require(tensor.dtype in dtypes,
                f"{node.op} on {tensor.dtype} has no kernel; there is one for {', '.join(dtypes)}")
