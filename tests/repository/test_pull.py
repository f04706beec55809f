"""Bringing model files: from URLs and packages, over lines that fail."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import ModelSourceError
from app.repository.pull import fetch
from tests.repository.faulty_server import Site, serving

CONTENT = random.Random(1).randbytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
MEMBER = "demo_models/models/net.tflite"
JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a server that pip's configuration calls the package index."""
    with serving() as site:
        monkeypatch.setattr("app.repository.web.BACKOFF_SECONDS", 0.01)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        for name in ("FIND_LINKS", "EXTRA_INDEX_URL", "NO_INDEX"):
            monkeypatch.delenv(f"PIP_{name}", raising=False)
        monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")
        yield site


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def wheel(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return packed.getvalue()


def source_archive(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def publish(site: Site, archives: dict[str, bytes], kind: str = JSON) -> None:
    for name, content in archives.items():
        site.files[f"/files/{name}"] = content
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in archives.items()}
    if kind == JSON:
        entries = [
            {"filename": n, "url": f"../../files/{n}", "hashes": {"sha256": d}}
            for n, d in digests.items()
        ]
        page = json.dumps({"meta": {"api-version": "1.0"}, "files": entries})
    else:
        page = "".join(f'<a href="/files/{n}#sha256={d}">{n}</a>\n' for n, d in digests.items())
    site.files["/simple/demo-models/"] = page.encode()
    site.kinds["/simple/demo-models/"] = kind


WHEEL = {"demo_models-1.2-py3-none-any.whl": wheel({MEMBER: CONTENT})}
SOURCE = f"pypi:Demo_Models==1.2/{MEMBER}"


@pytest.mark.parametrize("kind", [JSON, "text/html"])
def test_a_file_comes_out_of_a_wheel(site: Site, cache: Path, tmp_path: Path, kind: str) -> None:
    publish(site, WHEEL, kind)
    dest = fetch(SOURCE, tmp_path / "a" / "b.tflite", sha256=SHA, cache=cache)
    assert dest.read_bytes() == CONTENT


@pytest.mark.parametrize("path", [MEMBER, f"demo-models-1.2/{MEMBER}"])
def test_a_file_comes_out_of_a_source_archive(
    site: Site, cache: Path, tmp_path: Path, path: str
) -> None:
    packed = source_archive({"demo-models-1.2/x": b"", f"demo-models-1.2/{MEMBER}": CONTENT})
    publish(site, {"demo-models-1.2.tar.gz": packed})
    dest = fetch(f"pypi:demo-models==1.2/{path}", tmp_path / "b", cache=cache)
    assert dest.read_bytes() == CONTENT


def test_the_source_archive_is_tried_when_the_wheel_lacks_the_file(
    site: Site, cache: Path, tmp_path: Path
) -> None:
    publish(
        site,
        {
            "demo_models-1.2-py3-none-any.whl": wheel({"other": b""}),
            "demo-models-1.2.tar.gz": source_archive({f"demo-models-1.2/{MEMBER}": CONTENT}),
        },
    )
    assert fetch(SOURCE, tmp_path / "b", cache=cache).read_bytes() == CONTENT


def test_the_second_file_of_a_package_needs_no_network(
    site: Site, cache: Path, tmp_path: Path
) -> None:
    publish(site, {"demo_models-1.2-py3-none-any.whl": wheel({MEMBER: CONTENT, "two": b"2"})})
    fetch(SOURCE, tmp_path / "one", cache=cache)
    site.files.clear()
    assert fetch("pypi:demo-models==1.2/two", tmp_path / "two", cache=cache).read_bytes() == b"2"


def test_a_right_file_in_place_is_left_alone(site: Site, cache: Path, tmp_path: Path) -> None:
    dest = tmp_path / "net.tflite"
    dest.write_bytes(CONTENT)
    fetch(SOURCE, dest, sha256=SHA, cache=cache)
    assert not site.hits


@pytest.mark.parametrize("honours_range", [True, False])
def test_a_download_that_breaks_off_goes_on(
    site: Site, cache: Path, tmp_path: Path, honours_range: bool
) -> None:
    site.honours_range = honours_range
    site.files["/net.tflite"] = CONTENT
    site.breaks["/net.tflite"] = [100_000, 50_000]
    dest = fetch(f"{site.url}/net.tflite", tmp_path / "net", sha256=SHA, cache=cache)
    assert dest.read_bytes() == CONTENT
    if honours_range:
        assert site.ranges == ["bytes=100000-", "bytes=150000-"]
        assert site.sent == len(CONTENT)


def test_what_an_earlier_process_left_is_used(site: Site, cache: Path, tmp_path: Path) -> None:
    site.files["/net.tflite"] = CONTENT
    site.breaks["/net.tflite"] = [200_000, 0, 0, 0, 0]
    with pytest.raises(ModelSourceError, match="can't be reached"):
        fetch(f"{site.url}/net.tflite", tmp_path / "net", sha256=SHA, cache=cache)
    site.sent = 0
    fetch(f"{site.url}/net.tflite", tmp_path / "net", sha256=SHA, cache=cache)
    assert (tmp_path / "net").read_bytes() == CONTENT
    assert site.sent == 100_000


@pytest.mark.parametrize("sha", [SHA, None])
def test_a_part_of_another_version_is_not_glued(
    site: Site, cache: Path, tmp_path: Path, sha: str | None
) -> None:
    site.files["/net.tflite"] = b"x" * 300_000
    site.breaks["/net.tflite"] = [200_000, 0, 0, 0, 0]
    with pytest.raises(ModelSourceError):
        fetch(f"{site.url}/net.tflite", tmp_path / "net", sha256=sha, cache=cache)
    site.files["/net.tflite"] = CONTENT
    fetch(f"{site.url}/net.tflite", tmp_path / "net", sha256=sha, cache=cache)
    assert (tmp_path / "net").read_bytes() == CONTENT


def test_without_etag_a_wrong_part_is_fetched_anew(site: Site, cache: Path, tmp_path: Path) -> None:
    site.with_etag = False
    test_a_part_of_another_version_is_not_glued(site, cache, tmp_path, SHA)


def test_a_busy_server_is_asked_again(site: Site, cache: Path, tmp_path: Path) -> None:
    publish(site, WHEEL)
    site.statuses["/simple/demo-models/"] = [503]
    site.statuses["/files/demo_models-1.2-py3-none-any.whl"] = [503, 429]
    assert fetch(SOURCE, tmp_path / "b", cache=cache).read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(site: Site, cache: Path, tmp_path: Path) -> None:
    publish(site, WHEEL)
    name = next(iter(WHEEL))
    site.files[f"/files/{name}"] = wheel({MEMBER: CONTENT[::-1]})
    with pytest.raises(ModelSourceError, match=r"has sha256 .* and not"):
        fetch(SOURCE, tmp_path / "b", cache=cache)
    site.files[f"/files/{name}"] = WHEEL[name]
    fetch(SOURCE, tmp_path / "b", cache=cache)
    with pytest.raises(ModelSourceError, match=r"has sha256 .* and not 0000"):
        fetch(SOURCE, tmp_path / "c", sha256="0" * 64, cache=cache)
    assert not (tmp_path / "c").exists()
    assert not list(tmp_path.glob("**/*.part"))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("pypi:nothing==1.0/x", "there is no package 'nothing' at http"),
        (f"pypi:demo-models==9/{MEMBER}", "has no version 9 at .* it has 1.2"),
        ("pypi:demo-models==1.2/models/net.tflit", f"has no file .* near it are {MEMBER}"),
        ("pypi:demo-models==one/x", "'one' is not a package version"),
        ("pypi:demo-models/x", "is not a model source; allowed is pypi:"),
        ("ftp://host/x", "is not a model source"),
    ],
)
def test_errors_say_what_is_wrong(
    site: Site, cache: Path, tmp_path: Path, source: str, sentence: str
) -> None:
    publish(site, WHEEL)
    with pytest.raises(ModelSourceError, match=sentence):
        fetch(source, tmp_path / "b", cache=cache)
    assert not (tmp_path / "b").exists()


