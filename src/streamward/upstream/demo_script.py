"""What the demo model says. It never pretends to be more than a script."""

from __future__ import annotations

from typing import Any

SPEECH: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (),
        "I am **demo/chat**, a simulated model: I follow a script, I do not think. But every token you see travels the "
        "real road: gateway, relay, server-sent events, your screen.\n\n"
        "Ask me about *streaming*, *resuming*, *tools* or *errors*, or add a provider key to talk to a real model."
        "\n---\n"
        "Hello from the script inside **streamward**. No model runs behind `demo/chat`, and no key was needed; what is real "
        "is the stream. Try `demo/fail` to see how a broken stream tells the truth about its ending.",
    ),
    (
        ("resum", "reconnect", "lost"),
        "A durable stream is numbered frame by frame. When a client comes back it says which frame it kept last, and gets "
        "the next one: none lost, none twice. (I am a script, but the mechanism is not.)",
    ),
    (
        ("stream", "sse", "token"),
        "Streaming sends each piece of an answer as soon as it exists:\n\n"
        "1. the client posts with `\"stream\": true`,\n"
        "2. the server answers `text/event-stream`,\n"
        "3. every token leaves as one `data:` line,\n"
        "4. the finish reason and `data: [DONE]` say that it is complete.\n\n"
        "```bash\ncurl -N http://127.0.0.1:8787/v1/chat/completions \\\n  -H 'content-type: application/json' \\\n"
        "  -d '{\"model\": \"demo/chat\", \"stream\": true,\n"
        "       \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}'\n```\n\n"
        "(This is a scripted answer from the demo model.)",
    ),
    (
        ("tool", "function"),
        "Use `demo/tools` and send a tool: the demo calls your first one with example arguments that fit its schema, in "
        "fragments, as real models do. Send the result back and it says what it got.",
    ),
    (
        ("error", "fail", "broken"),
        "Try `demo/fail?fail_with=reset&fail_after=5`. You will see five tokens and then an honest error: a stream that "
        "was cut never looks finished. (Scripted, like all of `demo/*`.)",
    ),
    (
        ("hello", "hi ", "hey", "good morning"),
        "Hello! I am `demo/chat`, a scripted stand-in for a model. Ask me how streaming works.",
    ),
)  # fmt: skip

THOUGHTS = (
    "The user asked something. I am a script, so my reasoning is written down beforehand: recognise a keyword, pick the "
    "matching answer, send it piece by piece."
)

LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat."
)

WORDS = ("Lisbon", "amber", "river", "delta", "willow", "quartz", "ember", "harbor")
MAX_DEPTH = 8  # recursive schemas end here
MAX_ITEMS = 8
MAX_NODES = 1000  # a schema of nested arrays would ask for millions of values


def example_for(schema: dict[str, Any], seed: int) -> Any:
    """A value that fits *schema* (the common part of JSON Schema), the same for the same seed."""
    return Example().value(schema, seed, 0)


class Example:
    """Builds one example; ``nodes`` counts its values against MAX_NODES. What a schema says oddly is passed over."""

    def __init__(self) -> None:
        self.nodes = 0

    def value(self, schema: Any, seed: int, depth: int) -> Any:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES or not isinstance(schema, dict):
            return None
        if "const" in schema:
            return schema["const"]
        choices = schema.get("enum")
        if isinstance(choices, list) and choices:
            return choices[seed % len(choices)]
        for union in ("anyOf", "oneOf"):
            branches = schema.get(union)
            if isinstance(branches, list) and branches:
                return self.value(branches[0], seed, depth + 1)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        properties = schema.get("properties")
        if kind == "object" or isinstance(properties, dict):
            properties = properties if isinstance(properties, dict) else {}
            return {name: self.value(part, seed + i, depth + 1) for i, (name, part) in enumerate(properties.items())}
        if kind == "array":
            return self.array(schema, seed, depth)
        if kind == "integer":
            least = int(number(schema, "minimum", min(1, int(number(schema, "maximum", 1)))))
            return max(least, min(least + seed % 3, int(number(schema, "maximum", least + 2))))
        if kind == "number":
            low = float(number(schema, "minimum", min(0, number(schema, "maximum", 0))))
            return max(low, min(low + 0.5, float(number(schema, "maximum", low + 0.5))))
        if kind == "boolean":
            return seed % 2 == 0
        if kind == "null":
            return None
        if kind == "string":
            return WORDS[seed % len(WORDS)]
        return {"answer": WORDS[seed % len(WORDS)], "simulated": True}

    def array(self, schema: dict[str, Any], seed: int, depth: int) -> list[Any]:
        items = schema.get("items")
        most = min(int(number(schema, "maxItems", MAX_ITEMS)), MAX_ITEMS)
        count = min(max(int(number(schema, "minItems", 2)), 0), most)
        return [self.value(items if isinstance(items, dict) else {}, seed + i, depth + 1) for i in range(count)]


def number(schema: dict[str, Any], key: str, default: float) -> float:
    """The number at *key*; *default* if there is none, or a monstrous one."""
    value: Any = schema.get(key)
    return value if type(value) in (int, float) and abs(value) < 1e15 else default
