"""What a linter says: rules, findings, and the report that collects them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol

from msgspec import Struct

from streamward.wire.sse import Frame

MAX_FINDINGS_PER_RULE = 5
"""A rule broken in every frame is broken once for the reader; the report counts the rest."""

Severity = Literal["error", "warning"]
Json = dict[str, Any]


class Rule(Struct, frozen=True):
    """One thing that must hold; ``demand`` is a sentence."""

    name: str
    demand: str
    severity: Severity = "error"
    """A warning breaks some readers, or is against good practice; an error breaks the format."""


class Finding(Struct, frozen=True, omit_defaults=True):
    """A rule broken, where (frame number from 0, or None for the whole stream), and what was there."""

    rule: str
    message: str
    frame: int | None = None


class RuleSet(Protocol):
    """The rules of one layer over the frames of one stream."""

    @property
    def rules(self) -> tuple[Rule, ...]: ...

    def feed(self, number: int, frame: Frame, /) -> Iterable[Finding]:
        """What frame *number* breaks. To be exhausted before the next call."""

    def close(self, *, cut: bool) -> Iterable[Finding]:
        """The body ended; *cut* when it broke off as HTTP sees it."""


class RuleResult(Struct):
    """How one rule did."""

    name: str
    demand: str
    severity: Severity
    broken: int = 0
    findings: list[Finding] = []


class Report:
    """All rules that were looked at, in order, with what broke them."""

    def __init__(self) -> None:
        self.results: dict[str, RuleResult] = {}

    def watch(self, rules: Iterable[Rule]) -> None:
        for rule in rules:
            self.results.setdefault(rule.name, RuleResult(rule.name, rule.demand, rule.severity))

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            result = self.results[finding.rule]
            result.broken += 1
            if len(result.findings) < MAX_FINDINGS_PER_RULE:
                result.findings.append(finding)

    @property
    def broken(self) -> list[RuleResult]:
        return [result for result in self.results.values() if result.broken]

    @property
    def errors(self) -> int:
        return sum(1 for result in self.broken if result.severity == "error")

    @property
    def warnings(self) -> int:
        return sum(1 for result in self.broken if result.severity == "warning")


def as_key(value: Any) -> Any:
    """*value*, which may be anything, so that it can be looked up: an object or an array as its text."""
    return repr(value) if isinstance(value, (dict, list)) else value


def shown(value: Any) -> str:
    """A value in a message: short, and never a whole body."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
