"""Every upstream case in every client dialect: the files, what they mean, and what happens when they are cut.

The files are golden: a change of theirs is a change of what clients get, and is looked at as such
(``python -m matrix.update`` writes them). The rules below hold for every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from matrix.render import (
    CLIENTS,
    HERE,
    LLM_CLIENTS,
    PAIRS,
    UPSTREAMS,
    client_file,
    events_of,
    expected,
    make_relay,
    meaning,
    render,
    understood,
    upstream_file,
)
from matrix.upstreams import BUILDERS, CASES
from streamward.events import Finish
from streamward.grammar import violations
from streamward.wire.lint import Capture, Read, lint
from streamward.wire.lint.finding import Finding

TRIPLES = [(client, upstream, case) for client in CLIENTS for upstream, case in PAIRS]
EXCUSED = {
    ("responses", "no_usage"): {"responses-terminal"},  # there is none, and none is made up
}
MARKERS = {
    "chat_completions": b"data: [DONE]", "responses": b"response.completed", "messages": b"message_stop",
    "ui_message": b'"finishReason":"stop"', "data_stream": b'd:{"finishReason":"stop"',
}  # fmt: skip


def problems(client: str, out: bytes) -> list[Finding]:
    """Broken rules of *client*'s dialect, warnings left out."""
    results = lint(Capture(dialect=client, reads=[Read(0.0, out)]), client).report.results.values()
    return [finding for result in results if result.severity == "error" for finding in result.findings]


# -- the files


@pytest.mark.parametrize(("upstream", "case"), PAIRS)
def test_upstream_files_are_what_the_builders_say(upstream: str, case: str):
    assert upstream_file(upstream, case).read_bytes() == BUILDERS[upstream](CASES[case])


@pytest.mark.parametrize(("client", "upstream", "case"), TRIPLES)
def test_client_files_are_what_clients_get(client: str, upstream: str, case: str):
    raw = upstream_file(upstream, case).read_bytes()

    assert render(client, upstream, [raw]) == client_file(client, upstream, case).read_bytes()


def test_there_are_no_other_files():
    wanted = {upstream_file(*pair) for pair in PAIRS} | {client_file(*triple) for triple in TRIPLES}
    found = {path for folder in ("upstream", "clients") for path in (HERE / folder).rglob("*") if path.is_file()}

    assert found == wanted


def test_every_dialect_has_every_case_it_has_words_for():
    """What is left out is left out by a builder, with its reason; and that is little."""
    missing = {(upstream, case) for upstream in UPSTREAMS for case in CASES} - set(PAIRS)

    assert missing == {
        ("responses", "no_usage"), ("messages", "no_usage"), ("messages", "filtered"),
        ("generate_content", "refusal"), ("generate_content", "error_in_tool"),
        ("ollama", "refusal"), ("ollama", "filtered"), ("ollama", "error_in_tool"),
    }  # fmt: skip


# -- what they mean


@pytest.mark.parametrize(("upstream", "case"), PAIRS)
def test_every_upstream_says_the_same(upstream: str, case: str):
    """Decoded, a case is the same whoever said it, and obeys the grammar."""
    raw = upstream_file(upstream, case).read_bytes()

    assert meaning(upstream, raw) == understood(upstream, case)
    assert violations(events_of(upstream, [raw])) == []


@pytest.mark.parametrize(("client", "upstream", "case"), TRIPLES)
def test_every_client_understands_the_same(client: str, upstream: str, case: str):
    """Text, reasoning, refusals, calls, arguments, finish reason, usage and failure arrive, however they were said."""
    out = client_file(client, upstream, case).read_bytes()

    assert meaning(client, out) == expected(client, upstream, case)


@pytest.mark.parametrize(("client", "upstream", "case"), TRIPLES)
def test_no_rule_of_the_dialect_is_broken(client: str, upstream: str, case: str):
    found = problems(client, client_file(client, upstream, case).read_bytes())

    assert {finding.rule for finding in found} == EXCUSED.get((client, case), set()), found


@pytest.mark.parametrize(("client", "upstream", "case"), TRIPLES)
def test_failures_never_look_finished(client: str, upstream: str, case: str):
    """No end marker where the stream did not finish, one where it did; a truncation is told by its name."""
    out = client_file(client, upstream, case).read_bytes()
    if client == "responses" and understood(upstream, case).finish in ("length", "content-filter"):
        marker = b"response.incomplete"
    elif client in ("ui_message", "data_stream") and CASES[case].finish is not None:
        marker = b'"finishReason":"%b"' % (understood(upstream, case).finish or "").encode()
    else:
        marker = MARKERS[client]

    assert (marker in out) == (CASES[case].finish is not None)
    if case == "truncated" and client in ("chat_completions", "responses"):
        assert b"stream_truncated" in out


# -- cuts


def cut_into(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize(("upstream", "case"), PAIRS)
def test_cuts_change_nothing(upstream: str, case: str, size: int):
    """Reads of any size give the same events, and every client the same bytes."""
    raw = upstream_file(upstream, case).read_bytes()
    reads = cut_into(raw, size)

    assert events_of(upstream, reads) == events_of(upstream, [raw])
    if size != 2:
        for client in CLIENTS:
            assert render(client, upstream, reads) == client_file(client, upstream, case).read_bytes(), client


@pytest.mark.parametrize("case", ["text", "parallel_tools"])
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_one_cut_anywhere_changes_nothing(upstream: str, case: str):
    raw = upstream_file(upstream, case).read_bytes()
    whole = events_of(upstream, [raw])

    for at in range(1, len(raw)):
        assert events_of(upstream, [raw[:at], raw[at:]]) == whole, f"cut at {at}"


def ends_of_frames(raw: bytes) -> Iterator[int]:
    """After every frame, and in the middle of every frame."""
    at = 0
    for line in raw.split(b"\n"):
        yield at + len(line) // 2
        at += len(line) + 1
        yield min(at, len(raw))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("upstream", "case"), PAIRS)
def test_a_truncation_is_never_a_success(client: str, upstream: str, case: str):
    """Cut off anywhere, a stream ends well-formed and failed, until its end marker was whole: then it is finished."""
    raw = upstream_file(upstream, case).read_bytes()
    for at in sorted(set(ends_of_frames(raw))):
        events = events_of(upstream, [raw[:at]])
        finished = isinstance(events[-1], Finish)
        out = render(client, upstream, [raw[:at]])
        said = meaning(client, out)

        assert (said.error is None) == finished, f"at {at}"
        if not finished:
            assert said.finish in (None, "error", "unknown"), f"at {at}: {said}"
    assert CASES[case].finish is None or finished


@pytest.mark.parametrize("client", LLM_CLIENTS)
@pytest.mark.parametrize(("upstream", "case"), PAIRS)
def test_a_relay_says_how_its_stream_ended(client: str, upstream: str, case: str):
    """What is booked is what was told: the reason, the error, the tokens."""
    relay = make_relay(client, upstream)
    relay.feed(upstream_file(upstream, case).read_bytes())
    if not relay.ended:
        relay.close()
    said = understood(upstream, case)

    assert relay.error is None if said.error is None else relay.error is not None and relay.error.code == said.error
    if said.finish is not None:
        assert relay.finish_reason in (said.finish, said.finish.replace("-", "_"))
        usage = relay.usage
        assert (said.usage is None) == (usage is None)
        assert usage is None or (usage.input_tokens, usage.output_tokens) == said.usage
