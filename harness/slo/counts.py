"""Do client and server agree on how many requests there were? If not, one of them is wrong, and nothing is proven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.core.outcome import Outcome
from harness.model.finding import Finding

EVIDENCE = "evidence/counts.json"


def judge_counts(name: str, sent: int, evidence: Mapping[str, Any] | None) -> Finding:
    """Compare what the client sent under `name`, in all phases, with the difference of the server's raw counter.

    evidence: {"service", "series", "before", "after"} or {"error": {...}} or None when no counter was declared.
    """
    identity = f"counts/{name}"
    if evidence is None:
        return Finding(
            identity,
            "counts",
            Outcome.ERROR,
            samples=sent,
            slug="counter-undeclared",
            reason=f"no server-side counter is declared for the client's {name!r} requests; "
            f"add it under `counters` in stack.yaml",
        )
    if "error" in evidence:
        error = evidence["error"]
        return Finding(
            identity, "counts", Outcome(error.get("outcome", "error")), samples=sent, slug=error["slug"],
            reason=error["cause"],
            evidence={EVIDENCE: name},
        )  # fmt: skip
    served = evidence["after"] - evidence["before"]
    agree = served == sent
    return Finding(
        identity,
        "counts",
        Outcome.PASS if agree else Outcome.ERROR,
        observed=float(sent),
        operator="==",
        target=float(served),
        samples=sent,
        slug="counts-disagree" if not agree else "",
        reason=""
        if agree
        else f"the client sent {sent} requests, {evidence['service']} counted {served:.0f} "
        f"({evidence['series']}): {_why(served, sent)}",
        query=evidence["series"],
        evidence={EVIDENCE: name},
    )


def _why(served: float, sent: int) -> str:
    if served < 0:
        return "its counter began anew meanwhile, as the service was started again"
    return "lost on the way" if served < sent else "somebody else sends too"
