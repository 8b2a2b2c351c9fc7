"""The table of dialects: every one offers the same names, and any two can be joined."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.errors import ErrorInfo, InvalidRequest
from streamward.events import Finish, Start, TextDelta, TextEnd, TextStart, Usage
from streamward.reply import collect, replay
from streamward.wire.chat_completions import Passthrough
from streamward.wire.dialect import Context, Dialect, Profile
from streamward.wire.relay import Transcode
from streamward.wire.table import DIALECTS, decoded, dialect, relay
from support.codec import decode, encode

CONTEXT = Context(id="id_1", model="m", created=7)
EVENTS = [Start("s", "m"), TextStart("0"), TextDelta("0", "Gr\u00fc\u00dfe"), TextDelta("0", "!"), TextEnd("0"),
          Finish("stop", Usage(1, 2))]  # fmt: skip
MEMBERS = [name for name in vars(Dialect) if not name.startswith("_")] + list(Dialect.__annotations__)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_offers_the_names(name: str):
    module = dialect(name)

    assert name == module.NAME
    assert module.MEDIA_TYPE in ("text/event-stream", "application/x-ndjson")
    assert [member for member in MEMBERS if not hasattr(module, member)] == []
    assert module.path("some/model", stream=True).startswith("/")


def test_an_unknown_dialect():
    with pytest.raises(KeyError):
        dialect("carrier_pigeon")


@pytest.mark.parametrize("name", DIALECTS)
def test_requests_and_errors_in_every_dialect(name: str):
    """The same questions have an answer everywhere."""
    module: Any = dialect(name)
    error = module.parse_error(429, b"sk-secret")

    with pytest.raises(InvalidRequest):
        module.parse_request({"messages": 5})
    assert (error.code, error.safe_to_retry, "secret" in error.message) == ("rate_limit_exceeded", True, False)
    assert "what and why" in str(module.render_error(ErrorInfo("c", "what and why")))


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
def test_any_two_dialects(upstream: str, client: str):
    """Text, usage and ending reach the client of any dialect from any other, cut anywhere or not."""
    raw = encode(dialect(upstream), EVENTS)
    for reads in ([raw], [raw[at : at + 3] for at in range(0, len(raw), 3)]):
        stage = relay(upstream, client, Profile(), CONTEXT)

        out = b"".join([*(stage.feed(read) for read in reads), stage.close()])

        reply = collect(decode(dialect(client), out))
        assert (reply.text, reply.finish_reason) == ("Gr\u00fc\u00dfe!", "stop")
        assert stage.usage is not None
        assert (stage.usage.input_tokens, stage.usage.output_tokens) == (1, 2)
        assert (stage.content, stage.ended, stage.error, stage.events > 0) == (True, True, None, True)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
def test_a_broken_stream_looks_finished_to_nobody(upstream: str, client: str):
    encoder = dialect(upstream).Encoder(CONTEXT)
    raw = b"".join(frame for event in EVENTS[:3] for frame in encoder.feed(event))
    stage = relay(upstream, client, Profile(), CONTEXT)

    out = stage.feed(raw) + stage.close()

    reply = collect(decode(dialect(client), out))
    assert (reply.finished, reply.error is not None) == (False, True)
    assert stage.error is not None
    assert (stage.error.code, stage.finish_reason) == ("stream_truncated", None)


@pytest.mark.parametrize("name", DIALECTS)
def test_whole_answers_in_every_dialect(name: str):
    """Rendered and parsed: the same answer."""
    module: Any = dialect(name)
    reply = module.parse_reply(module.render_reply(collect(EVENTS), CONTEXT), Profile())

    assert (reply.text, reply.finish_reason, reply.error) == ("Gr\u00fc\u00dfe!", "stop", None)
    assert collect(replay(reply)).text == reply.text


@pytest.mark.parametrize("name", DIALECTS)
def test_bounds_hold_in_every_dialect(name: str):
    """A line without end is refused at the bound it was given."""
    stage = decoded(name, Profile(), max_event_bytes=1000)
    events = [event for _ in range(20) for event in stage.feed(b'data: {"x' + b"x" * 100)] + stage.close()

    assert collect(events).error == ErrorInfo("content_too_large", events[-1].error.message, 502)  # type: ignore[union-attr]


def test_the_byte_path_is_for_the_same_dialect_only():
    assert isinstance(relay("chat_completions", "chat_completions", Profile(), CONTEXT), Passthrough)
    assert isinstance(relay("chat_completions", "messages", Profile(), CONTEXT), Transcode)
