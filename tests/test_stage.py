"""Stages: how they are run and composed."""

from __future__ import annotations

from streamward.stage import Pipe, run


class Pairs:
    """Gives items two at a time, and at the end what is left."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.closed = 0

    def feed(self, item: str) -> list[str]:
        self.held.append(item)
        if len(self.held) < 2:
            return []
        out, self.held = ["".join(self.held)], []
        return out

    def close(self) -> list[str]:
        self.closed += 1
        return ["".join(self.held)] if self.held else []


def test_run_feeds_all_and_closes():
    assert run(Pairs(), "abcde") == ["ab", "cd", "e"]
    assert run(Pairs(), "") == []


def test_a_pipe_feeds_the_second_stage_with_the_first():
    """In order, and what the first held back passes through the second before that is closed."""
    first, second = Pairs(), Pairs()

    assert run(Pipe(first, second), "abcdefg") == ["abcd", "efg"]
    assert (first.closed, second.closed) == (1, 1)


def test_pipes_nest():
    assert run(Pipe(Pipe(Pairs(), Pairs()), Pairs()), "abcdefghi") == ["abcdefgh", "i"]


def test_nothing_is_held_that_could_go_out():
    pipe = Pipe(Pairs(), Pairs())

    assert [pipe.feed(item) for item in "abcd"] == [[], [], [], ["abcd"]]
    assert pipe.close() == []
