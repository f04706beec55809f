"""What stands in the place of a model's file may be anything: it is told, and the rest goes on."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
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


def test_what_goes_while_it_is_listed_is_passed_over(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "models", tmp_path / "locks", 1_000_000)
    here = folder.path(Key("here", "1"))
    here.parent.mkdir(parents=True)
    here.touch()
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            path = folder.path(KEY)
            path.parent.mkdir(parents=True)
            path.touch()
            shutil.rmtree(folder.beside(KEY.name))

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(1000):
            assert Key("here", "1") in folder.listed()
            assert folder.strays() == []
    finally:
        stop.set()
        thread.join()


def test_folders_that_may_not_be_entered_are_passed_over_and_forgotten_by_nobody() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = Folder(root / "models", root / "locks", 1_000_000)
        folder.path(KEY).parent.mkdir(parents=True)
        folder.path(KEY).touch()
        root.chmod(0o755)
        user = os.geteuid()
        folder.beside(KEY.name).chmod(0o444)
        try:
            if user == 0:
                os.seteuid(65534)
            assert folder.listed() == []
            assert folder.strays() == []
            assert not folder.gone(KEY)
        finally:
            os.seteuid(user)
            folder.beside(KEY.name).chmod(0o755)
        assert folder.listed() == [KEY]
        folder.path(KEY).unlink()
        assert folder.gone(KEY)


@pytest.mark.parametrize("link", ["m", "m/1"])
def test_nothing_is_written_or_removed_behind_a_link(tmp_path: Path, link: str) -> None:
    outside, place = tmp_path / "outside", tmp_path / "models" / link
    outside.mkdir()
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    (tmp_path / "new").write_bytes(b"x")
    folder = Folder(tmp_path / "models", tmp_path / "locks", 1_000_000)
    for change in (folder.published(tmp_path / "new", KEY), folder.removed(KEY)):
        with pytest.raises(ModelConflict, match="link"), change:
            pass
    assert list(outside.iterdir()) == []
    place.unlink()
    place.symlink_to(place)
    with pytest.raises(StorageFailed), folder.published(tmp_path / "new", KEY):
        pass


def test_a_description_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("title: " + "[" * 5000)
    with pytest.raises(InvalidModel):
        manifest.read(path)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("mobilenet v1.tflite", "move it to mobilenet v1/1/model.tflite"),
        ("m/model.tflite", "is of no version: move it to m/1/model.tflite"),
        ("m/1/Digits.TFLITE", "is not read: call it model.tflite"),
        ("My Model/1/model.tflite", "cannot be served: names are of"),
        ("m/ü/model.tflite", "cannot be served: names are of"),
        ("m/model.yml", "is not read: model.yaml is read"),
        ("m/config.pbtxt", "is not read: model.yaml says"),
        ("m/1/model.tflite", None), ("m/labels.txt", None), ("README.md", None),
        ("m/..2026/1/model.tflite", None), (".git/m/1/model.tflite", None), ("m/1/a.onnx", None),
    ],
)  # fmt: skip
def test_a_model_that_is_not_where_it_is_looked_for_is_named(
    tmp_path: Path, path: str, says: str | None
) -> None:
    file = tmp_path / "models" / path
    file.parent.mkdir(parents=True)
    file.touch()
    found = Folder(tmp_path / "models", tmp_path / "locks", 1).strays()
    assert len(found) == (says is not None)
    assert all(repr(path) in text and str(says) in text for text in found)


def test_a_link_that_leads_out_is_named_and_one_that_stays_is_followed(tmp_path: Path) -> None:
    folder, outside = Folder(tmp_path / "models", tmp_path / "locks", 1), tmp_path / "outside"
    # As Kubernetes swaps a volume: m/1 -> ..data/1, and ..data -> the newest folder.
    for base in (outside, tmp_path / "models/m/..2026"):
        (base / "1").mkdir(parents=True)
        (base / "1" / "model.tflite").touch()
    (tmp_path / "models/m/..data").symlink_to("..2026")
    (tmp_path / "models/m/1").symlink_to("..data/1")
    assert folder.listed() == [KEY]
    assert folder.strays() == []
    (tmp_path / "models/far").symlink_to(outside)
    assert folder.listed() == [KEY]
    (text,) = folder.strays()
    assert "'far/1/model.tflite' lies behind a link that leads out of MODELS_DIR" in text


def test_a_server_starts_beside_them_and_says_what_is_wrong(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, MAX_MODEL_MB="1") as server:
        for name in (*ODD, "good"):
            assert server.upload(name, "1", tiny.add(1)).status_code == 200
        server.stop()
        for name, (make, *_) in ODD.items():
            path = server.models / name / "1" / "model.tflite"
            path.unlink()
            make(path)
        (server.models / "loose.tflite").write_bytes(b"")
        (server.models / ".incoming-left").write_bytes(b"")
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
        assert "passed over: 'loose.tflite' is in no model's folder" in server.text()
        assert not (server.models / ".incoming-left").exists()
        assert "Traceback" not in server.text()


def _says(answer: requests.Response, words: str) -> None:
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
