"""The cache of answers: right, bounded, and off by default."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.answers import Answers, key

X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
Y = {"y": np.ones(1000, np.uint8)}


@pytest.mark.parametrize(
    "other",
    [
        ("m", "1", "s", {"x": X["x"].reshape(3, 2)}),
        ("m", "1", "s", {"x": X["x"].view(np.int32)}),
        ("m", "1", "s", {"z": X["x"]}),
        ("m", "1", "s", {"x": -X["x"]}),
        ("m", "2", "s", X),
        ("n", "1", "s", X),
        ("m", "1", "t", X),
        ("m", "1", "s", {"x": np.array([b"a", b"bc"], object)}),
        ("m", "1", "s", {"x": np.array([b"ab", b"c"], object)}),
        ("m", "1", "s", {}),
    ],
)
def test_whatever_decides_the_answer_is_in_its_name(other: tuple) -> None:  # type: ignore[type-arg]
    assert key(*other) != key("m", "1", "s", X)
    assert key(*other) == key(*other)


def test_an_answer_comes_back_read_only_and_is_no_view() -> None:
    answers = Answers(10_000)
    batch = {"y": np.arange(10, dtype=np.float32).reshape(5, 2)}
    answers.put(b"k", {"y": batch["y"][1:2]})
    batch["y"][:] = 0
    found = answers.get(b"k")
    assert found is not None
    assert found["y"].tolist() == [[2, 3]]
    with pytest.raises(ValueError, match="read-only"):
        found["y"][0, 0] = 1


def test_the_least_recently_used_goes_first() -> None:
    answers = Answers(3 * 1600)
    for name in (b"a", b"b", b"c"):
        answers.put(name, Y)
    assert answers.get(b"a") is not None
    answers.put(b"d", Y)
    assert [name for name in (b"a", b"b", b"c", b"d") if answers.get(name)] == [b"a", b"c", b"d"]


@given(sizes=st.lists(st.integers(0, 3000), max_size=40), room=st.integers(0, 6000))
@settings(max_examples=60, deadline=None)
def test_it_never_grows_beyond_its_bound(sizes: list[int], room: int) -> None:
    answers = Answers(room)
    assert answers.on is (room > 0)
    for index, size in enumerate(sizes):
        answers.put(str(index).encode(), {"y": np.zeros(size, np.uint8)})
        assert 0 <= answers.size <= room
