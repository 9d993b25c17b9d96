"""Were the faults of a run in force when they were to be, and undone afterwards? What was measured under one that was
not there proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.phases import Phase

FAULTS_EVIDENCE = "evidence/faults.json"
SCHEMA = 1
LEAST = 0.9  # share of its time that a fault must have been in force
TO_BE_SEEN_NS = 1_000_000_000  # that it may take to be seen in force, and is not of its time
_SOURCE = "fault"


def judge_faults(
    planned: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any] | None, steady: Phase
) -> list[Finding]:
    """One finding for each planned fault. planned: of plan.json; evidence: FAULTS_EVIDENCE; steady: as it was."""
    told = {one["id"]: one for one in evidence["faults"]} if evidence is not None else {}
    return [_judge(one["id"], one, told.get(one["id"]), steady) for one in planned]


def not_judged_faults(planned: Iterable[Mapping[str, Any]], outcome: Outcome, reason: str) -> list[Finding]:
    """The faults of a run that ended before any load."""
    return [Finding(f"faults/{one['id']}", _SOURCE, outcome, reason=reason, slug="not-collected") for one in planned]


def _judge(name: str, planned: Mapping[str, Any], told: Mapping[str, Any] | None, steady: Phase) -> Finding:
    identity, evidence = f"faults/{name}", {FAULTS_EVIDENCE: name}
    if told is None:
        reason = "the run ended before it was due, or left no evidence of it"
        return Finding(identity, _SOURCE, Outcome.NO_DATA, reason=reason, slug="not-collected")
    begin, end = told["planned"]["begin"]["offset_ns"], told["planned"]["end"]["offset_ns"]
    if (error := told["error"]) is not None:
        outcome = Outcome(error["outcome"])
        reason = f"{error['cause']}; remedy: {error['remedy']}"
        refused = Outcome.ERROR if outcome is Outcome.USAGE else outcome
        return Finding(identity, _SOURCE, refused, reason=reason, slug=error["slug"], evidence=evidence)
    if told["in_force"] is None:
        if told["cut"]:
            reason = f"the load was ended before it was due, {_at(begin, steady)} of the steady phase"
            return Finding(identity, _SOURCE, Outcome.INCONCLUSIVE, reason=reason, slug="cut-short", evidence=evidence)
        return Finding(identity, _SOURCE, Outcome.NO_DATA, reason="it was never seen in force", slug="not-collected",
                       evidence=evidence)  # fmt: skip
    if told["undone"] is None:
        reason = "it was in force, and that it was undone was not seen before the run ended"
        return Finding(identity, _SOURCE, Outcome.NO_DATA, reason=reason, slug="not-collected", evidence=evidence)
    since, until = told["in_force"]["offset_ns"], told["asked"]["end"]["offset_ns"]
    first = min(since, begin + TO_BE_SEEN_NS)
    last = min(first + end - begin, steady.end_ns)
    if told["cut"]:  # the load was ended, and the faults with it: up to then it was to be there
        last = min(last, until)
    share = min(1.0, max(0.0, min(until, last) - since) / max(1, last - first))
    late = share < LEAST
    times = f"in force from {_at(since, steady)} to {_at(until, steady)} of the steady phase"
    if late:
        asked = told["asked"]["begin"]["offset_ns"]
        reason = (
            f"{times}, {share:.0%} of its time, planned were {_at(begin, steady)} to {_at(end, steady)}: it was set "
            f"{format_duration(max(0, asked - begin))} late and took {format_duration(since - asked)} to take effect; "
            "let it last longer, or begin earlier"
        )
    else:
        counted = ", ".join(f"{key} {count}" for key, count in told["counters"].items() if count)
        undone = f"undone at {_at(told['undone']['offset_ns'], steady)} ({told['undone']['how']})"
        reason = f"{times} ({told['in_force']['how']}), {undone}" + (f"; {counted}" if counted else "")
    return Finding(
        identity,
        _SOURCE,
        Outcome.ERROR if late else Outcome.PASS,
        observed=share,
        operator=">=",
        target=LEAST,
        unit="%",
        margin=(share - LEAST) / LEAST,
        reason=reason,
        slug="fault-late" if late else "",
        evidence=evidence,
    )


def _at(offset_ns: int, steady: Phase) -> str:
    return f"{(offset_ns - steady.start_ns) / 1e9:.2f}s"


def by_fault(died: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> str:
    """The fault in force on a service when it ended, by its id; '' if there was none. died: of evidence/stack.json."""
    for one in evidence["faults"] if evidence is not None else ():
        if f"service {died['service']}" in one["touches"] and one["asked"]["begin"] is not None:
            end = one["undone"]["wall_ns"] if one["undone"] is not None else None
            if one["asked"]["begin"]["wall_ns"] <= died["wall_ns"] and (end is None or died["wall_ns"] <= end):
                name: str = one["id"]
                return name
    return ""
