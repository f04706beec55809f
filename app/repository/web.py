"""HTTP(S) and file URLs with pip's trust and credentials, and errors that say what to do."""

from __future__ import annotations

import base64
import http.client
import netrc
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from typing import IO

from app.errors import ModelSourceError

TIMEOUT_SECONDS = 30.0
TRIES = 4
BACKOFF_SECONDS = 0.2
SCHEMES = ("https", "http", "file")


class NotThere(Exception):
    """The server says that there is no such thing (404, 403, 410)."""


class RangeRefused(Exception):
    """416: the server does not have the range that was asked for."""


@dataclass(slots=True)
class Connection:
    """HTTP(S) and file URLs, with the credentials in the URL or in ~/.netrc."""

    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    trusted_hosts: frozenset[str] = frozenset()

    def open(self, url: str, headers: dict[str, str]) -> IO[bytes]:
        """Open a URL for reading.

        Raises: NotThere; ModelSourceError where a retry is useless; OSError where it may help.
        """
        bare, login = _split_login(url)
        if urllib.parse.urlsplit(bare).scheme not in SCHEMES:
            raise ModelSourceError(f"{bare} is neither https:, http: nor file:")
        request = urllib.request.Request(bare, headers=headers)  # noqa: S310 (checked above)
        if login:
            request.add_unredirected_header("Authorization", login)
        try:
            stream: IO[bytes] = urllib.request.urlopen(  # noqa: S310
                request, timeout=TIMEOUT_SECONDS, context=self._context(bare)
            )
        except urllib.error.HTTPError as error:
            error.close()
            raise _refusal(bare, error) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, FileNotFoundError) or "No such file" in str(error.reason):
                raise NotThere(bare) from error
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise ModelSourceError(
                    f"{host_of(bare)} shows a certificate that is not trusted here "
                    f"({error.reason.verify_message}); set pip's `cert` to your CA bundle"
                ) from error
            raise
        return stream

    def read(self, url: str, accept: str, limit: int) -> tuple[bytes, str, str]:
        """Read a page whole: its bytes, its content type and the URL it came from in the end."""
        for attempt in range(TRIES):
            try:
                with self.open(url, {"Accept": accept}) as page:
                    body = page.read(limit)
                    return body, headers_of(page).get_content_type(), _url_of(page, url)
            except (OSError, http.client.HTTPException) as error:
                failure = error
                if attempt + 1 < TRIES:
                    pause(attempt)
        raise unreachable(url, failure) from failure

    def _context(self, url: str) -> ssl.SSLContext:
        parts = urllib.parse.urlsplit(url)
        if parts.hostname in self.trusted_hosts or parts.netloc in self.trusted_hosts:
            return ssl._create_unverified_context()  # noqa: S323 (pip's trusted-host asks for it)
        return self.context


def pause(tries: int) -> None:
    """Wait before the next try, twice as long each time."""
    time.sleep(BACKOFF_SECONDS * 2**tries)


def unreachable(url: str, cause: Exception) -> ModelSourceError:
    """Say that a host gives no answer, and why."""
    reason = getattr(cause, "reason", None) or cause
    return ModelSourceError(
        f"{host_of(url)} can't be reached ({reason}); check the network, or pip's index settings"
    )


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code in (403, 404, 410):
        return NotThere(url)
    if error.code == 416:
        return RangeRefused()
    if error.code in (408, 429) or error.code >= 500:
        return OSError(f"it answered {error.code} {error.reason}")
    hint = "; put the credentials into pip's index-url or ~/.netrc" if error.code == 401 else ""
    return ModelSourceError(f"{host_of(url)} answered {error.code} {error.reason} to {url}{hint}")


def headers_of(stream: IO[bytes]) -> Message:
    headers: Message = stream.headers  # type: ignore[attr-defined]
    return headers


def _url_of(stream: IO[bytes], asked: str) -> str:
    return getattr(stream, "url", None) or asked


def _split_login(url: str) -> tuple[str, str | None]:
    parts = urllib.parse.urlsplit(url)
    user, password = parts.username, parts.password
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if user is None and parts.hostname:
        user, password = _netrc_login(parts.hostname)
    if user is None:
        return bare, None
    pair = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password or '')}"
    return bare, "Basic " + base64.b64encode(pair.encode()).decode()


def _netrc_login(host: str) -> tuple[str | None, str | None]:
    try:
        entry = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None, None
    return (
        (urllib.parse.quote(entry[0]), urllib.parse.quote(entry[2] or ""))
        if entry
        else (None, None)
    )


def without_login(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def host_of(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or without_login(url)
