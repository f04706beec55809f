"""A real photograph through real models, equal to TFLite called directly, to the bit."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from skimage import data

from app.repository.demos import bring
from app.repository.manifest import read
from tests.engine.corpus import cache_folder
from tests.service import tiny
from tests.service.live import ROOT, Server

RUNTIMES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo models, brought as `make serve` brings them."""
    folder = tmp_path_factory.mktemp("photo")
    for name in ("digits", "person-segmentation", "face-detection"):
        target = folder / "models" / name
        target.mkdir(parents=True)
        for part in ("model.yaml", "example.png"):
            (target / part).write_bytes((ROOT / "models" / name / part).read_bytes())
    committed = ROOT / "models/digits/1/model.tflite"
    (folder / "models/digits/1").mkdir()
    (folder / "models/digits/1/model.tflite").write_bytes(committed.read_bytes())
    assert bring(folder / "models", cache_folder()) == []
    with Server(folder, workers=2) as server:
        yield server


def photograph(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(data.astronaut()).save(file, kind)
    return file.getvalue()


def directly(server: Server, name: str, tensor: np.ndarray) -> dict[str, np.ndarray]:
    """Run the runtime that the server chose, without the server."""
    (version,) = server.model(name)["versions"]
    module = next(m for text, m in RUNTIMES.items() if text in version["device"])
    interpreter = __import__(f"{module}.interpreter", fromlist=["Interpreter"]).Interpreter(
        str(server.models / name / "1" / "model.tflite"), num_threads=1
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
    return {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}


def assert_same(answer: dict, expected: dict[str, np.ndarray]) -> None:
    assert set(answer["outputs"]) == set(expected)
    for name, output in answer["outputs"].items():
        found = np.array(output["data"], output["dtype"])
        assert output["shape"] == list(expected[name].shape)
        np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("how", ["form", "body"])
def test_segmentation_finds_the_astronaut(server: Server, kind: str, how: str) -> None:
    photo = photograph(kind)
    path = "/models/person-segmentation/infer"
    if how == "form":
        answer = server.post(path, files={"image": photo})
    else:
        answer = server.post(path, data=photo, headers={"Content-Type": f"image/{kind.lower()}"})
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(photo)).convert("RGB").resize((256, 256), Image.BILINEAR)
    manifest = read(ROOT / "models/person-segmentation/model.yaml").preprocessing
    tensor = np.asarray(image, np.float32)[np.newaxis] * np.float32(manifest.scale[0])
    expected = directly(server, "person-segmentation", tensor)
    assert_same(answer.json(), expected)
    (mask,) = expected.values()
    assert mask[0, 60:120, 100:130].mean() > 0.9  # her face
    assert mask[0, :40, 200:].mean() < 0.2  # the shuttle behind her


def test_face_detection_finds_one_face(server: Server) -> None:
    photo = photograph("PNG")
    form = {"model_name": "face-detection"}
    answer = server.post("/inference", files={"image": photo}, data=form)
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(photo)).convert("RGB").resize((128, 128), Image.BILINEAR)
    tensor = (np.asarray(image, np.float32)[np.newaxis] - np.float32(127.5)) * np.float32(
        read(ROOT / "models/face-detection/model.yaml").preprocessing.scale[0]
    )
    expected = directly(server, "face-detection", tensor)
    assert_same(answer.json(), expected)
    scores = 1 / (1 + np.exp(-expected["classificators"].ravel().clip(-50, 50)))
    best = int(scores.argmax())
    assert scores[best] > 0.9
    # The first 512 anchors lie two by two on a grid of 16x16, whose pitch is 8 pixels.
    centre = (best // 2 % 16 * 8 + 4, best // 32 * 8 + 4) if best < 512 else None
    if centre is not None:
        x, y = expected["regressors"][0, best, :2] + np.array(centre)
        assert 45 <= x <= 70
        assert 15 <= y <= 45


def test_json_and_image_give_the_same_answer(server: Server) -> None:
    image = Image.open(ROOT / "models/digits/example.png")
    picture = (ROOT / "models/digits/example.png").read_bytes()
    by_image = server.post("/models/digits/infer", files={"image": picture}).json()
    scale = np.float32(read(ROOT / "models/digits/model.yaml").preprocessing.scale[0])
    pixels = np.asarray(image, np.float32)[np.newaxis, :, :, np.newaxis] * scale
    by_json = server.infer("digits", pixels.tolist()).json()
    assert by_image["outputs"] == by_json["outputs"]


def test_what_pillow_warns_of_is_a_line_of_the_log(server: Server) -> None:
    """A maker's name that lies behind the end of the header is no reason to refuse a picture."""
    file, tag = io.BytesIO(), struct.pack("<HHII", 0x10F, 2, 500, 9999)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + tag + bytes(4)
    Image.new("L", (8, 8)).save(file, "JPEG", exif=exif)
    answer = server.post("/models/digits/infer", files={"image": file.getvalue()})
    assert answer.status_code == 200, answer.text
    (line,) = (line for line in server.text().splitlines() if "larger than file" in line)
    assert json.loads(line)["logger"] == "py.warnings"


def test_several_photographs_are_one_batch(server: Server) -> None:
    one, two = photograph("PNG"), photograph("JPEG")
    path = "/models/person-segmentation/infer"
    both = server.post(path, files=[("image", one), ("image", two)])
    (output,) = both.json()["outputs"].values()
    assert output["shape"][0] == 2
    single = server.post(path, files={"image": two}).json()["outputs"]
    assert output["data"][1] == next(iter(single.values()))["data"][0]


@pytest.mark.parametrize(
    ("content", "status", "word"),
    [
        (b"", 400, "neither"),
        (b"GIF89a" + b"\0" * 50, 400, "neither"),
        (photograph("PNG")[:5000], 400, "damaged"),
        (photograph("JPEG")[:3000], 400, "damaged"),
    ],
)
def test_what_is_no_image_is_refused(
    server: Server, content: bytes, status: int, word: str
) -> None:
    headers = {"Content-Type": "image/png"}
    answer = server.post("/models/digits/infer", data=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert word in answer.json()["detail"]


def test_an_image_for_a_model_without_one_says_what_it_takes(server: Server) -> None:
    assert server.upload("no-image", "1", tiny.add(1)).status_code == 200
    answer = server.post("/models/no-image/infer", files={"image": photograph("PNG")})
    assert answer.status_code == 422
    assert "takes no" in answer.json()["detail"]


def test_a_deadline_ends_a_request_of_many_large_pictures(server: Server) -> None:
    large = io.BytesIO()
    Image.new("1", (7000, 7000)).save(large, "PNG")
    files = [("image", large.getvalue())] * 200  # a minute's work
    answer = server.post(
        "/models/digits/infer", files=files, headers={"X-Request-Timeout": "0.5"}
    )
    assert answer.status_code == 504, answer.text
    assert "pictures" in answer.json()["detail"]
    assert 'rx580_inference_dropped_total{reason="deadline"} 1.0' in server.get("/metrics").text
