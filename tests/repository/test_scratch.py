"""What killed processes have left in the repository's folder is removed, and only that."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from app.errors import StorageFailed
from app.repository.folder import Folder
from app.repository.names import Key

KEY = Key("m", "1")


@pytest.mark.parametrize("before", [b"old", None])
def test_a_change_whose_record_fails_is_undone(tmp_path: Path, before: bytes | None) -> None:
    folder = Folder(tmp_path / "models", tmp_path / "locks", 1000)
    place = folder.path(KEY)
    if before is not None:
        place.parent.mkdir(parents=True)
        place.write_bytes(before)

    def content() -> bytes | None:
        return place.read_bytes() if place.exists() else None

    def fail(expected: bytes | None) -> None:
        assert content() == expected
        raise StorageFailed("full")

    with folder.incoming(io.BytesIO(b"new"), 1000) as (path, _):
        with pytest.raises(StorageFailed, match="full"), folder.published(path, KEY):
            fail(b"new")
        assert content() == before
    with pytest.raises(StorageFailed, match="full"), folder.removed(KEY):
        fail(None)
    assert content() == before
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["m"]


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_upload_to_a_full_disk_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def full(root: Path) -> tuple[int, Path]:
        return os.open("/dev/full", os.O_WRONLY), root / ".incoming-new"

    monkeypatch.setattr("app.repository.scratch.incoming", full)
    folder = Folder(tmp_path, tmp_path / "locks", size)
    with (
        pytest.raises(StorageFailed, match="No space left"),
        folder.incoming(io.BytesIO(bytes(size)), size),
    ):
        pass


def test_what_others_are_at_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "locks", 1000)
    left = tmp_path / ".incoming-left"
    left.write_bytes(b"half")
    gone = tmp_path / ".trash-left" / "version"
    gone.mkdir(parents=True)
    (gone / "model.tflite").write_bytes(b"whole")
    begun = tmp_path / ".trash-begun"
    begun.mkdir()
    with folder.incoming(io.BytesIO(b"new"), 1000) as (path, _):
        folder.clear()
        assert not left.exists()
        assert not gone.parent.exists()
        assert begun.exists()
        with folder.published(path, KEY):
            pass
    assert folder.read(KEY) == b"new"
    with folder.removed(KEY):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".trash-begun"]
