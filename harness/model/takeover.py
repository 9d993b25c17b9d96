"""Whose arrivals a worker sends when others have died: a part of the rest of their timetables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

NOT_BEGUN = -1
DEATHS_EVIDENCE = "evidence/workers.json"  # {"planned": arrivals, "died": [{"worker", "how", "after_ns", "heirs"}]}


@dataclass(frozen=True, slots=True)
class Step:
    """Of what is due after `after_ns` from the origin, every `of`-th arrival, beginning with number `part`."""

    after_ns: int
    part: int
    of: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Arrivals of worker number `index`'s timetable: all, narrowed down by one step for each death on the way."""

    index: int
    steps: tuple[Step, ...] = ()

    def split(self, after_ns: int, heirs: int) -> list[Claim]:
        """What is due after `after_ns`, dealt to so many heirs in turn."""
        return [Claim(self.index, (*self.steps, Step(after_ns, part, heirs))) for part in range(heirs)]

    def offsets(self, timetable: Callable[[int], Iterator[int]]) -> Iterator[int]:
        """When they are due. timetable: offsets of a worker's arrivals, ascending, by its number."""
        found = timetable(self.index)
        for step in self.steps:
            found = _step(found, step)
        return found

    def as_dict(self) -> dict[str, Any]:
        return {"index": self.index, "steps": [[step.after_ns, step.part, step.of] for step in self.steps]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Claim:
        return cls(stored["index"], tuple(Step(*step) for step in stored["steps"]))


def _step(offsets: Iterator[int], step: Step) -> Iterator[int]:
    return islice((offset for offset in offsets if offset > step.after_ns), step.part, None, step.of)


def settle(claims: Sequence[tuple[Claim, int]], heirs: int) -> list[list[Claim]]:
    """What one that has died had still to send, dealt to its heirs: for each of them, what becomes theirs. claims: each
    with the offset up to which it had dispatched them."""
    dealt = [claim.split(after_ns, heirs) for claim, after_ns in claims]
    return [[shares[heir] for shares in dealt] for heir in range(heirs)]


def progress(batches: Sequence[Sequence[Claim]], offset_ns: int, taken: int, behind_ns: int) -> list[tuple[Claim, int]]:
    """How far a worker had got with each of its claims. batches: its own timetable alone, then what it was given at
    each death; the rest: as its tally says.

    Arrivals are dispatched in order, but for those given that were past due: until those are caught up with, which
    `behind_ns` tells, the last batch is behind the others. What it had not taken over yet it has not begun.
    """
    found, counted = [], 0
    last = 0
    for number, batch in enumerate(batches[1:], 1):
        counted += len(batch)
        if counted <= taken:
            last = number
    for number, batch in enumerate(batches):
        after = NOT_BEGUN if number > last else behind_ns if number == last > 0 and behind_ns >= 0 else offset_ns
        found += [(claim, after) for claim in batch]
    return found
