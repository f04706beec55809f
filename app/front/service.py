"""What the loop asks of the server whose front it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from app.front.body import Buffer
from app.front.head import Head
from app.front.reply import Reply, Stamped


class Service(Protocol):
    """The short way: requests that are answered without the WSGI app.

    A route is whatever match makes of a head; a ticket whatever stands for an admitted request.
    """

    limit: int
    """Bytes of the largest body."""

    def match(self, head: Head) -> Any:
        """Give the route of a request for the short way, None for any other."""

    def admit(self, route: Any, head: Head, caller: str, read: bool) -> Reply | Stamped | Any:
        """Give a ticket, or the refusal; read is true when the whole body has come."""

    def settle(self) -> None:
        """Write down what is owed for refusals that are Stamped: none of them may leave before."""

    def leave(self, ticket: Any) -> None:
        """Take a ticket back."""

    def brief(self, route: Any, head: Head, body: Buffer) -> bool:
        """Tell whether the loop may answer itself: it takes no longer than others may wait."""

    def idle(self, route: Any) -> bool:
        """Tell whether an answer would begin at once."""

    def waiting(self, routes: Sequence[Any]) -> None:
        """Note of whom the loop still has requests in line, one route for each."""

    def answer(
        self, route: Any, head: Head, body: Buffer, caller: str, socket: Any, started: float,
        waited: float | None,
    ) -> Reply:
        """Answer a request that was admitted.

        Units: waited in seconds in the loop's line; None for a thread, which may wait on.
        """

    def refuse(self, route: Any, head: Head, error: Exception, started: float) -> Reply | Stamped:
        """Answer a request whose body cannot be read."""

    def named(self, route: Any, body: Buffer) -> Any:
        """Complete a route whose model only the body names."""
