"""An objective whose data would have come from a service that this machine cannot run is not validated: neither a pass
nor a failure of the system."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo_objective import Objective


def without_services(objective: Objective, finding: Finding, stack: Mapping[str, Any]) -> Finding:
    """`finding`, or in its place a finding `not-validated`; what failed on the data that are there has failed.

    stack: what evidence/stack.json says: unavailable (service -> slug, cause, remedy), store (the service that is
    asked) and jobs (scrape job -> the service whose metrics it brings).
    """
    missing: Mapping[str, Mapping[str, str]] = stack.get("unavailable", {})
    if finding.outcome is Outcome.FAIL:
        return finding
    jobs: Mapping[str, str] = stack.get("jobs", {})
    read = [jobs[job] for job in jobs_read(objective, jobs)]
    asked = [stack.get("store"), *read]
    for service in asked:
        if service is not None and service in missing:
            why = f"{missing[service]['cause']}; remedy: {missing[service]['remedy']}"
            return replace(
                finding,
                outcome=Outcome.NOT_VALIDATED,
                observed=None,
                margin=None,
                slug="service-unavailable",
                reason=f"it needs {service}, which cannot be had on this machine: {why}",
            )
    if finding.outcome is Outcome.NO_DATA and missing:
        return replace(finding, reason=f"{finding.reason}; this machine cannot run {', '.join(missing)}")
    return finding


def jobs_read(objective: Objective, jobs: Iterable[str]) -> list[str]:
    """Which of the scrape jobs its queries name."""
    named = [matchers for query in objective.queries.values() for matchers in query.jobs]
    return [job for job in jobs if any(_matches(job, matchers) for matchers in named)]


def _matches(job: str, matchers: Sequence[tuple[str, str]]) -> bool:
    """Whether a selector with these matchers on `job` reads that job; Prometheus anchors its patterns at both ends."""
    return all(
        (re.fullmatch(text, job) is not None if "~" in sign else text == job) is not sign.startswith("!")
        for sign, text in matchers
    )
