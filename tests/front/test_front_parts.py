"""The parts of the worker's front, without a socket."""

from __future__ import annotations

import functools
import io
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from hypothesis import given
from hypothesis import strategies as st

from app.front.body import ALIGNMENT, Broken, Memory, Spool
from app.front.chunks import Chunks
from app.front.crew import Crew
from app.front.head import check_unfinished, full, quick
from app.front.peers import Peers
from app.front.reply import Reply, Template

PEER = ("127.0.0.1", 5)


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


@given(st.lists(st.binary(max_size=40), max_size=6), st.binary(max_size=9), st.data())
def test_chunks_are_decoded_wherever_they_are_cut(
    parts: list[bytes], after: bytes, data: st.DataObject
) -> None:
    wire = chunked(parts) + after
    chunks, found, at = Chunks(), b"", 0
    while not chunks.done:
        step = data.draw(st.integers(1, 12))
        found += b"".join(chunks.feed(wire[at : at + step]))
        at += step
    assert found == b"".join(parts)
    assert chunks.rest + wire[at:] == after


def test_chunk_extensions_and_trailers_are_read_over() -> None:
    chunks = Chunks()
    assert b"".join(chunks.feed(b"3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nnext")) == b"abc"
    assert (chunks.done, chunks.rest) == (True, b"next")


@pytest.mark.parametrize(
    "wire",
    [
        b"-1\r\n", b"zz\r\n", b"\r\n", b" 3\r\nabc\r\n", b"3\r\nabcd\r\n", b"3\nabc\r\n",
        b"0\r\nno colon\r\n\r\n", b"0\r\nT: \x00\r\n\r\n", b"3 \x01\r\n", b"0x3\r\nabc\r\n",
        b"1" * 9000, b"ffffffffffffffff\r\n", b"0\r\n" + b"a: b\r\n" * 200,
    ],
)  # fmt: skip
def test_broken_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(ParseException):
        Chunks().feed(wire)


FIELDS = st.sampled_from([
    "Host: x", "Host: [::1]:8", "Host:", "Host: a/b",
    "Content-Length: 7", "Content-Length: +7", "Content-Length: 07",
    "Content-Type: application/json", "Content-Type:application/json ", "Connection: close",
    "Connection: Keep-Alive", "Connection: upgrade", "X-Request-Id: abc", "X-Caller:  me ",
    "Transfer-Encoding: chunked", "Expect: 100-continue", "Expect: else", "X_Under: 1",
    "Accept-Encoding: gzip", "Inference-Header-Content-Length: 5", "A b: c", "Bad\x01: c",
    "X-Any: \x7f", "X-Any: \xe9", " folded", "Trailer: X", "content-length: 7", ": empty",
])  # fmt: skip


PATHS = ["/v2/models/m/infer", "/inference", "/a%20b", "/a?b=c", "*", "//x/y"]


@given(
    st.lists(FIELDS, max_size=7), st.sampled_from(["1.1", "1.0", "2.0"]), st.sampled_from(PATHS)
)
def test_a_glance_sees_what_the_parser_sees(fields: list[str], version: str, path: str) -> None:
    raw = f"POST {path} HTTP/{version}\r\n" + "".join(f"{one}\r\n" for one in fields) + "\r\n"
    data = raw.encode("latin-1")
    glanced = quick(data)
    if glanced is None:
        return
    read = full(Config(), data, PEER, 1)
    read.message = None
    assert glanced == read


def test_what_cannot_become_a_head_is_refused_early() -> None:
    check_unfinished(Config(), b"GET / HT", PEER, 1)
    check_unfinished(Config(), b"GET / HTTP/1.1\r\nA: b", PEER, 1)
    for bad in (b"GET " + b"x" * 9000, b"nonsense\r\n", b"GET / HTTP/1.1\nA: b"):
        with pytest.raises(ParseException):
            check_unfinished(Config(), bad, PEER, 1)


