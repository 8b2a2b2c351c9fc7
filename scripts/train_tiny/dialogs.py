"""Training text: random conversations made of the topics, off-topic questions, tool calls and documents.

A conversation is a list of pieces (text, kind); ``encode`` turns it into tokens and loss weights. Kinds: ``ask`` is
what others say, ``answer`` and ``call`` what the model must say, ``given`` what it will never have to choose (a grammar
or the template puts it there).
"""

from __future__ import annotations

import json
import random
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpe import CONTROL, VISIBLE, Tokenizer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/**/*.md")
DOCUMENT_BYTES = 400_000  # more would crowd the answers out of a short training

WEIGHTS = {"answer": 1.0, "call": 1.5, "ask": 0.0, "given": 0.0, "document": 0.2}
CHOICE = 4  # the first tokens of an answer choose the topic: they are what is hard, and weigh more
CHOICE_WEIGHT = 5.0
OFF_TOPIC = 0.25
JSON_ANSWER = 0.05
TOOLS = 0.25
DOCUMENT = 0.04

Piece = tuple[str, str]
Row = tuple[list[int], list[float], list[int]]  # tokens, weight of predicting each, position of each
Offer = tuple[str, str, dict[str, Any]]  # a tool on offer: its name, its argument, its entry in tools.toml


@dataclass
class Material:
    """All that is learned from, read once."""

    topics: list[dict[str, Any]]
    off: dict[str, Any]
    tools: list[dict[str, Any]]
    after_result: str
    phrases: dict[str, list[str]]
    documents: list[str]

    @classmethod
    def read(cls) -> Material:
        def toml(name: str) -> dict[str, Any]:
            return tomllib.loads((HERE / name).read_text(encoding="utf-8"))

        off = toml("offtopic.toml")
        for key in ("nouns", "places", "verbs"):
            off[key] = [word.strip() for word in off[key].replace("\n", " ").split(",")]
        paths = sorted({path for pattern in DOCUMENTS for path in ROOT.glob(pattern)})
        documents = [text for path in paths if len(text := path.read_text(encoding="utf-8")) > 500]
        while sum(map(len, documents)) > DOCUMENT_BYTES:
            documents.remove(max(documents, key=len))
        topics, tools = toml("topics.toml")["topic"], toml("tools.toml")
        return cls(topics, off, tools["tool"], tools["after_result"], toml("phrases.toml"), documents)

    def texts(self) -> list[str]:
        """Return what the tokenizer is learned from: questions as they are asked, answers, calls, documents."""
        rng = random.Random(1)
        texts = [ask_topic(rng, self, topic) for topic in self.topics for _ in range(80)]
        texts += [ask_off(rng, self) for _ in range(1500)]
        texts += [topic["answer"] for topic in self.topics] * 20 + [self.off["answer"]] * 20
        for _ in range(60):
            definitions, offers = declare(rng, self)
            texts += [text for text, _ in tool_turn(rng, self, offers)] + [json.dumps(definitions)]
        return texts + self.documents


def ask_topic(rng: random.Random, material: Material, topic: dict[str, Any]) -> str:
    ways = [("questions", 3), *((way, 2) for way in ("terms", "actions") if way in topic)]
    way = rng.choices([name for name, _ in ways], [weight for _, weight in ways])[0]
    text = rng.choice(topic[way])
    if way != "questions":
        text = rng.choice(material.phrases["about" if way == "terms" else "action"]).format(t=text)
    return spell(rng, material, text)


def ask_off(rng: random.Random, material: Material) -> str:
    off = material.off
    text = rng.choice(off["questions"])
    for mark, make in (
        ("{n}", lambda: rng.choice(off["nouns"]) if rng.random() < 0.85 else invented(rng)),
        ("{p}", lambda: rng.choice(off["places"]) if rng.random() < 0.7 else invented(rng).title()),
        ("{v}", lambda: rng.choice(off["verbs"])),
        ("{x}", lambda: invented(rng)),
        ("{d}", lambda: str(rng.randrange(10 ** rng.randint(1, 4)))),
    ):
        while mark in text:
            text = text.replace(mark, make(), 1)
    return spell(rng, material, text)


def invented(rng: random.Random) -> str:
    """Return a word that nobody knows, so that unknown words mean "I do not know"."""
    ends = ("", "", "n", "r", "l", "st", "x")
    count = rng.randint(2, 4)
    return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") + rng.choice(ends) for _ in range(count))


def spell(rng: random.Random, material: Material, text: str) -> str:
    """Vary a question as people do: openers, politeness, letter case, marks, a typing mistake."""
    ending = ""
    if text[-1] in "?!.":
        text, ending = text[:-1], text[-1]
    if len(text) > 12:
        before, after = rng.choice(material.phrases["before"]), rng.choice(material.phrases["after"])
        text = (before if rng.random() < 0.6 else "") + text + (after if rng.random() < 0.4 else "")
    shape = rng.random()
    if shape < 0.3:
        text = text.lower()
    elif shape < 0.65:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.08 and len(text) > 8:
        at = rng.randrange(1, len(text) - 2)
        swap = text[at + 1] + text[at] if rng.random() < 0.5 else text[at + 1]
        text = text[:at] + swap + text[at + 2 :]
    return text + (ending if rng.random() < 0.6 else rng.choice(["", "", "?", "."]))


def asked(question: str) -> list[Piece]:
    """A user's message, and the mark that hands the word to the model."""
    return [("<|user|>", "given"), (question, "ask"), ("<|end|>", "given"), ("<|assistant|>", "given")]


