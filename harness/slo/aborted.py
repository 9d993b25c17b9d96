"""What becomes of the findings of a run whose load was ended early by a breach: a pure function of its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.threshold import Threshold, parse_threshold
from harness.results.samples import Samples
from harness.slo.breach import ABORT_EVIDENCE, Course, beyond_recovery, courses
from harness.slo.thresholds import show


def after_abort(
    findings: Sequence[Finding], plan: Mapping[str, Any], samples: Samples, abort: Mapping[str, Any]
) -> list[Finding]:
    """The findings of the thresholds, in order, with the one that ended the load as a fail.

    The breach is computed again from the samples. Counts, minimum and maximum that could still have changed had the
    load gone on are inconclusive. plan: plan.json; abort: evidence/abort.json.
    """
    load, thresholds = plan["load"], [parse_threshold(*texts) for texts in plan["thresholds"]]
    alpha, found = courses(thresholds, load["warmup"], load["duration"])
    made = []
    for finding, threshold in zip(findings, thresholds, strict=True):
        if threshold.id == abort["threshold"]:
            course = next((one for one in found if one.watch.threshold.id == threshold.id), None)
            made.append(_breach(finding, threshold, samples, course, alpha, abort["blocks"]))
        else:
            made.append(_cut(finding, threshold, samples, load["duration"] / 1e9))
    return made


def _breach(
    finding: Finding, threshold: Threshold, samples: Samples, course: Course | None, alpha: float, blocks: int
) -> Finding:
    if course is not None:
        course.advance(samples.select(threshold.metric, threshold.tags).seconds, blocks)
    evidence = {**finding.evidence, ABORT_EVIDENCE: "what was seen when the load was ended"}
    if course is None or not course.broken(alpha):
        reason = (
            f"the load was ended because this was taken for broken, but the samples of the first {blocks} blocks do "
            "not show it: they are not those that were seen then"
        )
        return replace(finding, outcome=Outcome.ERROR, reason=reason, slug="abort-unfounded", evidence=evidence)
    seen = finding.reason or f"observed {_observed(finding)}, promised {threshold.condition_text}"
    reason = f"{seen}; broken beyond doubt after {course.seconds} s of the steady phase, so the load was ended: "
    return replace(
        finding,
        outcome=Outcome.FAIL,
        reason=reason + _numbers(course, alpha),
        slug="breach-aborted",
        evidence=evidence,
    )


def _observed(finding: Finding) -> str:
    return "nothing" if finding.observed is None else show(finding.observed, finding.unit)


def _numbers(course: Course, alpha: float) -> str:
    if course.watch.rule == "fact":
        return f"no later one of the {course.samples} samples and more could have mended it"
    chance = f"1 in {1 / course.chance:,.0f}" if course.chance > 1e-12 else "1 in a million million"
    spent = f"at the limit of the promise the chance of that is at most {chance} (1 in {1 / alpha:,.0f} ends a load)"
    if course.watch.rule == "mean":
        mean = show(course.seen / course.samples, course.watch.threshold.unit)
        return f"an average of {mean} over {course.samples} samples; {spent}"
    if course.watch.threshold.aggregation == "avg":
        return f"{course.samples} samples are {course.seen:.4g} short of 1 each, {course.allowed:.4g} may be; {spent}"
    return f"{course.seen:.4g} of {course.samples} samples missed, {course.allowed:.4g} may; {spent}"


def _cut(finding: Finding, threshold: Threshold, samples: Samples, planned_seconds: float) -> Finding:
    """A fact of a run that was to be longer is none yet, unless it is out of bounds for good."""
    whole = threshold.aggregation in ("count", "min", "max") and threshold.window_seconds is None
    if not whole or finding.outcome not in (Outcome.PASS, Outcome.FAIL):
        return finding
    series = samples.select(threshold.metric, threshold.tags)
    if beyond_recovery(threshold, [series], series.count, planned_seconds):
        return finding
    reason = (
        f"observed {_observed(finding)} up to the moment when another breach ended the load; planned were "
        f"{format_duration(planned_seconds * 1e9)}"
    )
    return replace(finding, outcome=Outcome.INCONCLUSIVE, reason=reason, slug="cut-short")
