"""Chat Completions in and out: the same bytes however reads are cut, whole frames in reference form, the same meaning."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import Error, Finish, Usage
from streamward.reply import collect
from streamward.wire import chat_completions
from streamward.wire.chat_completions import passthrough
from streamward.wire.chat_completions.passthrough import Passthrough
from streamward.wire.dialect import Profile
from support import chat_golden
from support.chat_chunks import chunks
from support.codec import REFERENCE, decode

FRAMES = re.compile(rb"(?:data: [^\r\n]+\n\n)*")


def relay(reads: bytes | Iterable[bytes], profile: Profile = REFERENCE, *, include_usage: bool = True) -> bytes:
    return relayed(reads, profile, include_usage=include_usage)[0]


def relayed(
    reads: bytes | Iterable[bytes], profile: Profile = REFERENCE, *, include_usage: bool = True
) -> tuple[bytes, Passthrough]:
    """Everything that came out, every write checked to be whole frames."""
    stage = Passthrough(profile, include_usage=include_usage)
    out = [stage.feed(read) for read in ([reads] if isinstance(reads, bytes) else reads)]
    out.append(stage.close())
    for write in out:
        assert FRAMES.fullmatch(write), write
    assert stage.ended
    return b"".join(out), stage


def chunk(delta: Any, finish: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields,
    }  # fmt: skip


def stream(*items: Any, done: bool = True) -> bytes:
    lines = [item if isinstance(item, str) else json.dumps(item) for item in items] + ["[DONE]"] * done
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def sent(out: bytes) -> list[Any]:
    """The JSON of each frame, ``[DONE]`` as text."""
    return [data if data == "[DONE]" else json.loads(data) for data in re.findall(r"data: (.*)\n\n", out.decode())]


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")
COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize("name", chat_golden.NAMES)
def test_cuts_change_nothing(name: str):
    """Cut anywhere, and byte by byte: the same bytes in total, the same account of the stream."""
    raw, profile = chat_golden.raw(name), chat_golden.profile(name)
    whole, seen = relayed(raw, profile)
    for at in range(1, len(raw)):
        out, stage = relayed((raw[:at], raw[at:]), profile)
        assert out == whole, f"cut at {at}"
        assert (stage.usage, stage.error, stage.finish_reason, stage.content) == (
            seen.usage, seen.error, seen.finish_reason, seen.content
        )  # fmt: skip
    assert relay((raw[at : at + 1] for at in range(len(raw))), profile) == whole


@pytest.mark.parametrize("name", chat_golden.NAMES)
def test_reference_form(name: str):
    """Roles once and first, three keys in every choice, usage in its own chunk, one ending."""
    items = sent(relay(chat_golden.raw(name), chat_golden.profile(name)))
    failed = "error" in items[-1]

    assert failed or items[-1] == "[DONE]"
    assert "[DONE]" not in items[:-1]
    roles: dict[int, int] = {}
    calls: dict[tuple[int, int], int] = {}
    for item in items[:-1]:
        assert "error" not in item
        if item.get("usage"):
            assert item["choices"] == []
            assert item is items[-2]
        for choice in item["choices"]:
            assert {"index", "delta", "finish_reason"} <= choice.keys()
            index, delta = choice["index"], choice["delta"]
            assert ("role" in delta) == (index not in roles)
            roles[index] = 1
            for fragment in delta.get("tool_calls") or ():
                key = index, fragment["index"]
                new = key not in calls
                assert fragment["index"] == len([k for k in calls if k[0] == index and k != key]) or not new
                assert (("id" in fragment), ("name" in fragment["function"])) == (new, new)
                assert not new or fragment["type"] == "function"
                assert isinstance(fragment["function"].get("arguments", ""), str)
                calls[key] = 1


@pytest.mark.parametrize("name", chat_golden.NAMES)
def test_meaning_is_that_of_decoding(name: str):
    """What a client of the reference reads is what the decoder reads from the vendor."""
    theirs = collect(chat_golden.expected(name))

    ours = collect(decode(chat_completions, relay(chat_golden.raw(name), chat_golden.profile(name))))

    assert (ours.blocks, ours.finish_reason, ours.raw_reason) == (theirs.blocks, theirs.finish_reason, theirs.raw_reason)
    assert (ours.id, ours.model, ours.error is None) == (theirs.id, theirs.model, theirs.error is None)


@pytest.mark.parametrize("name", chat_golden.NAMES)
def test_the_account_is_that_of_decoding(name: str):
    """Usage and ending for the gateway's books, as the profile says they count."""
    last = chat_golden.expected(name)[-1]

    stage = relayed(chat_golden.raw(name), chat_golden.profile(name))[1]

    assert stage.usage == last.usage  # type: ignore[union-attr]
    assert (stage.error is not None) == isinstance(last, Error)


