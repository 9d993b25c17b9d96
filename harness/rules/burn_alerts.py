"""Recording and alert rules for SLOs: multi-window, multi-burn-rate, after the Site Reliability Workbook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import UsageError
from harness.model.burn_rates import BurnRate, burn_rates, severity
from harness.model.openslo_alerts import BurnAlert
from harness.model.openslo_goal import Goal
from harness.model.openslo_slo import ServiceLevel
from harness.rules.expressions import (
    budget,
    check_measurable,
    error_ratio,
    number,
    promql_window,
    quoted,
    slice_error,
    unmeasurable,
)

RUNBOOK_ANNOTATION = "slo-harness/runbook-url"  # on the SLO: where its alerts send people
RUNBOOK = "docs/openslo.md#when-a-budget-burns"
SHORTEST_S = 60  # four scrapes at Prometheus's usual 15 s: below, a rate is often empty
SLICE_RECORD = "slo:slice_error:last"
_ALERTS = {"page": "ErrorBudgetBurnPage", "ticket": "ErrorBudgetBurnTicket"}


@dataclass(frozen=True, slots=True)
class Rules:
    """groups: rule groups as Prometheus reads them, plain values; left_out: SLO -> why it has none."""

    groups: list[dict[str, Any]]
    left_out: dict[str, str]


def make_rules(levels: Sequence[ServiceLevel], runbook: str = RUNBOOK) -> Rules:
    """The rules of `levels`; runbook: where alerts of SLOs without a runbook of their own send people.

    Raises UsageError, located: not-built-yet (composite SLOs), missing-field (no time window), window-missing,
    window-too-short, slice-too-long; no-burn-rates when not one SLO has a ratio.
    """
    groups: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for level in levels:
        level.refuse("burn rates do not cover")
        if (why := unmeasurable(level)) is not None:
            left_out[level.name] = why
            continue
        groups += _groups(level, level.parsed.metadata.annotations.get(RUNBOOK_ANNOTATION, runbook))
    if not groups:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise UsageError("no-burn-rates", f"no SLO has a budget that could burn ({reasons})", "Add a ratioMetric.")
    return Rules(groups, left_out)


def _groups(level: ServiceLevel, runbook: str) -> Iterator[dict[str, Any]]:
    pairs = _pairs(level)
    windows = sorted({length for pair in pairs for length in (pair.long_s, pair.short_s)}
                     | {alert.lookback_s for alert in level.alerts})  # fmt: skip
    labels = {"slo": level.name, "service": level.parsed.spec.service}
    rules: list[dict[str, Any]] = []
    for at, goal in enumerate(level.goals):
        check_measurable(level, goal)
        if level.method == "Occurrences":
            if at == 0:  # the ratio is the indicator's; its objectives share it
                rules += _records({s: error_ratio(goal.indicator, s) for s in windows}, labels)
            continue
        sliced = {**labels, "objective": goal.name}
        _check_slice(level, goal, windows[0])
        rule = {"record": SLICE_RECORD, "expr": slice_error(level, goal), "labels": sliced}
        yield {
            "name": f"slo {level.name} {goal.name} slices",
            "interval": promql_window(goal.slice_s or 0),
            "rules": [rule],
        }
        of = f"{SLICE_RECORD}{{slo={quoted(level.name)},objective={quoted(goal.name)}}}"
        rules += _records({s: f"avg_over_time({of}[{promql_window(s)}])" for s in windows}, sliced)
    for goal in level.goals:
        told = {name: _plain(text) for name, text in {**labels, "objective": goal.name}.items()}
        rules += _alerts(level, goal, pairs, told, runbook)
    yield {"name": f"slo {level.name}", "rules": rules}


def _pairs(level: ServiceLevel) -> tuple[BurnRate, ...]:
    if level.window is None:
        remedy = "Add timeWindow: [{duration: 30d, isRolling: true}]."
        cause = "a budget is spent over a time window, and the SLO states none"
        raise level.document.error(("spec",), "missing-field", cause, remedy, on="key")
    pairs = burn_rates(level.window.seconds)
    shortest = min(pair.short_s for pair in pairs)
    if shortest < SHORTEST_S:
        cause = (
            f"over {level.window.duration} the shortest window of a burn rate has {shortest} s, "
            f"and a rate needs {SHORTEST_S} s: four scrapes at 15 s"
        )
        path = ("spec", "timeWindow", 0, "duration")
        raise level.document.error(path, "window-too-short", cause, "Write 6d or more.")
    return pairs


def _check_slice(level: ServiceLevel, goal: Goal, shortest_s: int) -> None:
    if (goal.slice_s or 0) > shortest_s:
        cause = (
            f"a slice of {promql_window(goal.slice_s or 0)} does not fit into the shortest window of a burn rate, "
            f"{promql_window(shortest_s)}"
        )
        path = (*goal.path, "timeSliceWindow")
        raise level.document.error(path, "slice-too-long", cause, "Write shorter slices, or a longer timeWindow.")


def record_name(seconds: int) -> str:
    """What the error ratio over `seconds` is recorded as."""
    return f"slo:error_ratio:rate{promql_window(seconds)}"


def _records(expressions: dict[int, str], labels: dict[str, str]) -> Iterator[dict[str, Any]]:
    for seconds, expression in expressions.items():
        yield {"record": record_name(seconds), "expr": expression, "labels": labels}


def _alerts(
    level: ServiceLevel, goal: Goal, pairs: Sequence[BurnRate], labels: dict[str, str], runbook: str
) -> Iterator[dict[str, Any]]:
    for kind, name in _ALERTS.items():
        of_kind = [pair for pair in pairs if pair.kind == kind]
        both = [
            f"(\n  {_burn(level, goal, pair.long_s)} > {number(pair.factor)}\nand\n"
            f"  {_burn(level, goal, pair.short_s)} > {number(pair.factor)}\n)\n"
            for pair in of_kind
        ]
        shares = ", or ".join(
            f"{100 * pair.budget:g} % of the budget in {promql_window(pair.long_s)}" for pair in of_kind
        )
        yield {
            "alert": name,
            "expr": "or\n".join(both),
            "labels": {**labels, "severity": severity(kind)},
            "annotations": _annotations(level, goal, f"That takes {shares}.", runbook),
        }
    for alert in level.alerts:
        yield from _policy(level, goal, alert, labels, runbook)


def _policy(
    level: ServiceLevel, goal: Goal, alert: BurnAlert, labels: dict[str, str], runbook: str
) -> Iterator[dict[str, Any]]:
    told = {**labels, "severity": _plain(severity(alert.severity)), "notify": _plain(",".join(alert.targets))}
    waits = {"for": promql_window(alert.after_s)} if alert.after_s else {}
    if alert.breaching:
        yield {
            "alert": alert.name,
            "expr": f"{_burn(level, goal, alert.lookback_s)} {alert.operator} {number(alert.threshold)}",
            **waits,
            "labels": told,
            "annotations": _annotations(level, goal, alert.description, runbook),
        }
    if alert.no_data:
        summary = _plain(f"Nothing is known of {level.name} ({goal.name})")
        yield {
            "alert": f"{alert.name} no data",
            "expr": f"absent({_ratio(level, goal, alert.lookback_s)} >= 0)",
            **waits,
            "labels": told,
            "annotations": {
                "summary": summary,
                "description": f"There is no error ratio of the last {promql_window(alert.lookback_s)}.",
                "runbook_url": _plain(runbook),
            },
        }


def _ratio(level: ServiceLevel, goal: Goal, seconds: int) -> str:
    of = "" if level.method == "Occurrences" else f",objective={quoted(goal.name)}"
    return f"{record_name(seconds)}{{slo={quoted(level.name)}{of}}}"


def _burn(level: ServiceLevel, goal: Goal, seconds: int) -> str:
    return f"{_ratio(level, goal, seconds)} / {budget(goal)}"


def _annotations(level: ServiceLevel, goal: Goal, more: str, runbook: str) -> dict[str, str]:
    title = level.parsed.metadata.displayName or level.name
    what = f"{level.parsed.spec.service}: the error budget of {level.name} ({goal.name}: {100 * goal.target:.6g} %"
    burns = '{{ printf "%.3g" $value }} times the rate that uses it up exactly'
    return {
        "summary": f"The error budget burns too fast: {_plain(title)}",
        "description": f"{_plain(what)} over {level.window}) burns at {burns}. {_plain(more)}".strip(),
        "runbook_url": _plain(runbook),
    }


def _plain(text: str) -> str:
    """A text of an author where Prometheus reads a template: two braces would begin one."""
    return text.replace("{{", "{ {")