def test_missing_urls_and_dead_hosts_are_told_apart(
    site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelSourceError, match="there is nothing at http"):
        fetch(f"{site.url}/none", tmp_path / "b", cache=cache)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(ModelSourceError, match=r"127\.0\.0\.1 can't be reached .*refused"):
        fetch(SOURCE, tmp_path / "b", cache=cache)


def test_a_damaged_archive_is_dropped(site: Site, cache: Path, tmp_path: Path) -> None:
    publish(site, {"demo_models-1.2-py3-none-any.whl": b"PK\x03\x04 no zip at all"})
    for _ in range(2):
        with pytest.raises(ModelSourceError, match="is damaged"):
            fetch(SOURCE, tmp_path / "b", cache=cache)


def test_credentials_come_from_pips_index_url(
    site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, WHEEL)
    site.login = "me:s3cret&"
    with pytest.raises(ModelSourceError, match=r"401.*credentials"):
        fetch(SOURCE, tmp_path / "b", cache=cache)
    private = site.url.replace("//", "//me:s3cret%26@")
    monkeypatch.setenv("PIP_INDEX_URL", f"{private}/simple")
    for filename in WHEEL:
        page = {"files": [{"filename": filename, "url": f"{private}/files/{filename}"}]}
        site.files["/simple/demo-models/"] = json.dumps(page).encode()
    fetch(SOURCE, tmp_path / "b", cache=cache)
    with pytest.raises(ModelSourceError, match="no package") as caught:
        fetch("pypi:other==1/x", tmp_path / "c", cache=cache)
    assert "s3cret" not in str(caught.value)


