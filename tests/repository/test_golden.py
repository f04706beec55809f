"""Known answers: a picture as a model's golden input, and what happens when it is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.backends.tflite import TfliteOptions, TfliteSession
from app.errors import InvalidModel, ModelLoadFailed
from app.repository.golden import Pictures, answered, check, draw, inputs, main, tries
from app.repository.manifest import Golden, parse, read, understood
from tests.engine.builder import Spec, single_op

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    shutil.copytree(MODELS / "digits", folder)
    return folder


def session(folder: Path) -> TfliteSession:
    blob = (folder / "1" / "model.tflite").read_bytes()
    return TfliteSession(blob, TfliteOptions("ai-edge-litert", "test"))


def pictures(folder: Path) -> Pictures:
    return Pictures(folder, read(folder / "model.yaml").preprocessing)


def test_a_drawn_picture_is_the_golden_answer(digits: Path) -> None:
    drawn = draw(digits / "1" / "model.tflite", "example.png")
    golden = parse({"golden": {"1": drawn}}).golden["1"]
    model = session(digits)
    outputs = model.run(inputs(model, golden, pictures(digits)))
    check(outputs, golden)
    wrong = {name: array + 0.01 for name, array in outputs.items()}
    with pytest.raises(ModelLoadFailed, match="off its golden answer"):
        check(wrong, golden)


def test_a_picture_that_is_missing_is_named(digits: Path) -> None:
    with pytest.raises(ModelLoadFailed, match=r"none\.png"):
        inputs(session(digits), Golden({}, {}, image="none.png"), pictures(digits))


@pytest.mark.parametrize("image", ["../example.png", "/etc/passwd", "", 5])
def test_a_picture_stands_beside_the_description(digits: Path, image: object) -> None:
    text = f"golden: {{'1': {{positions: {{}}, values: {{}}, image: {image!r}}}}}"
    (digits / "model.yaml").write_text(text)
    with pytest.raises(InvalidModel, match=r"golden\.1\.image"):
        read(digits / "model.yaml")


def test_a_scalar_is_tried_in_its_own_type() -> None:
    blob = single_op("EXPAND_DIMS", [Spec((3, 4)), Spec((), "int32")], [Spec((-1, -1, -1))])
    model = TfliteSession(blob, TfliteOptions("ai-edge-litert", "test"))
    fed = [numbers[model.inputs[1].name] for numbers in tries(model, None)]
    assert {(scalar.dtype.name, scalar.shape) for scalar in fed} == {("int32", ())}
    # The first number of a ramp is an axis of nothing.
    answered(model, tries(model, None))


@pytest.mark.parametrize("name", ["digits", "face-detection", "person-segmentation"])
def test_the_demo_models_answers_are_not_the_same_everywhere(name: str) -> None:
    (golden,) = read(MODELS / name / "model.yaml").golden.values()
    assert all(len(set(values)) > 2 for values in golden.values.values())


@pytest.mark.parametrize("picture", ["example.png", "{folder}/example.png", None])
def test_it_is_drawn_from_the_command_line(
    digits: Path, capsys: pytest.CaptureFixture[str], picture: str | None
) -> None:
    """A picture may be named as it is beside model.yaml, or by its path."""
    model = str(digits / "1" / "model.tflite")
    given = [picture.format(folder=digits)] if picture else []
    assert main([model, *given]) == 0
    drawn = understood(capsys.readouterr().out).golden["1"]
    assert drawn.image == ("example.png" if picture else None)
    assert len(drawn.values["probabilities"]) == 10


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["nothing.tflite"], "No such file"),
        (["model.yaml"], "refuses the model"),
        (["1/model.tflite", "nothing.png"], "the golden picture nothing.png cannot be used"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(
    digits: Path, capsys: pytest.CaptureFixture[str], given: list[str], words: str
) -> None:
    assert main([str(digits / given[0]), *given[1:]]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1