@pytest.mark.parametrize("name", chat_golden.NAMES)
def test_truncations(name: str):
    """Every prefix ends in exactly one way, and in ``[DONE]`` only once the stream was finished."""
    raw, profile = chat_golden.raw(name), chat_golden.profile(name)
    done_from = chat_golden.finished_from(name)
    for at in range(len(raw)):
        out, stage = relayed(raw[:at], profile)

        assert out.endswith(b"data: [DONE]\n\n") == (at >= done_from), f"truncated at {at}"
        assert out.count(b'data: {"error":') == (at < done_from)
        assert (stage.error is None) == (at >= done_from)


@pytest.mark.parametrize("name", [name for name in chat_golden.NAMES if b'"usage":{' in chat_golden.raw(name)])
def test_usage_only_when_asked_for(name: str):
    raw, profile = chat_golden.raw(name), chat_golden.profile(name)
    for include in (False, True):
        out, stage = relayed(raw, profile, include_usage=include)

        assert [bool(item.get("usage")) for item in sent(out)[:-1]].count(True) == include
        assert stage.usage is not None


def test_reference_frames_pass_byte_for_byte():
    """Field order, number form, spacing and unknown fields are the upstream's."""
    frames = [
        '{"id":"c","object":"chat.completion.chunk","created":1e0,"model":"m","z":1.50,"choices":[{"index":0,"delta":'
        '{"role":"assistant","content":""},"finish_reason":null,"extra": {"n": 123456789012345678901234567890}}]}',
        '{ "choices":[{"delta":{"content":"a\\u00e9\\/","x":[1.0]},"index":0,"finish_reason":null}],"id":"c", "object":'
        '"chat.completion.chunk","timings":{"ms":0.10}}',
        '{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":1}]}',
    ]
    raw = stream(*frames)

    assert relay(raw) == raw
    assert relay(raw[at : at + 1] for at in range(len(raw))) == raw


def test_line_separators_are_escaped():
    """Raw they break readers that use ``str.splitlines``; whether a read is checked at once or frame by frame."""
    text = '{"choices":[{"index":0,"delta":{"content":"a\u2028b\u0085"},"finish_reason":null}]}'
    raw = stream(ROLE, chunk({"content": "x"}), text, text, text, STOP)
    escaped = raw.decode().replace("\u2028", "\\u2028").replace("\u0085", "\\u0085").encode()
    first = raw.index(b"\xe2") - 60

    assert relay(raw) == escaped
    assert relay((raw[:first], raw[first:])) == escaped
    assert relay(block + b"\n\n" for block in raw.split(b"\n\n") if block) == escaped


def test_keep_alives_and_blocks_without_data_are_left_out():
    raw = b": PROCESSING\n\nevent: ping\n\ndata:\n\n" + stream(ROLE, done=False) + b"retry: 5\n\n" + stream(STOP)

    assert relay(raw) == stream(ROLE, STOP)


def test_a_bom_is_stripped_at_the_start_only():
    """Also when the first read went the short way."""
    late = b"\xef\xbb\xbf" + stream(chunk({"content": "lost"}), done=False)
    first, rest = stream(ROLE, done=False), stream(STOP)

    assert relay(b"\xef\xbb\xbf" + first + rest) == first + rest
    assert relay((first, late, rest)) == relay(first + late + rest) == first + rest


def test_lines_that_are_no_data_are_not_passed_on():
    """JSON on a line of its own is no frame, however much it looks like one."""
    text = json.dumps(chunk({"content": "a"}))
    start = stream(ROLE, chunk({"content": "x"}), done=False)
    odd = f"data: {text}\n{text}\n\ndata: {text}\n\n\n\ndata: {text}\n\n".encode()

    assert relay((start, odd, stream(STOP))) == start + stream(*[text] * 3, STOP)


def test_a_role_for_every_choice():
    """Made when the upstream sends none; repeated ones are dropped."""
    items = sent(relay(stream(chunk({"content": "a"}), chunk({"role": "assistant", "content": "b"}), STOP)))

    assert [item["choices"][0]["delta"] for item in items[:-1]] == [
        {"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"}, {},
    ]  # fmt: skip
    assert items[0]["id"] == "c"


def test_several_choices():
    """All of them pass, and the stream is finished when each of them is."""
    second = chunk({"content": "b"})
    second["choices"][0]["index"] = 1
    end = chunk({}, "length")
    end["choices"][0]["index"] = 1
    both = chunk({"content": "a"})
    both["choices"].append(second["choices"][0])

    whole = sent(relay(stream(both, STOP, end)))
    cut = sent(relay(stream(both, STOP)))

    deltas = [(c["index"], c["delta"]) for item in whole[:-1] for c in item["choices"]]
    made = {"role": "assistant", "content": ""}
    assert deltas == [(0, made), (1, made), (0, {"content": "a"}), (1, {"content": "b"}), (0, {}), (1, {})]
    assert whole[-1] == "[DONE]"
    assert cut[-1]["error"]["code"] == "stream_truncated"


