"""What a misbehaving provider does, and how the call ends: contract of endings, streamed and not.

Before the commit every fault is an HTTP status with a JSON error; after it, one error frame without ``[DONE]``.
"""

import asyncio
import gzip
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamward.wire.chat_completions.errors import error_frame
from streamward.wire.upstream_status import TRUNCATED
from support.gateway_server import Served, config_text, gateway_server, until
from support.raw_http import Answer, ask, chat_request, request
from support.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    SSE,
    USAGE_CHUNK,
    Fault,
    ScriptedUpstream,
    chunk,
    delta,
    document,
    frame,
    head,
    http_chunk,
    scripted_upstream,
    stream,
)


@asynccontextmanager
async def behind(*scripts, **tables: str) -> AsyncIterator[tuple[Served, ScriptedUpstream]]:
    """The gateway in front of an upstream with *scripts*."""
    async with scripted_upstream(*scripts) as upstream, gateway_server(config_text(upstream.base_url, **tables)) as served:
        yield served, upstream


async def streamed(*script, **tables: str) -> tuple[Answer, dict]:
    """The answer to one streamed call and its access record; whole frames only, whatever happened."""
    async with behind(list(script), **tables) as (served, upstream):
        answer = await ask(served.port, chat_request(), on_chunk=upstream.gate.set)
        record = await served.record()
    if answer.status == 200:
        assert answer.complete, "the body is ended properly even when the stream failed"
        assert all(piece.endswith(b"\n\n") for piece in answer.chunks), "a write that ends inside a frame"
    return answer, record


async def plain(*script) -> tuple[Answer, dict]:
    """The same without streaming."""
    async with behind(list(script)) as (served, _):
        answer = await ask(served.port, chat_request(stream=False))
        return answer, await served.record()


async def test_a_healthy_stream_ends_with_done():
    answer, record = await streamed(*stream(*HELLO))

    assert (answer.status, answer.text, answer.finish_reason) == (200, "Hello", "stop")
    assert answer.frames[-1] == "[DONE]"
    assert all("usage" not in item or item["usage"] is None for item in answer.frames[:-1])
    assert (
        record["ending"], record["grade"], record["input_tokens"], record["output_tokens"]
    ) == ("finished", "exact", 7, 2)  # fmt: skip


MIDWAY = (ROLE, delta("Hel"))


def rest(*frames: bytes) -> list:
    """How the stream goes on once the client has its first token."""
    return [*map(http_chunk, frames), LAST]


