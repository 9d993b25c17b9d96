"""The verdict of a run: a pure function of what stands in its directory."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.core.jsonio import read_json
from harness.core.outcome import Outcome
from harness.model.calibration import CALIBRATION_EVIDENCE
from harness.model.finding import Finding, Verdict
from harness.model.load import CLOSED, STAGED
from harness.model.machine import MACHINE_EVIDENCE
from harness.model.openslo_objective import objective_from_dict
from harness.model.phases import PHASES_EVIDENCE, Phase, Timeline
from harness.model.takeover import DEATHS_EVIDENCE
from harness.model.threshold import parse_threshold
from harness.results.rundir import RunDir
from harness.results.samples import Samples, load_samples
from harness.slo.aborted import after_abort
from harness.slo.breach import ABORT_EVIDENCE
from harness.slo.conditions import judge_ending, judge_exceptions, judge_generator, judge_services
from harness.slo.counts import EVIDENCE, judge_counts
from harness.slo.faults import FAULTS_EVIDENCE, judge_faults, not_judged_faults
from harness.slo.machine import MachineState
from harness.slo.objectives import judge_objective
from harness.slo.stationarity import judge_stationarity
from harness.slo.thresholds import judge_threshold
from harness.slo.unavailable import without_services

UNSTEADY = (*STAGED, "replay")  # executors under which the load itself changes


def judge(run: RunDir) -> Verdict:
    """All findings of the run, in the order a reader wants them: what was promised, then whether it could be measured.

    Reads plan.json, load/*.jsonl and evidence/*; neither the machine, the clock nor the stack.
    """
    error = _optional(run, "evidence/error.json")
    plan = _optional(run, "plan.json")
    if plan is None:  # refused before anything started
        ending = error or {"outcome": "error", "slug": "run-empty", "cause": "the run holds no plan", "remedy": "-"}
        return Verdict(str(ending.get("name", run.path.name)), (judge_ending(ending),))
    samples = load_samples(run.load)
    stack = _optional(run, "evidence/stack.json")
    if error is not None and not samples.workers:
        findings = _not_judged(plan, Outcome(error["outcome"]))
    else:
        machine = _machine(run)
        promises = machine.promises(
            _promises(run, plan, samples, stack or {}),
            [parse_threshold(*texts) for texts in plan["thresholds"]],
            samples,
            partial(judge_threshold, steady=_steady(run, plan)),
        )
        faults = judge_faults(plan.get("faults", ()), _optional(run, FAULTS_EVIDENCE), _steady(run, plan))
        findings = [*promises, *faults, *_conditions(run, plan, samples), *machine.findings(promises)]
    if stack is not None:
        findings.append(judge_services(stack["died"], _optional(run, FAULTS_EVIDENCE)))
    if error is not None:
        findings.append(judge_ending(error))
    held = {name: stack[name] for name in ("runtime", "isolation")} if stack is not None else {}
    missing = tuple(stack.get("unavailable", ())) if stack is not None else ()
    return Verdict(plan["name"], tuple(findings), plan["allowed_unvalidated"], **held, unavailable=missing)


def _promises(run: RunDir, plan: dict[str, Any], samples: Samples, stack: dict[str, Any]) -> list[Finding]:
    steady = _steady(run, plan)
    findings = [judge_threshold(parse_threshold(*texts), samples, steady) for texts in plan["thresholds"]]
    if (abort := _optional(run, ABORT_EVIDENCE)) is not None:
        findings = after_abort(findings, plan, samples, abort)
    for described in plan["objectives"]:
        objective = objective_from_dict(described)
        evidence = _optional(run, objective.evidence_path)
        finding = judge_objective(objective, evidence) if evidence else _never_asked(objective.id)
        findings.append(without_services(objective, finding, stack))
    return findings


def _steady(run: RunDir, plan: dict[str, Any]) -> Phase:
    """The steady phase as it was, or as declared where the run did not get so far."""
    if (stored := _optional(run, PHASES_EVIDENCE)) is not None:
        return Timeline.from_dict(stored).steady
    return Timeline.planned(0, plan["load"]["warmup"], plan["load"]["duration"]).steady


def _machine(run: RunDir) -> MachineState:
    names = (MACHINE_EVIDENCE, PHASES_EVIDENCE, CALIBRATION_EVIDENCE)
    return MachineState.read(*(_optional(run, name) for name in names))


def _conditions(run: RunDir, plan: dict[str, Any], samples: Samples) -> list[Finding]:
    findings = []
    executor = plan.get("load", {}).get("executor", "")
    counters = _optional(run, EVIDENCE) or {}
    for name in samples.request_names():
        if not plan.get("load_only"):  # nobody's counters can be asked
            findings.append(judge_counts(name, samples.counts(name).sent, counters.get(name)))
        if plan.get("faults") or executor in UNSTEADY:
            continue  # latency that moves is what they are for: whether it had settled is not asked
        if unsettled := judge_stationarity(name, samples, _tightest(plan, name)):
            findings.append(unsettled)
    if raised := judge_exceptions(samples):
        findings.append(raised)
    if samples.workers:
        load, deaths = plan["load"], _optional(run, DEATHS_EVIDENCE)
        workers, closed = load.get("workers", 1), executor in CLOSED
        findings.append(judge_generator(samples, load["maxLateness"], workers, deaths, closed=closed))
    return findings


def _tightest(plan: dict[str, Any], name: str) -> float | None:
    """The lowest upper bound on the latency of requests called `name`, in seconds."""
    bounds = [
        one.value
        for one in (parse_threshold(*texts) for texts in plan["thresholds"])
        if one.metric == "latency"
        and one.unit == "s"
        and one.operator in ("<", "<=")
        and one.tags.get("name", name) == name
    ]
    return min(bounds, default=None)


def _not_judged(plan: dict[str, Any], outcome: Outcome) -> list[Finding]:
    """The promises of a run that ended before any load: each shares the outcome of what ended it."""
    reason = "not judged: the run ended before any load"
    thresholds = [parse_threshold(*texts) for texts in plan["thresholds"]]
    promises = [(t.id, "client", t.operator, t.value, t.unit) for t in thresholds]
    promises += [(o["id"], "prometheus", o["operator"], o["target"], o["unit"]) for o in plan["objectives"]]
    return [
        Finding(identity, source, outcome, None, operator, target, unit, reason=reason, slug="not-collected")
        for identity, source, operator, target, unit in promises
    ] + not_judged_faults(plan.get("faults", ()), outcome, reason)


def _never_asked(identity: str) -> Finding:
    reason = "the run ended before the metrics store was asked"
    return Finding(identity, "prometheus", Outcome.NO_DATA, reason=reason, slug="not-collected")


def _optional(run: RunDir, name: str) -> Any:
    path = run.path / name
    return read_json(path) if path.exists() else None