def test_logprobs_and_the_legacy_function_call_pass():
    logged = chunk({"content": "a"})
    logged["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]}
    called = chunk({"function_call": {"name": "f", "arguments": "{}"}})
    raw = stream(ROLE, logged, called, chunk({}, "function_call"))

    assert relay(raw) == raw


@pytest.mark.parametrize(
    ("finish", "out"), [("stop", "tool_calls"), ("tool_calls", "tool_calls"), ("length", "length"), ("eos", "eos")]
)
def test_finish_after_tool_calls(finish: str, out: str):
    call = chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})

    items = sent(relay(stream(ROLE, call, chunk({}, finish))))

    assert items[-2]["choices"][0]["finish_reason"] == out


@pytest.mark.parametrize("nothing", ["", 0, [], {}, False, 5])
def test_an_odd_finish_reason_is_none(nothing: Any):
    """It neither finishes the stream nor reaches the client."""
    items = sent(relay(stream(ROLE, chunk({"content": "a"}, nothing))))

    assert [item["choices"][0]["finish_reason"] for item in items[:-1]] == [None, None]
    assert items[-1]["error"]["code"] == "stream_truncated"


def test_a_name_comes_once_per_call():
    """The Python SDK joins every string it sees."""
    first = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}
    again = {"index": 0, "function": {"name": "f", "arguments": "}"}}

    items = sent(relay(stream(ROLE, chunk({"tool_calls": [first]}), chunk({"tool_calls": [again]}), STOP)))

    assert [item["choices"][0]["delta"]["tool_calls"] for item in items[1:3]] == [
        [{**first, "type": "function"}], [{"index": 0, "function": {"arguments": "}"}}],
    ]  # fmt: skip


def test_chunks_without_choices_pass_after_usage_too():
    """Only a chunk that tells usage is held back."""
    late = {"id": "c", "choices": [], "prompt_filter_results": [1]}
    raw = stream(ROLE, chunk({}, "stop", usage=COUNTS), late)

    assert late in sent(relay(raw))


