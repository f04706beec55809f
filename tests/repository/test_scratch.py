"""What killed processes have left in the repository's folder is removed, and only that."""

from __future__ import annotations

import io
from pathlib import Path

from app.repository.folder import Folder
from app.repository.names import Key


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
        folder.publish(path, Key("m", "1"))
    assert folder.read(Key("m", "1")) == b"new"
    folder.remove(Key("m", "1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".trash-begun"]
