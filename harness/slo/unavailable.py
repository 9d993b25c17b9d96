"""An objective whose data would have come from a service that this machine cannot run is not validated: neither a pass
nor a failure of the system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo_objective import Objective


def without_services(objective: Objective, finding: Finding, stack: Mapping[str, Any]) -> Finding:
    """`finding`, or in its place a finding `not-validated`.

    stack: what evidence/stack.json says: unavailable (service -> slug, cause, remedy), store (the service that is
    asked) and jobs (scrape job -> the service whose metrics it brings).
    """
    missing: Mapping[str, Mapping[str, str]] = stack.get("unavailable", {})
    named = {job for query in objective.queries.values() for job in query.jobs}
    asked = [stack.get("store"), *(stack.get("jobs", {}).get(job) for job in sorted(named))]
    for service in asked:
        if service in missing:
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
