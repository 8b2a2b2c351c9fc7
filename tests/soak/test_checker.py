"""The judge of the crash test is no yes-man: each way to be wrong is found."""

import json

import pytest

from soak.checker import Fates, Log, judge, same
from soak.upstream import Model
from soak.wire import Blocks, Chunks

MODEL = Model(7, 3, 10)
HOME = {9001}


def chat(number: int, delta: dict, finish: str | None = None) -> bytes:
    value = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"id: %d\ndata: %b" % (number, json.dumps(value).encode())


def usage(number: int, tokens: int) -> bytes:
    return b"id: %d\ndata: %b" % (number, json.dumps({"choices": [], "usage": {"completion_tokens": tokens}}).encode())


def broken(number: int, code: str) -> bytes:
    return b"id: %d\ndata: %b" % (number, json.dumps({"error": {"message": "no", "code": code}}).encode())


TEXT = [chat(number, {"content": MODEL.token(number)}) for number in range(3)]
WHOLE = [*TEXT, chat(3, {}, "stop"), usage(4, 3), b"id: 5\ndata: [DONE]"]


def log(*blocks: bytes) -> Log:
    out = Log("chat")
    for block in blocks:
        out.take(block)
    return out


def verdict(*blocks: bytes, model: Model = MODEL, fates: Fates | None = None) -> str:
    return "; ".join(judge(log(*blocks), model, HOME, fates or Fates()))


def test_a_whole_stream_is_right():
    assert verdict(*WHOLE) == ""


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        ([TEXT[0], *WHOLE[2:]], "lost: 2 came where 1 is next"),
        ([*TEXT, TEXT[2], *WHOLE[3:]], "repeated: 2 came where 3 is next"),
        ([TEXT[0], chat(1, {"content": MODEL.token(2)}), chat(2, {"content": MODEL.token(1)}), *WHOLE[3:]], "or others"),
        ([TEXT[0], chat(1, {}, "stop"), usage(2, 3), b"id: 3\ndata: [DONE]"], "finished with 4 of 12 characters"),
        ([*TEXT, chat(3, {}, "stop"), usage(4, 2), b"id: 5\ndata: [DONE]"], "finished with usage"),
        (TEXT, "no ending"),
        ([*TEXT, b"id: 3\ndata: [DONE]"], "0 endings"),
        ([*TEXT, chat(3, {}, "stop"), broken(4, "stream_interrupted")], "2 endings"),
        ([*WHOLE, broken(6, "stream_interrupted")], "a frame after the ending"),
        ([*TEXT, b'data: {"choices":[]}'], "a frame without a number"),
        ([*TEXT, b"id: 3\ndata: {nonsense"], "not a frame"),
        ([TEXT[0], broken(1, "stream_interrupted")], "though its worker lives"),
        ([TEXT[0], broken(1, "server_shutdown")], "though its worker was not stopped"),
        ([TEXT[0], broken(1, "upstream_reset")], "though the provider did not break off"),
        ([TEXT[0], broken(1, "store_unavailable")], "unexpected error"),
        ([chat(0, {"content": "made up"}), broken(1, "stream_interrupted")], "not a prefix"),
    ],
)  # fmt: skip
def test_each_way_to_be_wrong_is_found(blocks: list[bytes], complaint: str):
    assert complaint in verdict(*blocks)


def test_an_interruption_is_true_when_a_worker_that_made_it_was_killed():
    assert verdict(TEXT[0], broken(1, "stream_interrupted"), fates=Fates(killed={9001})) == ""
    assert "its worker lives" in verdict(TEXT[0], broken(1, "stream_interrupted"), fates=Fates(killed={9002}))


def test_all_that_came_before_a_providers_break_must_be_there():
    fault = Model(7, 3, 10, fault=2)

    assert verdict(*TEXT[:2], broken(2, "upstream_reset"), model=fault) == ""
    assert "upstream_reset with 4 of the 8" in verdict(TEXT[0], broken(1, "upstream_reset"), model=fault)
    assert "finished, though the provider broke off" in verdict(*WHOLE, model=fault)


def test_another_reader_must_have_the_same_bytes():
    assert same(log(*WHOLE), log(*WHOLE), "it") == []
    assert same(log(*WHOLE), log(*WHOLE[:3]), "it") == ["it has 3 of 6 frames"]
    assert same(log(*WHOLE), log(*WHOLE[:4], usage(4, 9), WHOLE[5]), "it") == ["it differs at frame 4"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_bodies_are_read_the_same_however_they_are_cut(size: int):
    """Chunks and blocks, keep-alives left out, and a block that is not whole never counts."""
    body = b": keep-alive\nid: 0\ndata: a\n\n: keep-alive\n\nid: 1\ndata: b\n\nid: 2\nda"
    raw = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (11, body[:11], len(body) - 11, body[11:])

    chunks, blocks, got = Chunks(), Blocks(), []
    for start in range(0, len(raw), size):
        got += blocks.feed(chunks.feed(raw[start : start + size]))

    assert got == [b"id: 0\ndata: a", b"id: 1\ndata: b"]
    assert chunks.whole