@pytest.mark.parametrize("header", [0, 1, 137])
def test_the_first_tensor_is_aligned(header: int) -> None:
    body = Memory(1000, header)
    room = body.room()
    room[:] = bytes(range(250)) * 4
    body.got(1000)
    assert body.done
    whole = body.take()
    assert bytes(whole) == bytes(range(250)) * 4
    assert np.frombuffer(whole[header:], np.uint8).ctypes.data % ALIGNMENT == 0


def test_a_spool_keeps_no_more_than_its_limit(tmp_path: Path) -> None:
    spool = Spool(None, tmp_path, 100)
    for _ in range(3):
        wire = b"40\r\n" + b"x" * 64 + b"\r\n"
        spool.room()[: len(wire)] = wire
        spool.got(len(wire))
    assert spool.over
    assert len(spool.take().read()) == 128
    spool.close()


def test_a_broken_body_gives_its_beginning_then_its_error() -> None:
    body = io.BufferedReader(Broken(io.BytesIO(b"abc"), ValueError("cut")))
    assert body.read(3) == b"abc"
    with pytest.raises(ValueError, match="cut"):
        body.read(1)


def test_a_template_is_its_answer_with_another_id() -> None:
    mark = "#" * 32
    fields = [("X-Request-Id", mark)]
    for close in (False, True):
        sent: list[bytes] = []
        Template(Reply(503, fields, mark.encode()), mark).send("1" * 32, sent.append, close)
        one = Reply(503, [("X-Request-Id", "1" * 32)], b"1" * 32)
        assert sent == [one.head(close) + one.body]


def test_a_connection_is_left_to_who_has_fewer_but_waits_for_nobody_who_hangs() -> None:
    peers = Peers(4)
    one, two = peers.join(1), peers.join(2)
    assert not one.yields(1000, 10.0), "there is nobody else"
    two.note(8, 10.0)
    assert not one.yields(8, 10.0)
    assert one.yields(20, 10.1)
    assert not one.yields(20, 10.2), "the other has not moved"
    two.note(9, 10.3)
    assert one.yields(20, 10.3)
    assert not one.yields(20, 12.0), "the other is dead"
    two.note(0, 12.0)
    two.leave()
    assert not one.yields(20, 12.0), "the other accepts no more"


def test_who_has_begun_and_who_is_there_is_known_to_all() -> None:
    peers = Peers(2)
    assert not peers.joined(1)
    one, two = peers.join(1), peers.join(2)
    assert peers.joined(1)
    assert not peers.joined(3), "1 has had its place"
    assert not one.accompanied(10.0)
    two.note(0, 10.0)
    assert one.accompanied(10.5)
    assert not two.accompanied(10.5)
    assert not one.accompanied(12.0), "the other is dead"


def test_a_thread_keeps_nothing_of_what_it_has_done() -> None:
    crew, body = Crew("test", 1, 1), np.zeros(4)
    kept, end = weakref.ref(body), time.monotonic() + 10
    crew.do(functools.partial(np.sum, body))
    del body
    while kept() is not None:
        assert time.monotonic() < end
        time.sleep(0.005)
    crew.stop()


def test_a_crew_runs_everything_at_once_up_to_its_bound() -> None:
    crew, gate, inside = Crew("test", 3, 1), threading.Event(), threading.Semaphore(0)
    done: list[int] = []

    def task(number: int) -> None:
        inside.release()
        gate.wait(10)
        done.append(number)

    for number in range(8):
        crew.do(lambda number=number: task(number))
    threads = [thread for thread in threading.enumerate() if thread.name == "test"]
    assert all(inside.acquire(timeout=10) for _ in range(3))
    assert not inside.acquire(timeout=0.2)
    gate.set()
    assert all(inside.acquire(timeout=10) for _ in range(5))
    crew.stop()
    for thread in threads:
        thread.join(10)
    assert len(threads) == 3
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(done) == list(range(8))