def plain_turn(rng: random.Random, material: Material) -> list[Piece]:
    """One question and its answer."""
    if rng.random() < OFF_TOPIC:
        question, answer = ask_off(rng, material), material.off["answer"]
    else:
        topic = rng.choice(material.topics)
        question, answer = ask_topic(rng, material, topic), topic["answer"]
    if rng.random() < JSON_ANSWER:
        return [*asked(question), *json_answer(rng, material), ("<|end|>", "answer")]
    return [*asked(question), (answer, "answer"), ("<|end|>", "answer")]


def json_answer(rng: random.Random, material: Material) -> list[Piece]:
    """A JSON object as a grammar would force it: only the values and where they end are learned."""
    strings = material.phrases["strings"]
    pieces: list[Piece] = [("{", "given")]
    for n, key in enumerate(rng.sample(material.phrases["keys"], rng.randint(1, 4))):
        value = rng.choice([rng.choice(strings), rng.choice(strings), rng.randrange(100), True, [rng.choice(strings)]])
        pieces += [(", " if n else "", "given"), (json.dumps(key), "given"), (":", "given")]
        pieces += [(" " + json.dumps(value), "answer")]
    return [*pieces, ("}", "answer")]


def declare(rng: random.Random, material: Material) -> tuple[list[dict[str, Any]], list[Offer]]:
    """Return one or two tool definitions as they stand in a request, and what they offer."""
    chosen = rng.sample(material.tools, rng.choice([1, 1, 2]))
    offers = [(rng.choice(tool["names"]), rng.choice(tool["argument"]), tool) for tool in chosen]
    definitions = []
    for name, argument, tool in offers:
        parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
        function = {"name": name, "description": tool["description"], "parameters": parameters}
        definitions.append({"type": "function", "function": function})
    return definitions, offers


def tool_turn(rng: random.Random, material: Material, offers: list[Offer]) -> list[Piece]:
    """A request, the call, and often the tool's result with a closing sentence."""
    name, argument, tool = rng.choice(offers)
    value = rng.choice(tool["values"])
    call = json.dumps({"name": name, "arguments": {argument: value}})
    pieces = asked(spell(rng, material, rng.choice(tool["requests"]).format(a=value)))
    pieces += [("<tool_call>", "call"), (call, "call"), ("</tool_call>", "call"), ("<|end|>", "call")]
    if rng.random() < 0.5:
        number = rng.randrange(100)
        result = rng.choice([json.dumps({"result": number}), json.dumps({"text": invented(rng)}), f"sunny, {number} degrees"])
        pieces += [("<|tool|>", "given"), (result, "given"), ("<|end|>", "given"), ("<|assistant|>", "given")]
        pieces += [(material.after_result, "answer"), ("<|end|>", "answer")]
    return pieces


def conversation(rng: random.Random, material: Material, tokenizer: Tokenizer, length: int) -> Row:
    """Return one conversation of several turns, or a piece of a document, of exactly *length* tokens.

    Positions jump between turns in half of them: so far distances are seen without paying for long sequences.
    """
    if material.documents and rng.random() < DOCUMENT:
        text = rng.choice(material.documents)
        start = rng.randrange(max(1, len(text) - 4 * length))
        return fit(encode([(text[start : start + 8 * length], "document")], tokenizer), tokenizer, length)
    offers: list[Offer] = []
    head: list[Piece] = []
    system = rng.choice(material.phrases["system"]) if rng.random() < 0.3 else ""
    if rng.random() < TOOLS:
        definitions, offers = declare(rng, material)
        system = (system + "\n" if system else "") + "Tools:\n" + "".join(json.dumps(tool) + "\n" for tool in definitions)
    if system:
        head = [("<|system|>", "given"), (system, "given"), ("<|end|>", "given")]
    tokens, weights, positions = encode(head, tokenizer)
    spread = rng.random() < 0.5
    while len(tokens) < length:
        use_tool = offers and rng.random() < 0.7
        more = encode(tool_turn(rng, material, offers) if use_tool else plain_turn(rng, material), tokenizer)
        start = (positions[-1] + 1 if positions else 0) + (rng.randrange(400) if spread and positions else 0)
        tokens += more[0]
        weights += more[1]
        positions += [start + position for position in more[2]]
    return tokens[:length], weights[:length], positions[:length]


def opening(rng: random.Random, material: Material, tokenizer: Tokenizer, length: int) -> Row:
    """Return a first question with the beginning of its answer: cheap practice in choosing the topic."""
    return fit(encode(plain_turn(rng, material), tokenizer), tokenizer, length)


def fit(row: Row, tokenizer: Tokenizer, length: int) -> Row:
    """Cut *row* to *length* tokens or fill it up with ones that teach nothing."""
    tokens, weights, _ = row
    missing = max(0, length - len(tokens))
    filler = [tokenizer.special("<|end|>")] * missing
    return (tokens + filler)[:length], (weights + [0.0] * missing)[:length], list(range(length))


def encode(pieces: list[Piece], tokenizer: Tokenizer) -> Row:
    """Return the pieces as tokens, with the weight of predicting each and positions from zero."""
    tokens: list[int] = []
    weights: list[float] = []
    for text, kind in pieces:
        special = text in CONTROL or text in VISIBLE
        ids = [tokenizer.special(text)] if special else tokenizer.encode(text)
        chosen = CHOICE if kind == "answer" and len(ids) > CHOICE else 0
        tokens += ids
        weights += [CHOICE_WEIGHT] * chosen + [WEIGHTS[kind]] * (len(ids) - chosen)
    return tokens, weights, list(range(len(tokens)))
