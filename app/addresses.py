"""Whether the server can listen where the settings say: asked once, before the first worker."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

from app.errors import SettingsError
from app.settings import Settings

PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.2


def check(settings: Settings) -> None:
    """Refuse addresses that are not this machine's, which no waiting would change.

    Raises: SettingsError.
    """
    _check_host("HOST", settings.host)
    if not settings.metrics_port:
        return
    _check_host("METRICS_HOST", settings.metrics_host)
    if settings.metrics_port == settings.port:
        raise SettingsError(
            f"METRICS_PORT={settings.metrics_port} is PORT, too; the exporter needs one of its own"
        )


def await_port(settings: Settings) -> None:
    """Wait a moment for a server before to let go of the port.

    gunicorn would wait, too, but say only that it cannot connect.
    Raises: SettingsError if it does not, or if this user may not listen there.
    """
    family, *_, address = _resolved(settings.host, settings.port)
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return
        except PermissionError as error:
            raise SettingsError(
                f"PORT={settings.port} is for root alone; take one above 1023, and let a proxy "
                "listen there"
            ) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= end:
                raise SettingsError(
                    f"PORT={settings.port} on {settings.host} cannot be listened to "
                    f"({error.strerror}): stop what listens there, or take another, like "
                    f"PORT={settings.port % 65535 + 1}"
                ) from error
        time.sleep(PAUSE_SECONDS)


def joined(host: str, port: int) -> str:
    """Write an address as gunicorn reads it: an IPv6 address needs brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolved(host: str, port: int) -> tuple[Any, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return found[0]


def _check_host(name: str, host: str) -> None:
    try:
        family, *_, address = _resolved(host, 0)
        with socket.socket(family) as probe:
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"{name}={host!r} is no address of this machine ({error.strerror}); 127.0.0.1 listens "
            "for this machine only, 0.0.0.0 on every interface"
        ) from error
