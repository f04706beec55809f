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

from app.trouble import Trouble, passes

log = logging.getLogger("app.draining")

SO_ATTACH_FILTER = 26
# Classic BPF over a TCP segment: drop it if byte 13 has SYN set, else pass it whole.
_FILTER = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x45, 0, 1, 0x02),  # jset #SYN
    (0x06, 0, 0, 0),  # ret #0
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1
)
# A handshake that was under way arrives within this time; then the queue stays empty.
QUIET_SECONDS = 0.1
LONGEST_SECONDS = 2.0


def refuse_connections(listeners: Sequence[socket.socket]) -> None:
    """Make the kernel ignore new connections to a socket that other processes hold too.

    Closing a listener resets what waits in its queue; after this the queue only shrinks, and
    clients that come later try again until the listener is closed, and are then refused.
    Source: socket(7), SO_ATTACH_FILTER.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *op) for op in _FILTER))
    option = struct.pack("HL", len(_FILTER), ctypes.addressof(program))
    for listener in listeners:
        if listener.family not in (socket.AF_INET, socket.AF_INET6):
            continue
        try:
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
        except OSError as error:
            log.warning("a connection may be reset while stopping: %s", error)


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


def endure(server: Any) -> None:
    """Teach gunicorn's master to go on where it cannot fork just now; it tries every second.

    Left alone it ends, and takes the workers along that there are. Those that a reload (HUP) is to
    replace serve until it can.
    """
    spawn: Callable[[], None] = server.spawn_workers
    reload: Callable[[], None] = server.reload
    manage: Callable[[], None] = server.manage_workers
    trouble = Trouble(log, "no worker can be started")
    # Workers that are no younger are to be replaced.
    outdated = 0

    def tried(step: Callable[[], None]) -> None:
        try:
            step()
            trouble.over()
        except OSError as error:
            if not passes(error):
                raise
            trouble.met(error)

    def replace() -> None:
        fresh = sum(worker.age > outdated for worker in server.WORKERS.values())
        for _ in range(server.num_workers - fresh):
            server.spawn_worker()

    def reload_patiently() -> None:
        nonlocal outdated
        outdated = server.worker_age
        tried(reload)

    def manage_patiently() -> None:
        if any(worker.age <= outdated for worker in server.WORKERS.values()):
            tried(replace)
        manage()

    server.spawn_workers = lambda: tried(spawn)
    server.reload = reload_patiently
    server.manage_workers = manage_patiently


def accept_waiting(listener: Any, accept: Callable[[Any], object]) -> None:
    """Accept until nothing has come for a moment."""
    end = time.monotonic() + LONGEST_SECONDS
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    while time.monotonic() < end and poll.poll(QUIET_SECONDS * 1e3):
        accept(listener)