AFTER_COMMIT = {
    "reset": ([Fault.RESET], "upstream_reset", "failed"),
    "connection closed": ([Fault.CLOSE], "upstream_reset", "failed"),
    "body ends without a finish": (rest(), "stream_truncated", "truncated"),
    "body ends after the finish, no [DONE]": (rest(FINISH), "stream_truncated", "truncated"),
    "[DONE] without a finish reason": (rest(DONE), "stream_truncated", "truncated"),
    "body ends inside a frame": (rest(delta("lo")[:30]), "stream_truncated", "truncated"),
    "stall": ([Fault.STALL], "upstream_timeout", "failed"),
    "junk instead of JSON": (rest(b"data: {oops\n\n", FINISH, DONE), "upstream_invalid", "failed"),
    "an array": (rest(b"data: [1]\n\n", FINISH, DONE), "upstream_invalid", "failed"),
    "choices of a wrong type": (rest(frame(chunk(choices="x")), FINISH, DONE), "upstream_invalid", "failed"),
    "a choice of a wrong type": (rest(frame(chunk(choices=[1])), FINISH, DONE), "upstream_invalid", "failed"),
    "invalid UTF-8": (rest(delta("X").replace(b"X", b"\xff"), FINISH, DONE), "upstream_invalid", "failed"),
    "50 000 levels deep": (
        rest(b'data: {"choices":[],"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n\n"),
        "upstream_invalid", "failed",
    ),
    "a number of 100 000 digits": (
        rest(b'data: {"choices":[],"x":' + b"9" * 100_000 + b"}\n\n", FINISH, DONE), "upstream_invalid", "failed",
    ),
    "a tool call at index two billion": (
        rest(delta(tool_calls=[{"index": 2_000_000_000, "id": "c", "function": {"name": "f", "arguments": ""}}]), FINISH, DONE),
        "upstream_invalid", "failed",
    ),
    "a tool call before the first": (
        rest(delta(tool_calls=[{"index": -1, "id": "c", "function": {"name": "f", "arguments": ""}}]), FINISH, DONE),
        "upstream_invalid", "failed",
    ),
    "20 000 tool calls": (
        rest(*[delta(tool_calls=[{"index": i, "id": f"c{i}", "function": {"name": "f"}}]) for i in range(20_000)]),
        "upstream_invalid", "failed",
    ),
    "a huge line": (rest(b"data: " + b"x" * 300_000), "content_too_large", "failed"),
    "bad chunk framing": ([b"zz\r\nnonsense\r\n"], "upstream_invalid", "failed"),
    "error object (OpenAI)": (
        rest(frame({"error": {"message": "boom", "type": "server_error", "code": None}})),
        "upstream_error", "failed",
    ),
    "error object, then [DONE] (vLLM, LiteLLM)": (
        rest(frame({"error": {"message": "boom", "code": "500"}}), DONE), "upstream_error", "failed",
    ),
    "object: error (old vLLM)": (
        rest(frame({"object": "error", "message": "boom", "code": 500}), DONE), "upstream_error", "failed",
    ),
    "error chunk with choices (OpenRouter)": (
        rest(frame(chunk(error={"code": 502, "message": "boom"}, choices=[
            {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]))),
        "upstream_error", "failed",
    ),
    "finish_reason error alone": (rest(delta(finish="error"), DONE), "upstream_error", "failed"),
    "event: error (Anthropic)": (
        rest(b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'),
        "upstream_error", "failed",
    ),
    "event: error, flat": (
        rest(b'event: error\ndata: {"message":"boom"}\n\n', FINISH, DONE), "upstream_error", "failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AFTER_COMMIT)
async def test_a_fault_after_the_first_token_is_one_error_frame(name: str):
    """The tokens stay, no finish reason is made up, the last frame is the error, ``[DONE]`` does not come."""
    script, code, ending = AFTER_COMMIT[name]

    answer, record = await streamed(*stream(*MIDWAY, end=False), Fault.GATE, *script, limits="max_event_bytes = 200000")

    assert (answer.status, answer.text) == (200, "Hel")
    assert answer.finish_reason is None or "after the finish" in name
    assert answer.stream_error is not None
    assert code == answer.stream_error["code"]
    assert {"message", "type", "param", "code"} == set(answer.stream_error)
    assert b"boom" not in answer.body, "the provider's own words are not repeated"
    assert (ending, code, 1) == (record["ending"], record["code"], record["attempts"])
    assert record["grade"] == "estimated"


HTML = b"<html><body>Bad gateway at 10.0.0.7</body></html>"

BEFORE_COMMIT = {
    "reset before the head": ([Fault.RESET], 502, "upstream_reset"),
    "closed before the head": ([Fault.CLOSE], 502, "upstream_reset"),
    "reset after the head": ([SSE, Fault.RESET], 502, "upstream_reset"),
    "reset after the role": ([SSE, http_chunk(ROLE), Fault.RESET], 502, "upstream_reset"),
    "stall before the head": ([Fault.STALL], 504, "upstream_timeout"),
    "stall after the head": ([SSE, Fault.STALL], 504, "upstream_timeout"),
    "stall after the role": ([SSE, http_chunk(ROLE), Fault.STALL], 504, "upstream_timeout"),
    "nothing at all": (stream(), 502, "stream_truncated"),
    "only a role": (stream(ROLE), 502, "stream_truncated"),
    "only [DONE]": (stream(DONE), 502, "stream_truncated"),
    "HTML with 200": (document(HTML, content_type="text/html"), 502, "upstream_invalid"),
    "HTML said to be a stream": (document(HTML, content_type="text/event-stream"), 502, "stream_truncated"),
    "HTML without a type": ([head(200, f"content-length: {len(HTML)}", content_type=None) + HTML], 502, "stream_truncated"),
    "a JSON error with 200": (document({"error": {"message": "boom"}}), 502, "upstream_invalid"),
    "a completion instead of a stream": (document(COMPLETION), 502, "upstream_invalid"),
    "an error frame first": (stream(frame({"error": {"message": "boom"}})), 502, "upstream_error"),
    "a role, then an error": (stream(ROLE, frame({"error": {"message": "boom"}})), 502, "upstream_error"),
    "junk first": (stream(b"data: oops\n\n"), 502, "upstream_invalid"),
    "not HTTP": ([b"SSH-2.0-OpenSSH_9.2\r\n"], 502, "upstream_invalid"),
    "too many header fields": ([head(200, *(f"x-{i}: y" for i in range(300)))], 502, "upstream_invalid"),
    "a huge header field": ([head(200, "x-a: " + "y" * 100_000)], 502, "upstream_invalid"),
    "a compression nobody asked for": (
        [head(200, "content-encoding: br", "content-length: 2") + b"ab"], 502, "upstream_invalid",
    ),
    "30 interim answers": ([b"HTTP/1.1 103 Early\r\n\r\n" * 30, SSE, *map(http_chunk, HELLO), LAST], 502, "upstream_invalid"),
    "a redirect": ([head(307, "location: http://127.0.0.1:9/", "content-length: 0")], 502, "upstream_error"),
    "401 that echoes the key": (document({"error": {"message": "bad key sk-upstream-secret"}}, 401), 502, "upstream_auth"),
    "403": (document({"error": {"message": "no"}}, 403), 502, "upstream_auth"),
    "500": (document({"error": {"message": "boom"}}, 500), 502, "upstream_error"),
    "503 with HTML": (document(HTML, 503, content_type="text/html"), 502, "upstream_error"),
    "504": (document(HTML, 504, content_type="text/html"), 504, "upstream_timeout"),
    "404": (document({"error": {"message": "boom"}}, 404), 404, "model_not_found"),
    "400 with a code of the caller's": (
        document({"error": {"message": "boom", "code": "context_length_exceeded"}}, 400), 400, "context_length_exceeded",
    ),
    "204": ([head(204, content_type=None)], 502, "upstream_error"),
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE_COMMIT)
async def test_a_fault_before_the_first_token_is_a_status(name: str):
    """Nothing of a stream is sent: a JSON error with the status the contract names, in our words."""
    script, status, code = BEFORE_COMMIT[name]

    answer, record = await streamed(*script)

    assert (status, code) == (answer.status, answer.error["code"])
    assert {"message", "type", "param", "code"} == set(answer.error)
    assert answer.get("content-type") == "application/json"
    for secret in (b"boom", b"10.0.0.7", b"sk-upstream-secret", b"127.0.0.1"):
        assert secret not in answer.body
    assert ("failed", code, status, 1, "mock/m") == (
        record["ending"], record["code"], record["status"], record["attempts"], record["target"],
    )  # fmt: skip


PART = head(200, "content-length: 500", content_type="application/json") + b'{"id"'

PLAIN_FAULTS = {
    "reset before the head": ([Fault.RESET], 502, "upstream_reset"),
    "reset inside the body": ([PART, Fault.RESET], 502, "upstream_reset"),
    "closed inside the body": ([PART, Fault.CLOSE], 502, "upstream_reset"),
    "stall before the head": ([Fault.STALL], 504, "upstream_timeout"),
    "stall inside the body": ([PART, Fault.STALL], 504, "upstream_timeout"),
    "HTML with 200": (document(HTML, content_type="text/html"), 502, "upstream_invalid"),
    "HTML said to be JSON": (document(HTML), 502, "upstream_invalid"),
    "a JSON error with 200": (document({"error": {"message": "boom"}}), 502, "upstream_error"),
    "no choices": (document({"id": "x", "choices": []}), 502, "upstream_invalid"),
    "an array": (document([1]), 502, "upstream_invalid"),
    "no finish reason": (
        document({**COMPLETION, "choices": [{"index": 0, "message": {"content": "Hel"}, "finish_reason": None}]}), 502,
        "stream_truncated",
    ),
    "finish reason error": (
        document({**COMPLETION, "choices": [{"index": 0, "message": {"content": "Hel"}, "finish_reason": "error"}]}), 502,
        "upstream_error",
    ),
    "100 000 levels deep": (document(b"[" * 100_000 + b"]" * 100_000), 502, "upstream_invalid"),
    "a stream instead of JSON": (stream(*HELLO), 502, "upstream_invalid"),
    "401 that echoes the key": (document({"error": {"message": "bad key sk-upstream-secret"}}, 401), 502, "upstream_auth"),
    "a redirect": ([head(307, "location: http://127.0.0.1:9/", "content-length: 0")], 502, "upstream_error"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN_FAULTS)
async def test_a_fault_of_an_answer_that_is_not_streamed_is_a_status(name: str):
    script, status, code = PLAIN_FAULTS[name]

    answer, record = await plain(*script)

    assert (status, code) == (answer.status, answer.error["code"])
    assert b"sk-upstream-secret" not in answer.body
    assert ("failed", code) == (record["ending"], record["code"])


async def test_an_answer_that_is_not_streamed_passes_with_its_unknown_fields():
    answer, record = await plain(*document({**COMPLETION, "x_vendor": {"a": 1}}))

    assert answer.json() == {**COMPLETION, "x_vendor": {"a": 1}}
    assert (record["ending"], record["grade"], record["input_tokens"] + record["output_tokens"]) == ("finished", "exact", 9)


def sse(data: bytes) -> list:
    """One HTTP chunk with exactly these bytes."""
    return [SSE, http_chunk(data), LAST]


WELL = b"".join(HELLO)
CRLF, CR = WELL.replace(b"\n", b"\r\n"), WELL.replace(b"\n", b"\r")
NO_SPACE = WELL.replace(b"data: ", b"data:")
COMMENTS = b": OPENROUTER PROCESSING\n\n" + WELL.replace(b"data: [", b": ping\n\nevent: x\n\nid: 7\n\ndata: [")

HARMLESS = {
    "CRLF": sse(CRLF),
    "CR": sse(CR),
    "BOM": sse(b"\xef\xbb\xbf" + WELL),
    "no space after the colon": sse(NO_SPACE),
    "comments and blocks without data": sse(COMMENTS),
    "everything in one read": sse(WELL),
    "one byte per write": [SSE, *(http_chunk(bytes([byte])) for byte in WELL), LAST],
    "HTTP cut anywhere": [bytes([byte]) for byte in b"".join((SSE, *map(http_chunk, HELLO), LAST))],
    "two data lines in a frame": sse(WELL.replace(b'{"id"', b'{\ndata: "id"')),
    "text after [DONE]": sse(WELL + b"data: {oops\n\n"),
    "body left open after [DONE]": [SSE, http_chunk(WELL), Fault.STALL],
    "reset after [DONE]": [SSE, http_chunk(WELL), Fault.RESET],
    "last blank line missing": sse(WELL[:-1]),
    "close-delimited body": [head(200, "connection: close") + WELL, Fault.CLOSE],
    "body with a length": [head(200, f"content-length: {len(WELL)}") + WELL],
    "an interim answer first": [b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", *stream(*HELLO)],
    "content type with parameters": [head(200, "transfer-encoding: chunked", content_type="text/event-stream; charset=utf-8"),
                                     http_chunk(WELL), LAST],
    "no content type": [head(200, "transfer-encoding: chunked", content_type=None), http_chunk(WELL), LAST],
    "no role": stream(*HELLO[1:]),
    "role in every chunk": stream(*(delta(text, role="assistant") for text in ("", "Hel", "lo")), *HELLO[3:]),
    "no index": stream(*(item.replace(b'"index":0,', b"") for item in HELLO)),
    "no finish_reason key before the end": stream(*(item.replace(b',"finish_reason":null', b"") for item in HELLO)),
    "usage with the finish chunk": stream(
        *HELLO[:3], frame(chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}],
                                usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9})), DONE),
    "usage on every chunk": stream(
        *(item.replace(b'"model":"m"', b'"model":"m","usage":{"prompt_tokens":7,"completion_tokens":%d,"total_tokens":0}' % n)
          for n, item in enumerate(HELLO[:4], -1) if n >= 0 or item), DONE),
    "a first chunk without choices (Azure)": stream(frame({"choices": [], "id": "", "prompt_filter_results": []}), *HELLO),
    "a chunk without the key choices": stream(HELLO[0], frame({"id": "chatcmpl-1", "x": 1}), *HELLO[1:]),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("asks_usage", [False, True], ids=["plain", "include_usage"])
async def test_a_harmless_deviation_comes_out_as_the_reference_says(name: str, asks_usage: bool):
    """LF, ``data: `` with a space, role once and first, one finish, usage only when asked, ``[DONE]`` last."""
    options = {"stream_options": {"include_usage": True}} if asks_usage else {}
    async with behind(list(HARMLESS[name])) as (served, _):
        answer = await ask(served.port, chat_request(**options))
        record = await served.record()

    assert (answer.status, answer.complete, answer.text, answer.finish_reason) == (200, True, "Hello", "stop")
    assert b"\r" not in answer.body
    assert all(block.startswith(b"data: ") for block in answer.body.split(b"\n\n")[:-1]), "a block that is not one data line"
    assert all(piece.endswith(b"\n\n") for piece in answer.chunks)
    chunks = answer.frames[:-1]
    assert answer.frames[-1] == "[DONE]"
    roles = [choice["delta"].get("role") for item in chunks for choice in item["choices"] if "role" in choice["delta"]]
    spoken = next(item for item in chunks if item["choices"])
    assert (roles, spoken["choices"][0]["delta"]["role"]) == (["assistant"], "assistant")
    assert all({"index", "delta", "finish_reason"} <= set(choice) for item in chunks for choice in item["choices"])
    usages = [item for item in chunks if item.get("usage")]
    assert int(asks_usage) == len(usages)
    if asks_usage:
        assert (usages[0]["choices"], usages[0]["usage"]["prompt_tokens"]) == ([], 7)
        assert usages[0] is chunks[-1]
    assert (record["ending"], record["grade"], record["input_tokens"]) == ("finished", "exact", 7)


async def test_a_stream_without_usage_is_estimated():
    answer, record = await streamed(*stream(*HELLO[:4], DONE))

    assert answer.frames[-1] == "[DONE]"
    assert (record["ending"], record["grade"]) == ("finished", "estimated")
    assert record["output_tokens"] > 0


async def test_usage_is_always_asked_of_the_provider():
    async with behind(stream(*HELLO)) as (served, upstream):
        await ask(served.port, chat_request())

    assert upstream.seen[0].json()["stream_options"] == {"include_usage": True}


def call(index: int | None = 0, **more) -> bytes:
    return delta(tool_calls=[{**({} if index is None else {"index": index}), **more}])


async def test_tool_fragments_without_index_and_id_are_mended():
    """Clients list fragments by index and concatenate ids: both must be there once, dense from 0."""
    script = stream(
        ROLE,
        delta(tool_calls=[{"function": {"name": "f", "arguments": '{"a":'}}]),
        delta(tool_calls=[{"id": "", "function": {"arguments": "1}"}}]),
        delta(tool_calls=[{"id": "call_2", "function": {"name": "g", "arguments": {"b": 2}}}]),
        delta(finish="stop"),
        DONE,
    )

    answer, record = await streamed(*script)

    fragments = [item for c in answer.frames[:-1] for ch in c["choices"] for item in ch["delta"].get("tool_calls", ())]
    assert [fragment["index"] for fragment in fragments] == [0, 0, 1]
    assert [bool(fragment.get("id")) for fragment in fragments] == [True, False, True]
    assert [fragment["function"]["arguments"] for fragment in fragments] == ['{"a":', "1}", '{"b":2}']
    assert (answer.finish_reason, record["finish_reason"]) == ("tool_calls", "tool_calls")


async def test_unknown_fields_pass_on_the_same_dialect():
    script = stream(ROLE, frame(chunk(choices=[{"index": 0, "delta": {"content": "Hello", "x": [1]}, "finish_reason": None}],
                                      x_vendor={"a": None})), *HELLO[3:])  # fmt: skip

    answer, _ = await streamed(*script)

    assert answer.frames[1]["x_vendor"] == {"a": None}
    assert answer.frames[1]["choices"][0]["delta"]["x"] == [1]


async def test_line_separators_are_escaped():
    """U+2028, U+2029 and U+0085 raw break every reader that splits with str.splitlines."""
    answer, _ = await streamed(*stream(ROLE, delta("a\u2028b\u2029c\u0085d"), delta("e\u2028"), *HELLO[3:]))

    assert answer.text == "a\u2028b\u2029c\u0085de\u2028"
    assert len(answer.body.decode().splitlines()) == answer.body.count(b"\n")


async def test_several_choices_pass_through():
    def both(n: int, text: str | None, finish: str | None = None) -> bytes:
        return frame(chunk(choices=[{"index": n, "delta": {"content": text} if text else {}, "finish_reason": finish}]))

    script = stream(both(0, "a"), both(1, "b"), both(0, None, "stop"), both(1, "c"), both(1, None, "length"), DONE)

    answer, record = await streamed(*script)

    texts = ["".join(ch["delta"].get("content") or "" for c in answer.frames[:-1] for ch in c["choices"] if ch["index"] == n)
             for n in (0, 1)]  # fmt: skip
    assert texts == ["a", "bc"]
    assert answer.frames[-1] == "[DONE]"
    assert record["ending"] == "finished"


async def test_done_while_one_of_two_choices_is_open_is_a_truncation():
    def both(n: int, text: str | None, finish: str | None = None) -> bytes:
        return frame(chunk(choices=[{"index": n, "delta": {"content": text} if text else {}, "finish_reason": finish}]))

    script = [*stream(both(0, "a"), end=False), Fault.GATE, *rest(both(1, "b"), both(0, None, "stop"), DONE)]

    answer, record = await streamed(*script)

    assert answer.stream_error is not None
    assert "stream_truncated" == answer.stream_error["code"] == record["code"]


async def test_a_provider_that_ends_without_a_marker_has_a_profile():
    tables = 'timeouts = { idle = 1 }\nretries = 0\nends_with = "finish"'

    answer, record = await streamed(*stream(*HELLO[:5]), mock=tables)

    assert (answer.frames[-1], record["ending"]) == ("[DONE]", "finished")


async def test_a_gzip_bomb_meets_the_event_bound_not_the_memory():
    bomb = gzip.compress(b"data: " + b"x" * (256 << 20), 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    script = [head(200, "content-encoding: gzip", f"content-length: {len(bomb)}") + bomb]

    answer, record = await streamed(*script)

    assert answer.status == 502
    assert record["code"] in ("content_too_large", "upstream_invalid")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "KiB of memory taken"


async def test_a_compressed_stream_is_read_all_the_same():
    packed = gzip.compress(WELL)

    answer, _ = await streamed(head(200, "content-encoding: gzip", f"content-length: {len(packed)}") + packed)

    assert answer.text == "Hello"
    assert answer.get("content-encoding") is None


async def test_only_rate_limit_and_request_ids_of_the_providers_head_are_passed_on():
    fields = ("x-request-id: req-1", "x-ratelimit-remaining-requests: 5", "set-cookie: a=b", "server: evil",
              "access-control-allow-origin: *", "strict-transport-security: max-age=1")  # fmt: skip
    script = [head(200, "transfer-encoding: chunked", *fields), http_chunk(WELL), LAST]

    answer, _ = await streamed(*script)

    assert (answer.get("x-request-id"), answer.get("x-ratelimit-remaining-requests")) == ("req-1", "5")
    kept_back = {"set-cookie", "server", "access-control-allow-origin", "strict-transport-security"}
    assert not kept_back & dict(answer.headers).keys()


async def test_other_streams_go_on_while_one_fails():
    """A fault of one call is nobody else's business."""
    async def slow(seen):
        await seen.write(SSE + http_chunk(ROLE))
        for _ in range(20):
            await seen.write(http_chunk(delta("x")))
            await asyncio.sleep(0.005)
        await seen.write(http_chunk(FINISH + USAGE_CHUNK + DONE) + LAST)

    names = ("reset", "bad chunk framing", "junk instead of JSON", "a huge line")
    faults = [[*stream(*MIDWAY, end=False), *AFTER_COMMIT[name][0]] for name in names]
    async with behind(slow, slow, slow, *faults) as (served, upstream):
        good = [asyncio.create_task(ask(served.port, chat_request())) for _ in range(3)]
        await upstream.request(2)
        bad = await asyncio.gather(*(ask(served.port, chat_request()) for _ in faults))
        answers = await asyncio.gather(*good)

    assert all(answer.status == 502 or answer.stream_error is not None for answer in bad)
    assert [answer.text for answer in answers] == ["x" * 20] * 3
    assert all(answer.frames[-1] == "[DONE]" for answer in answers)


def test_frames_of_the_error_are_what_the_official_sdks_raise_on():
    """A truthy top-level ``error`` object is the only mid-stream form both of them know."""
    sent = error_frame(TRUNCATED)

    assert sent.startswith(b'data: {"error":{')
    assert json.loads(sent[6:])["error"]["code"] == "stream_truncated"


# -- a provider that shows what it was sent


@pytest.mark.parametrize("path", ["chat/completions", "messages"], ids=["as bytes", "translated"])
async def test_our_key_in_a_streamed_answer_is_taken_out(path: str):
    """Debugging proxies put the request's headers into answers; the caller gets the rest of the text."""
    script = stream(ROLE, delta("said: "), delta("Bearer sk-upstream-secret!"), FINISH, DONE)
    body = {"model": "mock/m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]}

    async with scripted_upstream(script) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        answer = await ask(served.port, request("POST", f"/v1/{path}", json.dumps(body).encode()))

    assert answer.complete
    assert b"sk-upstream-secret" not in answer.body
    assert b"Bearer [key removed]!" in answer.body


async def test_our_key_in_an_answer_in_one_piece_is_taken_out():
    """Also where the network cuts it in two."""
    said = {"index": 0, "message": {"role": "assistant", "content": "sk-upstream-secret"}, "finish_reason": "stop"}
    raw = json.dumps({**COMPLETION, "choices": [said]}).encode()
    cut = raw.index(b"secret")
    script = [head(200, f"content-length: {len(raw)}", content_type="application/json") + raw[:cut], Fault.GATE, raw[cut:]]

    async with scripted_upstream(script) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        asked = asyncio.create_task(ask(served.port, chat_request(stream=False)))
        await upstream.request()
        await until(lambda: any(getattr(call, "reply", None) for call in served.gateway.active))
        upstream.gate.set()
        answer = await asked

    assert answer.json()["choices"][0]["message"]["content"] == "[key removed]"