@pytest.mark.parametrize(
    "failure",
    [
        {"error": {"message": "sk-secret"}}, {"object": "error", "message": "sk-secret"}, chunk({}, "abort"),
        chunk({"content": "sk-secret"}, "error"), chunk({"tool_calls": [5]}), "<html>sk-secret", "[]", '{"choices":[5]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("glued", [True, False])
def test_failures(failure: Any, glued: bool):
    """One error frame, nothing after it, nothing of the upstream's text in it."""
    before = stream(ROLE, chunk({"content": "a"}), done=False)
    reads = [before, stream(failure), stream(STOP)]

    out = relay([b"".join(reads)] if glued else reads)

    assert out.startswith(before)
    assert [list(item) for item in sent(out[len(before) :])] == [["error"]]
    assert b"secret" not in out


def test_nothing_after_done():
    raw = stream(ROLE, STOP)

    assert relay(raw + stream(chunk({"content": "after"})) + b"data: junk\n\n") == raw


def test_fail_from_outside():
    """A reset says so once; after the end it says nothing."""
    stage = Passthrough(REFERENCE)
    stage.feed(stream(ROLE, chunk({"content": "a"}), done=False))
    reset = ErrorInfo("upstream_reset", "the connection broke", 502)

    assert sent(stage.fail(reset))[0]["error"]["code"] == "upstream_reset"
    assert (stage.fail(reset), stage.feed(stream(STOP)), stage.close()) == (b"", b"", b"")
    assert stage.error == reset


def test_content_begins_with_the_first_visible_delta():
    """Until then another target may be tried."""
    stage = Passthrough(REFERENCE)
    seen = []
    for item in (ROLE, chunk({"content": ""}), chunk({"reasoning_content": "x"}), chunk({"content": "y"})):
        stage.feed(stream(item, done=False))
        seen.append(stage.content)

    assert seen == [False, False, True, True]


def test_bounds():
    stage = Passthrough(REFERENCE, max_event_bytes=1000)
    stage.feed(stream(ROLE, chunk({"content": "a"}), done=False))

    out = b"".join(stage.feed(b"x" * 100) for _ in range(11))

    assert sent(out)[0]["error"]["code"] == "content_too_large"


def test_usage_is_booked_as_the_profile_counts_and_sent_as_it_came():
    profile = Profile(output_excludes_reasoning=True)
    raw_usage = {"prompt_tokens": 1, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 30}}
    out, stage = relayed(stream(ROLE, STOP, {"choices": [], "usage": raw_usage}), profile)

    assert stage.usage == Usage(1, 32, reasoning_tokens=30, extra={"chat_completions": raw_usage})
    assert sent(out)[-2]["usage"] == raw_usage


# -- the cost of the common case


class Calls:
    """Counts the decoder calls that one read costs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for owner, name in [
            (passthrough, "decode_one"), (passthrough, "decode_lines"), (passthrough, "decode_common"),
            (passthrough.json_text, "decode_any"),
        ]:  # fmt: skip
            monkeypatch.setattr(owner, name, self.counted(getattr(owner, name)))

    def counted(self, decode: Any) -> Any:
        def call(data: Any) -> Any:
            self.count += 1
            return decode(data)

        return call


@pytest.mark.parametrize("chunks_per_read", [1, 2, 50])
def test_a_read_of_plain_chunks_costs_one_decode(monkeypatch: pytest.MonkeyPatch, chunks_per_read: int):
    """And goes out as the object that came in."""
    stage = Passthrough(REFERENCE)
    stage.feed(stream(ROLE, chunk({"content": "a"}), done=False))
    read = stream(*[chunk({"content": "b"})] * chunks_per_read, done=False)
    calls = Calls(monkeypatch)

    for _ in range(3):
        assert stage.feed(read) is read
    assert calls.count == 3
    assert stage.events == 2 + 3 * chunks_per_read


def test_a_whole_short_answer_in_one_read_costs_a_few_decodes(monkeypatch: pytest.MonkeyPatch):
    """One for each frame at its edges (role, first text, finish, usage), one for everything between."""
    read = stream(ROLE, *[chunk({"content": "b"})] * 50, STOP, {**STOP, "choices": [], "usage": COUNTS})
    calls = Calls(monkeypatch)

    assert relay(read) == read
    assert calls.count <= 6


def test_a_run_with_empty_data_lines_sends_no_empty_frames():
    """Some servers keep the connection alive with ``data:`` and nothing behind it."""
    plain = b"data: " + json.dumps(chunk({"content": "a"})).encode() + b"\n\n"
    opening = b"data: " + json.dumps(ROLE).encode() + b"\n\n" + plain

    assert relay([opening + b"data: \n\ndata: \n\n" + plain]) == relay([opening + plain])


# -- anything at all


@settings(max_examples=300)
@given(frames=st.lists(chunks(), max_size=8), cuts=st.lists(st.integers(0, 400), max_size=4))
def test_any_chunks_at_any_cuts(frames: list[bytes], cuts: list[int]):
    """Never raises, writes whole frames, and cuts change nothing."""
    raw = b"".join(b"data: " + frame + b"\n\n" for frame in frames)
    places = [0, *sorted(min(at, len(raw)) for at in cuts), len(raw)]

    assert relay(raw[start:end] for start, end in pairwise(places)) == relay(raw)


PLAIN = st.builds(lambda text: json.dumps(chunk({"content": text}), ensure_ascii=False).encode(), st.text(max_size=3))


@given(
    frames=st.lists(PLAIN | chunks() | st.just(json.dumps(ROLE).encode()), max_size=12),
    ends=st.lists(st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\n\n", b"\n: c\n\n", b"\n\n{}\n\n"]), min_size=12, max_size=12),
    cuts=st.lists(st.integers(0, 1500), max_size=4),
)
def test_runs_of_plain_chunks_at_any_cuts(frames: list[bytes], ends: list[bytes], cuts: list[int]):
    """The short ways through give the bytes of the long one."""
    frames = [json.dumps(ROLE).encode(), json.dumps(chunk({"content": "a"})).encode(), *frames]
    raw = b"".join(b"data: " + frame + end for frame, end in zip(frames, [b"\n\n", b"\n\n", *ends], strict=False))
    places = [0, *sorted(min(at, len(raw)) for at in cuts), len(raw)]

    assert relay(raw[start:end] for start, end in pairwise(places)) == relay(raw)


@settings(max_examples=300)
@given(frames=st.lists(chunks(tools=False, several=False), max_size=6), done=st.booleans())
def test_ends_as_the_decoder_says(frames: list[bytes], done: bool):
    """Whether a stream finished does not depend on who reads it."""
    raw = b"".join(b"data: " + frame + b"\n\n" for frame in [*frames, b"[DONE]"][: len(frames) + done])
    for profile in (REFERENCE, Profile(ends_with="finish"), Profile(ends_with="eof")):
        last = decode(chat_completions, raw, profile)[-1]

        assert isinstance(last, Finish) == (relayed(raw, profile)[1].error is None), profile.ends_with
