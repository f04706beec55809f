"""model.yaml as people write it: what is meant is read, and what is wrong is said in words."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.errors import InvalidModel, ModelLoadFailed
from app.repository import golden
from app.repository.manifest import Golden, understood
from app.tensors import TensorSpec


def test_labels_that_yaml_takes_for_something_else_stay_words() -> None:
    """The commands of a keyword model are yes, no, on and off."""
    read = understood("labels: [yes, no, on, off, 'true', true, 010, 1.10, 1:30, 2020-01-01, .5]")
    expected = "yes no on off true true 010 1.10 1:30 2020-01-01 .5"
    assert read.labels == tuple(expected.split())


def test_versions_are_read_as_they_are_written() -> None:
    read = understood(
        "versions: {1.10: {}}\nversion_labels: {stable: 1.10, no: 010}\n"
        "version_policy: {specific: [1.10, 2]}"
    )
    assert list(read.versions) == ["1.10"]
    assert read.version_labels == {"stable": "1.10", "no": "010"}
    assert read.version_policy is not None
    assert read.version_policy.specific == ("1.10", "2")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("-1.5E+2", -150.0), ("2", 2.0), (".5", 0.5), ("5.", 5.0)]
)
def test_numbers_are_read_however_they_are_written(text: str, value: float) -> None:
    assert understood(f"preprocessing: {{scale: {text}}}").preprocessing.scale == (value,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: a\nlabels: []\ntitle: b", "'title' twice, in line 3"),
        ("preprocessing: {mean: 0, mean: 1}", "'mean' twice"),
        ('title: "\\ud800"', "half of a character"),
        ('version_labels: {"\\udfff": 1}', "half of a character"),
        ("labels: " + "[" * 2000 + "]" * 2000, "nested too deeply"),
        ("versions: {1: {source: [a]}}", "versions.1.source"),
        ("title: !!binary aGFsbG8=", "title"),
        ("version_policy: newest", "all, {latest: 2}"),
        ("version_policy: {specific: []}", "all, {latest: 2}"),
        ("version_policy: {latest: 1, specific: ['1']}", "all, {latest: 2}"),
        ("version_policy: {specific: [[1]]}", "version_policy.specific"),
        ("preprocessing: {scale: .inf}", "preprocessing.scale"),
        ("versions: {1: {sha256: ABC}}", "64 digits"),
        ("batching: {max_batch: 8.5}", "batching.max_batch is 8.5"),
        *(
            (f"golden: {{1: {{positions: {{a: {bad}}}, values: {{a: [1]}}}}}}", "positions.a")
            for bad in ("3", "[x]", "[-1]", "[1.7]", "[]", "")
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(InvalidModel, match=words):
        understood(text)


def test_a_digest_may_be_written_in_capitals() -> None:
    digest = "ABCDEF01" * 8
    assert understood(f"versions: {{1: {{sha256: {digest}}}}}").versions["1"].sha256 == (
        digest.lower()
    )


def test_every_text_can_be_answered() -> None:
    json.dumps(understood('title: "\\U0001F600 \\u00e9"').title).encode()


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (Golden({"x": (0,)}, {"x": (1.0,)}), "not one of the model's: y"),
        (Golden({"y": (0, 4)}, {"y": (1.0, 1.0)}), "has no position 4; the last is 3"),
    ],
)
def test_a_golden_answer_that_is_to_another_model_is_told_apart(known: Golden, words: str) -> None:
    with pytest.raises(ModelLoadFailed, match=words):
        golden.check({"y": np.zeros(4, np.float32)}, known)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"z": (1.0,)}, "'z' is not one of the model's: x"),
        ({"x": (1.0,)}, "'x' has 1 values; 4 are needed"),
    ],
)
def test_a_golden_input_that_is_of_another_model_is_told_apart(
    given: dict[str, tuple[float, ...]], words: str
) -> None:
    session: Any = SimpleNamespace(inputs=(TensorSpec("x", (1, 4), "float32"),))
    with pytest.raises(ModelLoadFailed, match=words):
        golden.inputs(session, Golden({}, {}, input=given))
