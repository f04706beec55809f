"""Stops taking connections without dropping one that the kernel has already taken."""

from __future__ import annotations

import ctypes
import logging
import select
import socket
import struct
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

from gunicorn import arbiter

log = logging.getLogger("app.draining")

SO_ATTACH_FILTER = 26
# Classic BPF over a TCP segment: drop it if byte 13 has SYN set, else pass it whole.
_FILTER = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x45, 0, 1, 0x02),  # jset #SYN
    (0x06, 0, 0, 0),  # ret #0
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1
)
# Option and level by family. Source: RFC 5082; linux/in.h, linux/in6.h.
_MIN_TTL = {
    socket.AF_INET: (socket.IPPROTO_IP, 21),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 73),
}
# Hardly anybody sends with so large a TTL: Linux begins with 64, Windows with 128.
_LARGEST_TTL = 255
# A handshake that was under way arrives within this time; then the queue stays empty.
QUIET_SECONDS = 0.1
LONGEST_SECONDS = 2.0


def refuse_connections(listeners: Sequence[socket.socket]) -> None:
    """Make the kernel ignore new connections to a socket that other processes hold too.

    Closing a listener resets what waits in its queue; after this the queue only shrinks, and
    clients that come later try again until the listener is closed, and are then refused. Where the
    kernel or the container allows filters to root alone, packets are ignored by their TTL: of a
    handshake that is under way at this moment the data, too.
    Source: socket(7), SO_ATTACH_FILTER.
    """
    for listener in listeners:
        if listener.family not in _MIN_TTL:
            continue
        try:
            _drop_handshakes(listener)
        except OSError:
            try:
                listener.setsockopt(*_MIN_TTL[listener.family], _LARGEST_TTL)
            except OSError as error:
                log.warning("a connection may be reset while stopping: %s", error)


def _drop_handshakes(listener: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *op) for op in _FILTER))
    option = struct.pack("HL", len(_FILTER), ctypes.addressof(program))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)


def before_stop(server: Any) -> None:
    """Teach gunicorn's master to refuse connections before it stops its workers for good.

    Not while another master has the same sockets, as in an upgrade by USR2. How long it waits for
    them is nobody's to change who sets the clock.
    """
    arbiter.time = types.SimpleNamespace(time=time.monotonic, monotonic=time.monotonic,
                                         sleep=time.sleep)
    stop: Callable[..., None] = server.stop

    def gently(graceful: bool = True) -> None:
        if server.reexec_pid == server.master_pid == 0:
            refuse_connections([listener.sock for listener in server.LISTENERS])
        stop(graceful)

    server.stop = gently


def accept_waiting(listener: Any, accept: Callable[[Any], object]) -> None:
    """Accept until nothing has come for a moment."""
    end = time.monotonic() + LONGEST_SECONDS
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    while time.monotonic() < end and poll.poll(QUIET_SECONDS * 1e3):
        accept(listener)
