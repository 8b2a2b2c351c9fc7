"""Clients that send what they should not: each gets the contract's answer, and nobody else notices.

Framing follows RFC 9112, strictly: what a proxy in front could read differently is refused and the connection closed.
"""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator

import pytest

from support.gateway_server import Served, config_text, gateway_server, until
from support.raw_http import KEY, Answer, ask, chat, chat_request, connected, request

FAST = "demo/chat?tps=0&ttft_ms=0"
BODY = json.dumps(chat(FAST, stream=False)).encode()
HOST = b"host: localhost\r\n"
AUTH = f"authorization: Bearer {KEY}\r\n".encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + AUTH + b"content-type: application/json\r\n"
LIMITS = "max_body_bytes = 20000\nhead_timeout_s = 0.4\nbody_timeout_s = 0.4"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with gateway_server(config_text(limits=LIMITS)) as served:
        yield served


async def healthy(served: Served) -> bool:
    """Somebody else is served as ever."""
    return (await ask(served.port, chat_request(FAST, stream=False))).status == 200


def length(size: int) -> bytes:
    return b"content-length: %d\r\n" % size


REFUSED_HEADS = {
    "both lengths": (POST + length(5) + CHUNKED + b"0\r\n\r\n", 400),
    "both lengths, the other order": (POST + b"transfer-encoding: chunked\r\n" + length(5) + b"\r\n0\r\n\r\n", 400),
    "two lengths that differ": (POST + length(5) + length(6) + b"\r\nhello", 400),
    "two lengths that agree": (POST + length(5) + length(5) + b"\r\nhello", 400),
    "a list of lengths": (POST + b"content-length: 5, 5\r\n\r\nhello", 400),
    "a signed length": (POST + b"content-length: +5\r\n\r\nhello", 400),
    "a negative length": (POST + b"content-length: -5\r\n\r\n", 400),
    "a length in hexadecimal": (POST + b"content-length: 0x5\r\n\r\nhello", 400),
    "an absurd length": (POST + b"content-length: 99999999999999999999\r\n\r\n", 400),
    "an empty length": (POST + b"content-length: \r\n\r\n", 400),
    "another coding": (POST + b"transfer-encoding: gzip\r\n\r\n", 501),
    "chunked twice": (POST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked in two fields": (POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked under HTTP/1.0": (POST.replace(b"HTTP/1.1", b"HTTP/1.0") + CHUNKED + b"0\r\n\r\n", 400),
    "a bare CR in a value": (POST + b"x-a: b\rc\r\n\r\n", 400),
    "a bare CR before a name": (POST + b"\rx-a: b\r\n\r\n", 400),
    "bare LF line ends": (POST.replace(b"\r\n", b"\n") + b"\n", 400),
    "a NUL": (POST + b"x-a: b\0c\r\n\r\n", 400),
    "a space before the colon": (POST + b"x-a : b\r\n\r\n", 400),
    "a tab before the colon": (POST + b"content-length\t: 5\r\n\r\nhello", 400),
    "a folded line": (POST + b"x-a: b\r\n c\r\n\r\n", 400),
    "a field without a name": (POST + b": b\r\n\r\n", 400),
    "a field without a colon": (POST + b"nonsense\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a host with a path": (b"GET /healthz HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
    "two keys": (POST + AUTH + length(2) + b"\r\n{}", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "version 2.0": (b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "version 1.2": (b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two spaces": (b"GET  /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a huge field": (POST + b"x-a: " + b"y" * 40_000 + b"\r\n\r\n", 431),
    "a huge head without an end": (POST + b"x-a: " + b"y" * 40_000, 431),
    "10 000 fields": (POST + b"".join(b"x-%d: y\r\n" % i for i in range(10_000)) + b"\r\n", 431),
    "101 small fields": (POST + b"a:\r\n" * 101 + b"\r\n", 431),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_HEADS)
async def test_a_bad_head_is_refused_and_the_connection_closed(served: Served, name: str):
    """What follows on the connection is not read: it could be somebody else's request."""
    data, status = REFUSED_HEADS[name]
    async with connected(served.port) as connection:
        await connection.send(data + request("GET", "/healthz"))
        answer = await connection.answer()

        assert answer.status == status
        assert answer.get("connection") == "close"
        assert {"message", "type", "param", "code"} == set(answer.error)
        assert await connection.closed(), "a second answer"
    assert await healthy(served)


def sized(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


REFUSED_BODIES = {
    "a chunk size that is none": (b"zz\r\n{}\r\n0\r\n\r\n", 400),
    "a signed chunk size": (b"-2\r\n{}\r\n0\r\n\r\n", 400),
    "a chunk size with 0x": (b"0x2\r\n{}\r\n0\r\n\r\n", 400),
    "an absurd chunk size": (b"f" * 17 + b"\r\n", 400),
    "a chunk longer than stated": (b"1\r\n{}\r\n0\r\n\r\n", 400),
    "bare LF in chunk lines": (b"2\n{}\n0\n\n", 400),
    "an endless chunk extension": (b"2;" + b"x" * 10_000, 400),
    "an endless trailer": (sized(BODY) + b"0\r\n" + b"x-a: b\r\n" * 2000, 431),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_BODIES)
async def test_a_bad_chunked_body_is_refused(served: Served, name: str):
    data, status = REFUSED_BODIES[name]
    async with connected(served.port) as connection:
        await connection.send(POST + CHUNKED + data)
        answer = await connection.answer()

        assert (answer.status, answer.get("connection")) == (status, "close")
        assert await connection.closed()
    assert await healthy(served)


async def test_a_chunked_body_may_come_byte_by_byte_with_extensions_and_trailers(served: Served):
    data = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in BODY) + b"0\r\nx-trailer: y\r\n\r\n"
    async with connected(served.port) as connection:
        await connection.send(POST + CHUNKED)
        for at in range(0, len(data), 7):
            await connection.send(data[at : at + 7])
        first = await connection.answer()
        await connection.send(request("GET", "/healthz"))
        second = await connection.answer()

    assert (first.status, second.status) == (200, 200)


BAD_BODIES = {
    "nothing": (b"", 400, None),
    "no JSON": (b"hello", 400, None),
    "cut JSON": (BODY[:-1], 400, None),
    "two objects": (BODY + BODY, 400, None),
    "null": (b"null", 400, None),
    "an array": (b"[]", 400, None),
    "a string": (b'"x"', 400, None),
    "a number": (b"1", 400, None),
    "NaN": (BODY.replace(b'"stream": false', b'"temperature": NaN'), 400, "temperature"),
    "Infinity": (BODY.replace(b'"stream": false', b'"temperature": -Infinity'), 400, "temperature"),
    "invalid UTF-8": (BODY.replace(b"hi", b"\xff\xfe"), 400, None),
    "UTF-16": (BODY.decode().encode("utf-16"), 400, None),
    "a lone surrogate": (BODY.replace(b"hi", rb"\ud800"), 400, None),
    "a name twice": (BODY[:-1] + b', "model": "demo/echo"}', 400, "model"),
    "a name twice, spelled with an escape": (BODY[:-1] + rb', "\u006dodel": "demo/echo"}', 400, "model"),
    "a name twice, deep inside": (BODY[:-1] + b', "x": [{"a": {"b": 1, "b": 2}}]}', 400, "x[0].a.b"),
    "65 levels": (BODY[:-1] + b', "x": ' + b"[" * 65 + b"]" * 65 + b"}", 400, None),
    "9 000 levels": (BODY[:-1] + b', "x": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400, None),
    "open brackets only": (b"[" * 15_000, 400, None),
    "10 000 digits": (BODY[:-1] + b', "seed": ' + b"9" * 10_000 + b"}", 400, None),
    "no model": (b'{"messages": [{"role": "user", "content": "x"}]}', 400, "model"),
    "no messages": (b'{"model": "demo/chat"}', 400, "messages"),
    "empty messages": (b'{"model": "demo/chat", "messages": []}', 400, "messages"),
    "a model that is a number": (BODY.replace(b'"demo/chat?tps=0&ttft_ms=0"', b"7"), 400, "model"),
    "a model that is too long": (BODY.replace(b"demo/chat", b"demo/" + b"x" * 300), 400, "model"),
    "stream as a string": (BODY.replace(b"false", b'"yes"'), 400, "stream"),
    "temperature as a string": (BODY[:-1] + b', "temperature": "hot"}', 400, "temperature"),
    "temperature out of range": (BODY[:-1] + b', "temperature": 3}', 400, "temperature"),
    "n out of range": (BODY[:-1] + b', "n": 1000}', 400, "n"),
    "a role that does not exist": (BODY.replace(b'"user"', b'"king"'), 400, "messages[0].role"),
    "a message without a role": (BODY.replace(b'"role": "user", ', b""), 400, "messages[0].role"),
    "a tool without a name": (BODY[:-1] + b', "tools": [{"type": "function", "function": {}}]}', 400,
                              "tools[0].function.name"),
    "stream_options without stream": (BODY[:-1] + b', "stream_options": {"include_usage": true}}', 400, "stream_options"),
    "a model nobody has": (BODY.replace(b"demo/chat", b"nobody/x"), 404, "model"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_named(served: Served, name: str):
    """400 with the field, in OpenAI's error shape; the connection stays usable."""
    body, status, param = BAD_BODIES[name]
    async with connected(served.port) as connection:
        await connection.send(request("POST", "/v1/chat/completions", body))
        answer = await connection.answer()
        await connection.send(request("GET", "/healthz"))
        after = await connection.answer()
    record = await served.record()

    assert (answer.status, answer.error["param"], after.status) == (status, param, 200)
    assert answer.error["message"]
    assert answer.get("x-streamward-id") == record["id"]
    assert (record["status"], record["ending"], record["code"]) == (status, "refused", answer.error["code"])


async def test_what_only_the_demo_model_refuses_is_named_as_well(served: Served):
    """Another provider may know this word; what providers say of it is not passed on, what ours says is."""
    answer = await ask(served.port, request("POST", "/v1/chat/completions", BODY[:-1] + b', "tool_choice": "bogus"}'))

    assert (answer.status, answer.error["param"]) == (400, "tool_choice")
    assert "bogus" in answer.error["message"]


async def test_near_names_are_offered_for_an_unknown_model(served: Served):
    answer = await ask(served.port, chat_request("demo/chatt"))

    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert "demo/chat" in answer.error["message"]


async def test_a_hostile_body_costs_no_more_than_an_honest_one():
    """Quotes and backslashes that made a scanner try every start: 4 MB are refused in linear time."""
    hostile = {
        "escaped quotes": b"[" * 65 + b'"' + b'\\"' * (2 << 20),
        "brackets": b"[" + b"[]," * (1 << 20) + b"[]]",
        "deep and wide": (b"[" * 63 + b"]" * 63) * (1 << 15),
    }  # fmt: skip
    async with gateway_server(config_text()) as served:
        for name, body in hostile.items():
            started = time.monotonic()
            answer = await ask(served.port, request("POST", "/v1/chat/completions", body))

            assert answer.status == 400, name
            assert time.monotonic() - started < 3, name


async def test_a_stated_length_past_the_limit_is_refused_before_the_body(served: Served):
    async with connected(served.port) as connection:
        await connection.send(POST + length(10 << 30) + b"\r\n")
        answer = await connection.answer()

    assert (answer.status, answer.error["code"], answer.get("connection")) == (413, "content_too_large", "close")


@pytest.mark.parametrize("form", ["stated", "chunked"])
async def test_a_client_that_sends_on_still_reads_the_413(served: Served, form: str):
    """The answer must not be lost to a reset: many clients send the whole body before they read."""
    size = 8 << 20
    async with connected(served.port) as connection:
        await connection.send(POST + (length(size) + b"\r\n" if form == "stated" else CHUNKED))
        piece = b"x" * 65536 if form == "stated" else sized(b"x" * 65536)
        for _ in range(size // 65536):
            await connection.send(piece)
        answer = await connection.answer()

    assert (answer.status, answer.error["code"]) == (413, "content_too_large")
    assert await healthy(served)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_compressed_bodies_are_refused(served: Served, coding: str):
    answer = await ask(
        served.port, request("POST", "/v1/chat/completions", gzip.compress(BODY), {"content-encoding": coding})
    )

    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")


async def test_forms_are_refused(served: Served):
    """A page of another origin can send a form without asking: only JSON is taken."""
    answer = await ask(served.port, request("POST", "/v1/chat/completions", BODY, {"content-type": "text/plain"}))

    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


SLOW = {
    "nothing at all": (b"", None),
    "half a request line": (b"POST /v1/cha", 408),
    "half a head": (POST, 408),
    "no body": (POST + length(50) + b"\r\n", 408),
    "half a body": (POST + length(50) + b"\r\n{", 408),
    "half a chunk": (POST + CHUNKED + b"ff\r\n{", 408),
}


@pytest.mark.parametrize("name", SLOW)
async def test_slow_clients_are_cut_off(served: Served, name: str):
    """Deadlines run over the whole head and the whole body, not from byte to byte."""
    data, status = SLOW[name]
    started = time.monotonic()
    async with connected(served.port) as connection:
        await connection.send(data)
        if status is not None:
            answer = await connection.answer()
            assert (answer.status, answer.error["code"]) == (status, "request_timeout")
        assert await connection.closed()

    assert time.monotonic() - started < 2


@pytest.mark.parametrize("part", ["head", "body"])
async def test_a_byte_now_and_then_does_not_extend_the_deadline(served: Served, part: str):
    start = POST + (b"x-a: " if part == "head" else length(5000) + b"\r\n")
    async with connected(served.port) as connection:
        await connection.send(start)
        answering = asyncio.create_task(connection.answer())
        while not answering.done():
            await asyncio.sleep(0.02)
            try:
                await connection.send(b"y")
            except ConnectionError:
                break
        answer = await answering

    assert answer.status == 408


async def test_an_idle_connection_is_kept_past_the_head_deadline(served: Served):
    """The head's deadline counts from its first byte; between requests the keep-alive time holds."""
    async with connected(served.port) as connection:
        await connection.send(request("GET", "/healthz"))
        first = await connection.answer()
        since = time.monotonic()
        await until(lambda: time.monotonic() - since > 0.9)
        await connection.send(request("GET", "/healthz"))
        second = await connection.answer()

    assert (first.status, second.status) == (200, 200)


async def test_pipelined_requests_are_answered_in_order(served: Served):
    paths = ["/healthz", "/v1/models", "/nowhere", "/v1/models/demo/chat", "/healthz"]
    streamed = chat_request(FAST)
    async with connected(served.port) as connection:
        await connection.send(b"".join(request("GET", path) for path in paths) + streamed + request("GET", "/healthz"))
        answers = [await connection.answer() for _ in range(len(paths) + 2)]

    assert [answer.status for answer in answers] == [200, 200, 404, 200, 200, 200, 200]
    assert answers[-2].frames[-1] == "[DONE]"
    assert answers[-1].json() == {"live": True}


async def test_http_1_0_gets_a_body_that_ends_with_the_connection(served: Served):
    data = chat_request(FAST).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with connected(served.port) as connection:
        await connection.send(data)
        answer = await connection.answer()
        closed = await connection.closed()

    assert (answer.status, answer.get("transfer-encoding"), closed) == (200, None, True)
    assert answer.frames[-1] == "[DONE]"


async def test_head_has_the_fields_of_get_and_no_body(served: Served):
    async with connected(served.port) as connection:
        await connection.send(request("HEAD", "/healthz"))
        head = await connection.answer(bodiless=True)
        await connection.send(request("GET", "/healthz"))
        get = await connection.answer()

    assert (head.status, head.get("content-length")) == (200, str(len(get.body)))


async def test_expect_100_continue_is_answered_before_the_body(served: Served):
    async with connected(served.port) as connection:
        await connection.send(POST + length(len(BODY)) + b"expect: 100-continue\r\n\r\n")
        interim = await connection.head()
        await connection.send(BODY)
        final = await connection.answer()

    assert (interim.status, final.status) == (100, 200)


async def test_expect_100_continue_is_not_answered_for_a_request_that_is_refused(served: Served):
    async with connected(served.port) as connection:
        await connection.send(POST.replace(b"Bearer sw", b"Bearer no") + length(5) + b"expect: 100-continue\r\n\r\n")
        final = await connection.head()

    assert final.status == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1"])
async def test_unknown_hosts_are_refused(served: Served, host: str):
    """DNS rebinding: a page that made its name point to us may not talk to us."""
    answers = [
        await ask(served.port, request("POST", "/v1/chat/completions", BODY, {"host": host})),
        await ask(served.port, request("GET", "/v1/models", None, {"host": host})),
    ]

    assert [(answer.status, answer.error["code"]) for answer in answers] == [(421, "host_not_allowed")] * 2
    assert all(answer.get("x-streamward-id") for answer in answers)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8787", "[::1]:8787", "[::1]"])
async def test_known_hosts_are_served_on_any_port(served: Served, host: str):
    assert (await ask(served.port, request("GET", "/v1/models", None, {"host": host}))).status == 200


async def test_probes_answer_under_any_host(served: Served):
    answers = [await ask(served.port, request("GET", path, None, {"host": "10.1.2.3"}, key=None))
               for path in ("/healthz", "/readyz", "/_streamward/live", "/_streamward/ready")]  # fmt: skip

    assert [answer.status for answer in answers] == [200] * 4


UNAUTHORISED: dict[str, dict[str, str]] = {
    "no key": {},
    "a wrong key": {"authorization": "Bearer sw-wrong"},
    "an empty key": {"authorization": "Bearer "},
    "another scheme": {"authorization": f"Basic {KEY}"},
    "a key without a scheme": {"authorization": KEY},
    "a huge key": {"authorization": "Bearer " + "x" * 8000},
    "SQL": {"authorization": "Bearer ' OR 1=1 --"},
    "a wrong x-api-key": {"x-api-key": "sw-wrong"},
}


@pytest.mark.parametrize("name", UNAUTHORISED)
async def test_without_a_known_key_it_is_401_in_openais_shape(served: Served, name: str):
    fields = UNAUTHORISED[name]
    for data in (
        request("POST", "/v1/chat/completions", BODY, fields, key=None),
        request("GET", "/v1/models", None, fields, key=None),
        request("GET", "/v1/models/demo/chat", None, fields, key=None),
    ):
        answer = await ask(served.port, data)

        assert (answer.status, answer.error["code"], answer.error["type"]) == (401, "invalid_api_key", "authentication_error")
        assert answer.get("www-authenticate") == "Bearer"
        assert answer.get("x-streamward-id")


async def test_x_api_key_is_accepted_too(served: Served):
    answer = await ask(served.port, request("POST", "/v1/chat/completions", BODY, {"x-api-key": KEY}, key=None))

    assert answer.status == 200


ORIGIN = "https://app.example"


@pytest.fixture
async def with_cors() -> AsyncIterator[Served]:
    async with gateway_server(config_text(server=f'cors_origins = ["{ORIGIN}"]')) as served:
        yield served


def preflight(origin: str) -> bytes:
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    return request("OPTIONS", "/v1/chat/completions", None, asked, key=None)


async def test_a_preflight_of_an_allowed_origin_is_granted(with_cors: Served):
    answer = await ask(with_cors.port, preflight(ORIGIN))

    assert (answer.status, answer.get("access-control-allow-origin")) == (204, ORIGIN)
    assert "POST" in (answer.get("access-control-allow-methods") or "")
    assert "authorization" in (answer.get("access-control-allow-headers") or "")
    assert answer.get("access-control-allow-credentials") is None


async def test_a_preflight_of_another_origin_is_not(with_cors: Served):
    answer = await ask(with_cors.port, preflight("https://evil.example"))

    assert answer.get("access-control-allow-origin") is None


CORS_CASES = {
    "a stream": chat_request(FAST, headers={"origin": ORIGIN}),
    "a bad body": request("POST", "/v1/chat/completions", b"x", {"origin": ORIGIN}),
    "no key": request("POST", "/v1/chat/completions", BODY, {"origin": ORIGIN}, key=None),
    "models": request("GET", "/v1/models", None, {"origin": ORIGIN}),
    "models without a key": request("GET", "/v1/models", None, {"origin": ORIGIN}, key=None),
    "an unknown route": request("GET", "/v1/nothing", None, {"origin": ORIGIN}),
}


@pytest.mark.parametrize("name", CORS_CASES)
async def test_answers_and_errors_are_readable_for_an_allowed_origin(with_cors: Served, name: str):
    """Also the errors: a page that cannot read why it failed shows nothing useful."""
    answer = await ask(with_cors.port, CORS_CASES[name])

    assert (answer.get("access-control-allow-origin"), answer.get("vary")) == (ORIGIN, "origin")
    assert "x-streamward-id" in (answer.get("access-control-expose-headers") or "")


async def test_without_a_configured_origin_there_is_no_cors(served: Served):
    answer = await ask(served.port, chat_request(FAST, headers={"origin": ORIGIN}))

    assert answer.get("access-control-allow-origin") is None


ALL_ANSWERS: dict[str, bytes] = {
    "a probe": request("GET", "/healthz"),
    "models": request("GET", "/v1/models"),
    "an unknown route": request("GET", "/v1/nothing"),
    "nothing under /": request("GET", "/nothing"),
    "a preflight": request("OPTIONS", "/v1/chat/completions", None, {"origin": "https://x"}, key=None),
    "a bad head": b"GET /healthz HTTP/1.1\r\n\r\n",
    "a slow head": POST,
    "a plain answer": chat_request(FAST, stream=False),
    "a stream": chat_request(FAST),
}


@pytest.mark.parametrize("name", ALL_ANSWERS)
async def test_every_answer_has_an_id(served: Served, name: str):
    answer: Answer = await ask(served.port, ALL_ANSWERS[name])

    assert (answer.get("x-streamward-id") or "").startswith("sw_")


async def test_a_stream_has_the_fields_that_keep_proxies_from_buffering(served: Served):
    answer = await ask(served.port, chat_request(FAST))

    assert answer.get("content-type") == "text/event-stream; charset=utf-8"
    assert (answer.get("cache-control"), answer.get("x-accel-buffering")) == ("no-cache, no-transform", "no")
    assert (answer.get("content-encoding"), answer.get("content-length")) == (None, None)


async def test_overload_is_503_with_retry_after():
    config = config_text(limits="max_concurrent_streams = 1")
    async with gateway_server(config) as served, connected(served.port) as first:
        await first.send(chat_request("demo/lorem?tps=50&tokens=1000"))
        await first.head()
        answer = await ask(served.port, chat_request(FAST))
        ready = await ask(served.port, request("GET", "/readyz"))

    assert (answer.status, answer.error["code"], answer.get("retry-after")) == (503, "overloaded", "1")
    assert (ready.status, ready.json()["reason"]) == (503, "saturated")
