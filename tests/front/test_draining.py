"""A listener that is to be closed: the kernel lets nobody in any more, and drops nobody."""

from __future__ import annotations

import socket

import pytest

from app import draining


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("filters", [True, False], ids=["filtered", "without a right to filter"])
def test_who_has_connected_is_kept_and_nobody_else_let_in(
    monkeypatch: pytest.MonkeyPatch, host: str, filters: bool
) -> None:
    if not filters:
        monkeypatch.setattr(draining, "SO_ATTACH_FILTER", 9999)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        address = listener.getsockname()[:2]
        with socket.create_connection(address) as early:
            draining.refuse_connections([listener])
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.2)
            with listener.accept()[0] as kept:
                early.sendall(b"still here")
                assert kept.recv(99) == b"still here"
            listener.settimeout(0)
            with pytest.raises(BlockingIOError):
                listener.accept()