def test_a_folder_of_wheels_and_an_extra_index_are_searched(
    site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for filename, content in WHEEL.items():
        (folder / filename).write_bytes(content)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert fetch(SOURCE, tmp_path / "b", cache=cache).read_bytes() == CONTENT

    monkeypatch.delenv("PIP_FIND_LINKS")
    publish(site, WHEEL)
    (tmp_path / "simple" / "demo-models").mkdir(parents=True)
    (tmp_path / "simple" / "demo-models" / "index.html").write_text("nothing here")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{site.url}/simple")
    assert fetch(SOURCE, tmp_path / "c", cache=tmp_path / "2").read_bytes() == CONTENT


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.repository.pull", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_several_processes_download_once(site: Site, cache: Path, tmp_path: Path) -> None:
    publish(site, WHEEL)
    runs = [
        command(SOURCE, tmp_path / f"{i % 2}", "--sha256", SHA, "--cache", cache) for i in range(4)
    ]
    for run in runs:
        assert run.communicate(timeout=60)[1].count("error") == 0
        assert run.returncode == 0
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes() == CONTENT
    assert site.hits[f"/files/{next(iter(WHEEL))}"] == 1


def test_the_command_fails_with_one_sentence(site: Site, cache: Path, tmp_path: Path) -> None:
    run = command("pypi:nothing==1/x", tmp_path / "b", "--cache", cache)
    out, error = run.communicate(timeout=60)
    assert (run.returncode, out, error.count("\n")) == (1, "", 1)
    assert error.startswith("error: there is no package")


def test_a_terminal_sees_a_bar(site: Site, cache: Path, tmp_path: Path) -> None:
    publish(site, WHEEL)
    ours, theirs = os.openpty()
    run = subprocess.run(
        [sys.executable, "-m", "app.repository.pull", SOURCE, tmp_path / "b", "--cache", cache],
        stderr=theirs,
        stdout=subprocess.PIPE,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "[########################] 0.3/0.3 MB" in shown
    assert run.stdout.decode().strip() == str(tmp_path / "b")
