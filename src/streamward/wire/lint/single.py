"""Rules of the dialects whose frames are whole answers in small: Gemini's ``streamGenerateContent`` and Ollama's lines."""

from __future__ import annotations

from collections.abc import Iterator

from streamward.wire.lint.finding import Finding, Rule, as_key, shown
from streamward.wire.lint.values import parsed
from streamward.wire.sse import Frame

GEMINI_RULES = (
    Rule("gemini-json", "every frame is a GenerateContentResponse: candidates, a blocked prompt, or usage"),
    Rule("gemini-parts", "content has a role and an array of parts"),
    Rule("gemini-finish", "each candidate finishes once and says nothing after it"),
    Rule("gemini-usage", "the last frame has usageMetadata", "warning"),
    Rule("gemini-same-id", "responseId and modelVersion never change", "warning"),
    Rule("gemini-terminal", "a finishReason, a block reason or an error ends the stream"),
)
OLLAMA_RULES = (
    Rule("ollama-json", "every line is a JSON object with model, created_at and done"),
    Rule("ollama-message", "lines of /api/chat have a message with role assistant"),
    Rule("ollama-done", "done is true on the last line only, with done_reason and counts"),
    Rule("ollama-error", "an error is a string, on the last line"),
    Rule("ollama-terminal", "a line with done: true, or an error, ends the stream"),
)


class GeminiRules:
    """Checks one stream."""

    rules = GEMINI_RULES

    def __init__(self) -> None:
        self.finished: set[int] = set()
        self.ended = False
        self.usage = False
        self.ids: dict[str, object] = {}

    def feed(self, number: int, frame: Frame) -> Iterator[Finding]:
        value = parsed(frame.data)
        if not isinstance(value, dict) or not value.keys() & {"candidates", "promptFeedback", "usageMetadata", "error"}:
            yield Finding("gemini-json", shown(frame.data[:60]), number)
            return
        for name in ("responseId", "modelVersion"):
            if name in value and self.ids.setdefault(name, value[name]) != value[name]:
                yield Finding("gemini-same-id", f"{name} changes to {shown(value[name])}", number)
        self.usage = "usageMetadata" in value
        feedback = value.get("promptFeedback")
        if "error" in value or (isinstance(feedback, dict) and feedback.get("blockReason")):
            self.ended = True
        candidates = value.get("candidates")
        for at, candidate in enumerate(candidates if isinstance(candidates, list) else ()):
            if not isinstance(candidate, dict):
                yield Finding("gemini-json", "a candidate that is no object", number)
                continue
            index = as_key(candidate.get("index", at))
            content = candidate.get("content")
            parts = content.get("parts") if isinstance(content, dict) else None
            if content is not None and (not isinstance(content, dict) or not isinstance(parts or [], list)):
                yield Finding("gemini-parts", shown(content), number)
            if index in self.finished and (parts or candidate.get("finishReason")):
                yield Finding("gemini-finish", f"candidate {index} goes on after its finishReason", number)
            if candidate.get("finishReason"):
                self.finished.add(index)
                self.ended = True

    def close(self, *, cut: bool) -> Iterator[Finding]:
        if not self.ended:
            how = "broke off" if cut else "ended"
            yield Finding("gemini-terminal", f"the body {how} without one")
        elif not self.usage and self.finished:
            yield Finding("gemini-usage", "it has none")


class OllamaRules:
    """Checks one stream."""

    rules = OLLAMA_RULES

    def __init__(self) -> None:
        self.terminal = ""

    def feed(self, number: int, frame: Frame) -> Iterator[Finding]:
        value = parsed(frame.data)
        if self.terminal:
            yield Finding("ollama-done", f"a line follows {self.terminal}", number)
        if isinstance(value, dict) and "error" in value:
            self.terminal = "an error"
            if not isinstance(value["error"], str):
                yield Finding("ollama-error", "error is not a string", number)
            return
        if not isinstance(value, dict) or not {"model", "created_at", "done"} <= value.keys():
            yield Finding("ollama-json", shown(frame.data[:60]), number)
            return
        message = value.get("message")
        if "response" not in value and (not isinstance(message, dict) or message.get("role") != "assistant"):
            yield Finding("ollama-message", shown(message), number)
        if value["done"] is True:
            self.terminal = "done: true"
            missing = [name for name in ("done_reason", "prompt_eval_count", "eval_count") if name not in value]
            if missing:
                yield Finding("ollama-done", f"without {', '.join(missing)}", number)

    def close(self, *, cut: bool) -> Iterator[Finding]:
        if not self.terminal:
            how = "broke off" if cut else "ended"
            yield Finding("ollama-terminal", f"the body {how} without one")
