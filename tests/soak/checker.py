"""The judge: what a reader may have received, and what a stream's ending may say.

It knows the text the provider sends, which workers were killed or told to stop, and nothing of the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from soak.upstream import Model
from soak.wire import Frame, frame

FAULT_CODES = frozenset({"upstream_reset", "stream_truncated"})
INTERRUPTED = "stream_interrupted"
SHUTDOWN = "server_shutdown"


@dataclass
class Log:
    """What one reader has received over all its connections."""

    dialect: str
    frames: list[Frame] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return bool(self.frames) and self.frames[-1].last

    @property
    def cursor(self) -> int:
        """The number of the last whole frame, -1 before the first."""
        return next((one.number for one in reversed(self.frames) if one.number is not None), -1)

    @property
    def text(self) -> str:
        return "".join(one.text for one in self.frames)

    @property
    def error(self) -> str:
        return next((one.error for one in self.frames if one.error), "")

    @property
    def finished(self) -> bool:
        return any(one.finished for one in self.frames)

    def take(self, raw: bytes) -> None:
        """One block, in the order of arrival."""
        try:
            one = frame(self.dialect, raw)
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            self.problems.append(f"not a frame: {raw[:120]!r} ({exc!r})")
            return
        if self.over:
            self.problems.append(f"a frame after the ending: {raw[:80]!r}")
        wanted = self.cursor + 1
        if one.number is None:
            if self.dialect != "responses" or not one.last:
                self.problems.append(f"a frame without a number: {raw[:80]!r}")
        elif one.number > wanted:
            self.problems.append(f"lost: {one.number} came where {wanted} is next")
        elif one.number < wanted:
            self.problems.append(f"repeated: {one.number} came where {wanted} is next")
        self.frames.append(one)


@dataclass
class Fates:
    """What was done to the workers, by port; every start has a port of its own."""

    killed: set[int] = field(default_factory=set)
    stopped: set[int] = field(default_factory=set)


def judge(log: Log, model: Model, homes: set[int], fates: Fates) -> list[str]:
    """What is wrong with a stream that was read to its end; *homes* are the workers that may have produced it."""
    found = list(log.problems)
    if not log.over:
        return [*found, f"no ending after {len(log.frames)} frames"]
    endings = sum(one.finished for one in log.frames) + sum(bool(one.error) for one in log.frames)
    if endings != 1:
        found.append(f"{endings} endings instead of one")
    said = model.said()
    if log.finished:
        if model.fault:
            found.append("finished, though the provider broke off")
        if log.text != said:
            found.append(f"finished with {len(log.text)} of {len(said)} characters, or others")
        usage = [one.output_tokens for one in log.frames if one.output_tokens is not None]
        if not usage or usage[-1] != model.tokens:
            found.append(f"finished with usage {usage[-1:]} instead of {model.tokens}")
        return found
    if not said.startswith(log.text):
        found.append("the text is not a prefix of what the provider said")
    if log.error in FAULT_CODES:
        if not model.fault:
            found.append(f"{log.error}, though the provider did not break off")
        elif log.text != said:
            found.append(f"{log.error} with {len(log.text)} of the {len(said)} characters that came before")
    elif log.error == INTERRUPTED:
        if not homes & fates.killed:
            found.append(f"interrupted, though its worker {'was only stopped' if homes & fates.stopped else 'lives'}")
    elif log.error == SHUTDOWN:
        if not homes & fates.stopped:
            found.append("server_shutdown, though its worker was not stopped")
    else:
        found.append(f"ended with an unexpected error: {log.error!r}")
    return found


def same(log: Log, other: Log, who: str) -> list[str]:
    """What another reader of the same stream received otherwise."""
    if [one.raw for one in log.frames] == [one.raw for one in other.frames]:
        return []
    pairs = zip(log.frames, other.frames, strict=False)
    place = next((index for index, (mine, its) in enumerate(pairs) if mine.raw != its.raw), None)
    where = f"differs at frame {place}" if place is not None else f"has {len(other.frames)} of {len(log.frames)} frames"
    return [f"{who} {where}", *other.problems]
