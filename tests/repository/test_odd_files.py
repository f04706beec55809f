"""What stands in the place of a model's file may be anything: it is told, and the rest goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from app.errors import InvalidModel, ModelConflict, ModelError, ModelLoadFailed, StorageFailed
from app.repository import manifest
from app.repository.folder import Folder
from app.repository.names import Key
from tests.service import tiny
from tests.service.live import Server

KEY = Key("m", "1")


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 40 << 30)


ODD: dict[str, tuple[Callable[[Path], None], type[ModelError], str]] = {
    "folder": (Path.mkdir, ModelLoadFailed, "Is a directory"),
    "pipe": (os.mkfifo, InvalidModel, "no file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), InvalidModel, "no file"),
    "loop": (lambda path: path.symlink_to(path), ModelLoadFailed, "cannot be read"),
    "huge": (_sparse, InvalidModel, "MAX_MODEL_MB"),
}


@pytest.mark.parametrize("kind", ODD)
def test_it_is_refused_without_being_read(tmp_path: Path, kind: str) -> None:
    folder = Folder(tmp_path / "models", tmp_path / "locks", 1_000_000)
    path = folder.path(KEY)
    path.parent.mkdir(parents=True)
    make, error, says = ODD[kind]
    make(path)
    for use in (folder.read, folder.digest):
        with pytest.raises(error, match=says):
            use(KEY)


@pytest.mark.parametrize("link", ["m", "m/1"])
def test_nothing_is_written_or_removed_behind_a_link(tmp_path: Path, link: str) -> None:
    outside, place = tmp_path / "outside", tmp_path / "models" / link
    outside.mkdir()
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    (tmp_path / "new").write_bytes(b"x")
    folder = Folder(tmp_path / "models", tmp_path / "locks", 1_000_000)
    for change in (lambda: folder.publish(tmp_path / "new", KEY), lambda: folder.remove(KEY)):
        with pytest.raises(ModelConflict, match="link"):
            change()
    assert list(outside.iterdir()) == []
    place.unlink()
    place.symlink_to(place)
    with pytest.raises(StorageFailed):
        folder.publish(tmp_path / "new", KEY)


def test_a_description_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("title: " + "[" * 5000)
    with pytest.raises(InvalidModel):
        manifest.read(path)


def test_a_server_starts_beside_them_and_says_what_is_wrong(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, MAX_MODEL_MB="1") as server:
        for name in (*ODD, "good"):
            assert server.upload(name, "1", tiny.add(1)).status_code == 200
        server.stop()
        for name, (make, *_) in ODD.items():
            path = server.models / name / "1" / "model.tflite"
            path.unlink()
            make(path)
        (server.models / "new" / "2").mkdir(parents=True)
        _sparse(server.models / "new" / "2" / "model.tflite")
        server.start()
        assert server.infer("good", [[0] * 4]).status_code == 200
        for name in ODD:
            if name != "loop":  # nothing is there
                assert server.model(name)["versions"][0]["state"] == "failed", name
        _says(server.post("/models/new/load"), "MAX_MODEL_MB")
        _says(server.post("/models/huge/load", json={"version": "1"}), "MAX_MODEL_MB")
        (server.models / "new" / "1").mkdir()
        (server.models / "new" / "1" / "model.tflite").write_bytes(tiny.add(1))
        assert server.post("/models/new/load", json={"version": "1"}).status_code == 200
        assert "Traceback" not in server.text()


def _says(answer: requests.Response, words: str) -> None:
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
