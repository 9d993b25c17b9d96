"""Looks at the samples while the load runs, and says when a threshold is broken beyond doubt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.core.duration import format_duration
from harness.model.load import STEADY
from harness.model.load_spec import Load
from harness.model.threshold import Threshold
from harness.results.samples import SampleTail
from harness.results.series import Series
from harness.slo.breach import SECOND, Course, courses

SCHEMA = 1


class BreachWatch:
    """One run's watch. Nothing is looked at before `grace_ns` of the steady phase is over and its samples are in."""

    def __init__(
        self, thresholds: Sequence[Threshold], load: Load, directory: Path, grace_ns: int, *, facts_only: bool = False
    ) -> None:
        """directory: where the load workers write; facts_only: see `told`."""
        self._tail = SampleTail(directory)
        self._load, self._grace_ns = load, grace_ns
        self._alpha, found = courses(thresholds, load.warmup, load.duration)
        self._courses = _watched(found, facts_only)
        self._seconds: list[dict[int, Series]] = [{} for _ in self._courses]
        self._looks = 0

    def look(self, settled: int) -> dict[str, Any] | None:
        """What evidence/abort.json holds, if a threshold is broken. settled: whole seconds since the origin of which
        nothing is to come any more; what came later is not looked at yet."""
        for record in self._tail.new():
            for course, seconds in zip(self._courses, self._seconds, strict=True):
                threshold = course.watch.threshold
                wanted = record["phase"] == STEADY and record["metric"] == threshold.metric
                if wanted and threshold.tags.items() <= record["tags"].items():
                    seconds.setdefault(record["second"], Series()).add(record)
        if settled * SECOND < self._load.warmup + self._grace_ns:
            return None
        self._looks += 1
        for course, seconds in zip(self._courses, self._seconds, strict=True):
            course.advance(seconds, course.whole(settled))
            for second in [one for one in seconds if one < course.next_second]:
                del seconds[second]
            if course.broken(self._alpha):
                return self._evidence(course)
        return None

    def _evidence(self, course: Course) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "threshold": course.watch.threshold.id,
            "rule": course.watch.rule,
            "look": self._looks,
            "blocks": course.blocks,
            "seconds": course.seconds,
            "samples": course.samples,
            "seen": course.seen,
            "allowed": course.allowed,
            "limit": course.watch.limit,
            "chance": course.chance,
            "alpha": self._alpha,
        }


def _watched(found: list[Course], facts_only: bool) -> list[Course]:
    return [one for one in found if one.watch.rule == "fact" or not facts_only]


def told(thresholds: Sequence[Threshold], load: Load, grace_ns: int, *, facts_only: bool = False) -> str:
    """What a user is told before the load: what is watched, what is not. facts_only: with planned faults misses are not
    spread over the run: many of them early do not tell that the promise on the whole phase is broken, a fact does."""
    _, found = courses(thresholds, load.warmup, load.duration)
    names = {course.watch.threshold.id for course in _watched(found, facts_only)}
    watched = [_name(one) for one in thresholds if one.id in names]
    rest = [_name(one) for one in thresholds if one.id not in names]
    said = f"a breach ends the load, looked for from {format_duration(grace_ns)} of the steady phase on: "
    if grace_ns >= load.duration:
        return said + f"never, the steady phase lasts {format_duration(load.duration)}"
    return said + (", ".join(watched) or "no threshold can be watched") + (f"; not: {', '.join(rest)}" if rest else "")


def _name(threshold: Threshold) -> str:
    return f"{threshold.selector_text} {threshold.condition_text}"
