"""The golden streams of Chat Completions, with the profile each is read with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from streamward.events import Event
from streamward.upstream.providers import PROVIDERS
from streamward.wire.dialect import Profile

GOLDEN = Path(__file__).parents[1] / "wire" / "chat_completions" / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.sse"))
decode_event = msgspec.json.Decoder(Event).decode


def raw(name: str) -> bytes:
    return (GOLDEN / f"{name}.sse").read_bytes()


def profile(name: str) -> Profile:
    """That of the provider the file is named for, else the reference."""
    provider = PROVIDERS.get(name.partition("_")[0])
    return provider.profile if provider is not None else Profile()


def expected(name: str) -> list[Event]:
    """The events in ``NAME.events``, one as JSON on each line."""
    return [decode_event(line) for line in (GOLDEN / f"{name}.events").read_text("utf-8").split("\n") if line]


def finished_from(name: str) -> int:
    """How many bytes it takes until the stream has said that it is finished; past its end for one that never says so."""
    stream = raw(name)
    if profile(name).ends_with == "finish":
        at = max(stream.rfind(b'"finish_reason":"stop"'), stream.rfind(b'"finish_reason":"length"'))
        return stream.index(b"\r" if b"\r" in stream else b"\n", at) + 1
    if b'"error"' in stream or b'"abort"' in stream:
        return len(stream) + 1
    return stream.index(b"[DONE]") + len(b"[DONE]\n")
