"""The value of an objective out of what the store said: the worst of its series, or the share of good events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.outcome import Outcome
from harness.model.openslo_objective import Objective
from harness.model.threshold import holds
from harness.slo.estimates import Estimate, share_estimate
from harness.slo.objectives_raw import NoData
from harness.slo.objectives_wording import encode
from harness.slo.statistics.confidence import TAIL
from harness.slo.statistics.dependence import MOST_BLOCKS
from harness.slo.statistics.shares import Interval, share_interval

AT_THE_END = "at the end of the steady phase"
Points = Sequence[Mapping[str, Any]]


def by_counter(objective: Objective, role: str) -> bool:
    """Whether the raw samples of a counter stand for the query of `role`."""
    return objective.counter and objective.queries[role].counter is not None


def all_by_counter(objective: Objective) -> bool:
    """Whether it is a ratio of events that were counted one by one."""
    return objective.kind == "ratio" and all(by_counter(objective, role) for role in objective.queries)


def part_of(objective: Objective) -> str:
    """What a ratio has beside its total."""
    return "good" if "good" in objective.queries else "bad"


def worst(points: Points, operator: str, target: float, when: str = AT_THE_END) -> tuple[float, str]:
    """The value furthest from holding, and which series it was if there are several. Raises NoData."""
    if not points:
        raise NoData(f"the query gave no series {when}")
    finite = [(float(p["value"]), p["labels"]) for p in points if math.isfinite(float(p["value"]))]
    upward = operator in ("<", "<=")
    finite.sort(key=lambda point: ((-point[0] if upward else point[0]), sorted(point[1].items())))
    broken = len(points) - len(finite)
    # A series that fails is a failure whatever the others are; none may pass while one has no number.
    if broken and (not finite or holds(finite[0][0], operator, target)):
        value = next(p["value"] for p in points if not math.isfinite(float(p["value"])))
        of = f"{broken} of {len(points)} series" if len(points) > 1 else "the query"
        why = "0/0?" if value == "NaN" else "a division by 0, or a raw ratio that is not between 0 and 1?"
        raise NoData(f"{of} gave {value} {when}: nothing was measured there ({why})")
    value, labels = finite[0]
    named = ",".join(f'{name}="{text}"' for name, text in sorted(labels.items()))
    return value, f"worst of {len(points)} series, {{{named}}}" if len(points) > 1 else ""


def summed(role: str, points: Points, when: str = AT_THE_END) -> float:
    """What a query of a ratio gave, over its series. Raises NoData."""
    if not points:
        raise NoData(f"the {role} query gave no series {when}")
    value = math.fsum(float(point["value"]) for point in points)
    if not math.isfinite(value):
        raise NoData(f"the {role} query gave {encode(value)} {when}")
    return value


def ratio(part: str, some: float, total: float, when: str = "in the steady phase") -> tuple[float, str]:
    """The share of good events, and the two counts. part: good | bad, what `some` counts. Raises NoData."""
    if total == 0:
        raise NoData(f"0/0: the total did not move {when}, there was no event to judge")
    if not 0 <= some <= total * (1 + 1e-9):
        raise NoData(
            f"{part} is {some:.6g} and total {total:.6g}: the two queries do not count the same events", Outcome.ERROR
        )
    good = min(some, total) if part == "good" else max(0.0, total - some)
    return good / total, f"{good:.6g} of {total:.6g}"


def share_here(good: float, total: float) -> Estimate:
    """The share of good events in one window, each counted by itself. Bursts do not widen its interval: within the
    window they are what is looked for, and where the chance differs from moment to moment the sum scatters less
    (W. Hoeffding, Annals of Mathematical Statistics 27 (1956) 713)."""

    def interval_at(times: float = 1.0, tail: float = TAIL) -> Interval:
        return share_interval(good * times, total * times, total * times, tail)

    return Estimate(good / total, interval_at)


def share(part: str, some: Sequence[float], total: Sequence[float]) -> Estimate:
    """The share of good events with its interval, from what was counted at each scrape."""
    stretch = max(1, math.ceil(len(total) / MOST_BLOCKS))
    every = [math.fsum(total[at : at + stretch]) for at in range(0, len(total), stretch)]
    events = [math.fsum(some[at : at + stretch]) for at in range(0, len(some), stretch)]
    if part == "bad":
        events = [whole - one for whole, one in zip(every, events, strict=True)]
    return share_estimate(events, every)
