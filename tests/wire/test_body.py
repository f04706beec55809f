"""Compressed bodies: right ones are read, wrong and hostile ones refused within bounds."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidRequest, RequestTooLarge, UnsupportedMedia
from app.wire.body import answer_coding, decoded, encoded

RAW = zlib.compressobj(wbits=-15)


@given(data=st.binary(max_size=2000), coding=st.sampled_from(["gzip", "deflate"]))
@settings(max_examples=60, deadline=None)
def test_both_ways(data: bytes, coding: str) -> None:
    assert decoded(encoded(data, coding), coding, 2000) == data


def test_several_gzip_members_and_raw_deflate_are_read() -> None:
    assert decoded(gzip.compress(b"ab") + gzip.compress(b"cd"), "gzip", 4) == b"abcd"
    assert decoded(RAW.compress(b"abc") + RAW.flush(), "deflate", 9) == b"abc"


def test_many_gzip_members_are_read_and_more_are_refused() -> None:
    member, empty = gzip.compress(b"ab"), gzip.compress(b"")
    assert decoded(member * 4096, "gzip", 8192) == b"ab" * 4096
    # Each would have copied the megabytes behind it.
    with pytest.raises(InvalidRequest, match="4096 members"):
        decoded(empty * 200_000, "gzip", 10)


def test_a_body_of_several_blocks_is_read() -> None:
    data = bytes(range(256)) * 2000
    stored = zlib.compress(data, 0)
    assert decoded(stored, "deflate", len(data)) == data
    with pytest.raises(RequestTooLarge):
        decoded(stored, "deflate", len(data) - 1)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_stops_at_the_limit(coding: str) -> None:
    bomb = encoded(b"\0" * 50_000_000, coding)
    with pytest.raises(RequestTooLarge, match="1000 bytes"):
        decoded(bomb, coding, 1000)


@given(data=st.binary(min_size=1, max_size=300), coding=st.sampled_from(["gzip", "deflate"]))
@settings(max_examples=200, deadline=None)
def test_noise_is_the_callers_fault(data: bytes, coding: str) -> None:
    try:
        decoded(data, coding, 1000)
    except (InvalidRequest, RequestTooLarge):
        return


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_cut_body_is_refused(coding: str) -> None:
    with pytest.raises(InvalidRequest, match="too early"):
        decoded(encoded(b"abc" * 100, coding)[:-3], coding, 1000)


def test_other_codings_are_unsupported() -> None:
    with pytest.raises(UnsupportedMedia, match="br"):
        decoded(b"", "br", 10)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("Deflate", "deflate"), ("gzip, deflate", None), (None, None), ("br", None)],
)
def test_only_who_asks_for_one_coding_gets_it(accepted: str | None, coding: str | None) -> None:
    assert answer_coding(accepted) == coding
