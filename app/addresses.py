"""Whether the server can listen where the settings say: asked once, before the first worker."""

from __future__ import annotations

import socket

from app.errors import SettingsError
from app.settings import Settings


def check(settings: Settings) -> None:
    """Refuse addresses that are not this machine's, which no waiting would change.

    A port in use is left to gunicorn, which waits for the server before to let go of it.
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


def joined(host: str, port: int) -> str:
    """Write an address as gunicorn reads it: an IPv6 address needs brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_host(name: str, host: str) -> None:
    try:
        family, *_, address = socket.getaddrinfo(
            host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family) as probe:
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"{name}={host!r} is no address of this machine ({error.strerror}); 127.0.0.1 listens "
            "for this machine only, 0.0.0.0 on every interface"
        ) from error
