"""Hypothesis strategies for chunks of Chat Completions, good and spoiled."""

from __future__ import annotations

import json

from hypothesis import strategies as st

WRONG = st.sampled_from([None, 0, -1, 2.5, True, "", "x", [], [3], {}, {"text": 5}, [{}], [None], [[]], 1 << 70])
PARTS = st.lists(
    st.fixed_dictionaries({}, optional={"type": st.sampled_from(["text", "thinking"]), "text": WRONG, "thinking": WRONG}),
    max_size=2,
)
FUNCTIONS = st.fixed_dictionaries(
    {}, optional={"name": st.just("f") | WRONG, "arguments": st.sampled_from(["{", "}", "{}"]) | WRONG}
)
FRAGMENTS = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | WRONG,
        "id": st.sampled_from(["a", "b"]) | WRONG,
        "function": WRONG | FUNCTIONS,
    },
)
CITED = st.fixed_dictionaries({}, optional={"url": st.just("u") | WRONG, "title": WRONG, "start_index": WRONG})
TEXTUAL = {
    "role": st.just("assistant") | WRONG,
    "content": st.text(max_size=3) | WRONG | PARTS,
    "reasoning_content": WRONG,
    "reasoning": st.text(max_size=3) | WRONG,
    "refusal": WRONG,
    "annotations": WRONG | st.lists(st.fixed_dictionaries({}, optional={"url_citation": WRONG | CITED}), max_size=2),
    "reasoning_details": WRONG
    | st.lists(st.fixed_dictionaries({}, optional={"signature": st.just("s") | WRONG, "data": WRONG}), max_size=2),
}
TOOLS = {
    "tool_calls": WRONG | st.lists(FRAGMENTS | WRONG, max_size=3),
    "function_call": WRONG | FUNCTIONS,
}
USAGES = st.fixed_dictionaries({}, optional={"prompt_tokens": st.integers(0, 9) | WRONG, "completion_tokens_details": WRONG})


def chunks(*, tools: bool = True, several: bool = True) -> st.SearchStrategy[bytes]:
    """The data of one frame: a chunk (with *tools*, of *several* choices), ``[DONE]`` or a few bytes of junk."""
    delta = st.fixed_dictionaries({}, optional={**TEXTUAL, **TOOLS} if tools else TEXTUAL)
    index = st.sampled_from([0, 0, 0, 1]) | WRONG if several else st.just(0)
    choice = st.fixed_dictionaries(
        {},
        optional={
            "index": index,
            "delta": delta | WRONG,
            "logprobs": WRONG,
            "finish_reason": st.sampled_from(["stop", "tool_calls", "error"]) | WRONG,
        },
    )
    chunk = st.fixed_dictionaries(
        {},
        optional={
            "id": st.just("c") | WRONG, "model": WRONG, "created": WRONG, "object": st.just("error") | WRONG,
            "choices": st.lists(choice, max_size=2) | WRONG, "error": st.none() | WRONG, "usage": WRONG | USAGES,
            "x_groq": WRONG, "citations": WRONG | st.lists(st.just("u") | WRONG), "service_tier": WRONG,
        },
    )  # fmt: skip
    junk = st.binary(max_size=5).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b""))
    return chunk.map(lambda item: json.dumps(item).encode()) | st.just(b"[DONE]") | junk
