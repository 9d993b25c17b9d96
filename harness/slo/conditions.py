"""Could the measurement be made at all? The generator kept its timetable, the services stayed up, the run ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.results.samples import STEADY, Arrivals, Samples
from harness.slo.faults import by_fault

CLOSED_LOAD = (
    "users went on when they had been answered, so latency counts from the sending of a request: "
    "what a slow system kept from being asked is in no sample"
)


def judge_generator(
    samples: Samples,
    max_lateness_ns: int,
    workers: int = 1,
    deaths: Mapping[str, Any] | None = None,
    *,
    closed: bool = False,
) -> Finding:
    """Every scheduled arrival was sent, by workers that reported in full, in time (p99 of lateness in the steady
    phase). workers: how many there were to be; deaths: of which of them others took the rest over, and how many
    arrivals there were to be; closed: users made the arrivals, there was no timetable.

    Lateness is that of the dispatch alone, before anything is asked of a user: waiting for a free one is the system's.
    """
    replaced = {one["worker"]: one for one in deaths["died"]} if deaths else {}
    identity, source = "generator/arrivals", "generator"
    if (missing := workers - len(samples.workers)) > 0:
        there = ", ".join(worker.name for worker in samples.workers)
        reason = f"{missing} of {workers} load workers left no file; there is only {there}"
        return Finding(identity, source, Outcome.ERROR, reason=reason, slug="worker-incomplete")
    for worker in samples.workers:
        if not worker.complete and worker.name not in replaced:
            reason = f"load worker {worker.name} did not report in full: {worker.reason}"
            return Finding(identity, source, Outcome.ERROR, reason=reason, slug="worker-incomplete")
    arrivals = samples.arrivals
    if arrivals.scheduled == 0:
        return Finding(identity, source, Outcome.NO_DATA, reason="no arrival was scheduled", slug="no-samples")
    steady = samples.arrivals_in.get(STEADY, Arrivals())
    late = float(steady.lateness.quantile(0.99)) if steady.lateness.count else 0.0
    numbers: dict[str, Any] = {
        "observed": late / 1e9,
        "operator": "<=",
        "target": max_lateness_ns / 1e9,
        "unit": "s",
        "margin": (max_lateness_ns - late) / max_lateness_ns,
        "samples": arrivals.started,
    }
    gone = [worker for worker in samples.workers if worker.name in replaced]
    planned = deaths["planned"] if deaths else 0
    unmet = planned - arrivals.scheduled - sum(worker.lost_arrivals - worker.unsent for worker in gone)
    lost = arrivals.scheduled - arrivals.started - arrivals.dropped - sum(worker.unstarted for worker in gone)
    told = "; ".join(f"load worker {one.name} died, {replaced[one.name]['how']}: {one.reason}" for one in gone)
    if unmet > 0 or not all(worker.exact for worker in gone):
        reason = f"{told}; of the {planned} planned arrivals {max(unmet, 0)} were sent by nobody"
        return Finding(identity, source, Outcome.ERROR, **numbers, reason=reason, slug="worker-incomplete")
    if lost:
        reason = f"{lost} of {arrivals.scheduled} arrivals were never sent"
        return Finding(identity, source, Outcome.ERROR, **numbers, reason=reason, slug="arrivals-lost")
    if late > max_lateness_ns:
        reason = (
            f"generator saturated: p99 of lateness {format_duration(late)}, "
            f"allowed {format_duration(max_lateness_ns)}; lower the rate, add workers, or free this machine"
        )
        return Finding(identity, source, Outcome.ERROR, **numbers, reason=reason, slug="generator-saturated")
    if steady.dropped:
        waited = format_duration(steady.waited.quantile(0.5)) if steady.waited.count else "for ever"
        reason = (
            f"{steady.dropped} of {steady.scheduled} arrivals found no free user, and a full queue or none until the "
            "end, while the generator was on time: the system is too slow for this rate. "
            f"{steady.starved} had to wait, half of those that were sent at least {waited}"
        )
        return Finding(identity, source, Outcome.FAIL, **numbers, reason=reason, slug="arrivals-dropped")
    notes = [f"the others sent what was left: {told}"] if told else []
    if arrivals.dropped:
        notes.append(f"{arrivals.dropped} arrivals of the warm-up found no free user and a full queue")
    if closed:
        notes.append(CLOSED_LOAD)
    return Finding(identity, source, Outcome.PASS, **numbers, reason="; ".join(notes))


def judge_exceptions(samples: Samples) -> Finding | None:
    """A task that raised has not recorded what it was about to: what it measured cannot be believed. None: none did."""
    raised = samples.select("exceptions", {})
    if raised.count == 0:
        return None
    return Finding(
        "scenario/exceptions",
        "generator",
        Outcome.ERROR,
        observed=float(raised.count),
        operator="==",
        target=0.0,
        samples=raised.count,
        reason=f"{raised.count} tasks of the scenario raised in the steady phase, so that samples are missing; the "
        "tracebacks are in logs/load-0.log",
        slug="scenario-raised",
        evidence={"load": "exceptions"},
    )


def judge_services(died: Sequence[Mapping[str, Any]], faults: Mapping[str, Any] | None = None) -> Finding:
    """No service ended unasked. One that only watches takes its data with it; any other spoils the measurement, unless
    a fault was in force on it: then that is what was asked for. faults: evidence of them."""
    wanted = [(one, by_fault(one, faults)) for one in died]
    died = [one for one, fault in wanted if not fault]
    if not died:
        told = "; ".join(f"{one['service']} ended with {one['how']} of {fault}" for one, fault in wanted)
        return Finding("stack/services", "stack", Outcome.PASS, reason=told)
    watchers_only = all(one["watcher"] for one in died)
    told = "; ".join(f"{one['service']} ended with {one['how']}" for one in died)
    return Finding(
        "stack/services",
        "stack",
        Outcome.NO_DATA if watchers_only else Outcome.ERROR,
        reason=f"{told} while the run was on; its last lines are in logs/{died[0]['service']}.log",
        slug="service-died",
        evidence={"evidence/stack.json": "died"},
    )


def judge_ending(error: Mapping[str, Any]) -> Finding:
    """What stopped the run before its end, as a finding of its own."""
    return Finding(
        "run/completed",
        "stack",
        Outcome(error["outcome"]),
        reason=f"{error['cause']}; remedy: {error['remedy']}",
        slug=error["slug"],
        evidence={"evidence/error.json": ""},
    )
