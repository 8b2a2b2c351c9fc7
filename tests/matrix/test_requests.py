"""Every request case of every client dialect, for every upstream dialect: the files, and what must hold for all.

What a target cannot do is a 400 that names it; nothing is dropped in silence.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from matrix.requests import HERE, PAIRS, PNG, REQUESTS, UPSTREAMS, as_file, rendered, request_file

TRIPLES = [(upstream, client, case) for upstream in UPSTREAMS for client, case in PAIRS]
OWN_WORDS = {("responses", "responses", "system")}
"""A dialect keeps its own form on its own kind of target: ``instructions`` beside the input."""

REFUSED = {
    "responses": {"stop", "several_choices"},
    "messages": {"json", "several_choices", "logprobs", "penalties", "audio_in"},
    "generate_content": {"one_tool_only", "several_choices", "logprobs"},
    "ollama": {"image_url", "tools", "one_tool_only", "several_choices", "logprobs", "audio_in"},
}
NAMES = {"responses": "Responses", "messages": "Messages", "generate_content": "Gemini", "ollama": "Ollama"}


def read(upstream: str, client: str, case: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request_file(upstream, client, case).read_text(encoding="utf-8"))
    return body


@pytest.mark.parametrize(("upstream", "client", "case"), TRIPLES)
def test_files_are_what_providers_are_sent(upstream: str, client: str, case: str):
    assert as_file(rendered(upstream, client, case)) == request_file(upstream, client, case).read_text(encoding="utf-8")


def test_there_are_no_other_files():
    found = {path for path in (HERE / "requests").rglob("*") if path.is_file()}

    assert found == {request_file(*triple) for triple in TRIPLES}


@pytest.mark.parametrize("case", REQUESTS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_request_means_the_same_in_every_dialect(upstream: str, case: str):
    """The provider cannot tell in which dialect it was asked."""
    bodies = [read(upstream, client, case) for client in REQUESTS[case] if (upstream, client, case) not in OWN_WORDS]

    assert all(body == bodies[0] for body in bodies)


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_what_a_target_cannot_do_is_a_clear_400(upstream: str):
    """It names the field and the target. Which cases those are is known, and everything else is sent."""
    refusals = {
        case: read(upstream, client, case)["refused"] for client, case in PAIRS if "refused" in read(upstream, client, case)
    }

    assert set(refusals) == REFUSED.get(upstream, set())
    for case, refused in refusals.items():
        assert (refused["status"], refused["code"]) == (400, "unsupported"), case
        assert NAMES[upstream] in refused["message"], case
        assert refused["param"], case


@pytest.mark.parametrize(("upstream", "client", "case"), TRIPLES)
def test_nothing_is_dropped_in_silence(upstream: str, client: str, case: str):
    """The words, the picture, the schema and the calls of a request are in what is sent, wherever the dialect puts them."""
    body = read(upstream, client, case)
    if "refused" in body:
        return
    sent = json.dumps(body)

    for needle in NEEDLES.get(case, ()):
        assert needle in sent or json.dumps(needle)[1:-1] in sent, needle
    assert "provider-model" in sent or upstream == "generate_content"  # there it stands in the path


NEEDLES = {
    "text": ("Hello?", "100", "0.5", "0.9"),
    "system": ("Be brief.", "One.", "Two.", "Three?"),
    "image_data": ("What?", PNG),
    "image_url": ("https://img.test/a.png",),
    "tools": ("Weather?", "get_weather", "Looks it up.", "city"),
    "tool_results": ("Weather?", "get_weather", "Paris", "Oslo", "mild", "cold"),
    "one_tool_only": ("Weather?", "get_weather"),
    "structured": ("Where?", "city"),
    "json": ("Where?",),
    "stop": ("Count.", "four", "five"),
    "effort": ("Think.",),
    "penalties": ("Hello?", "0.5"),
}
