"""The end of every run: its error, if it has one, as evidence; its verdict, judged, stored and told."""

from __future__ import annotations

from harness.core.outcome import Outcome
from harness.model.events import FindingEvent, RunEvent, VerdictEvent
from harness.model.finding import Verdict
from harness.results.events import EventWriter
from harness.results.rundir import RunDir
from harness.slo.judge import judge


def record_error(run: RunDir, outcome: Outcome, slug: str, cause: str, remedy: str, name: str = "") -> None:
    """Why a run could not be made or came to no end. name: of the validation, where there is no plan that says it."""
    error = {"outcome": outcome, "slug": slug, "cause": cause, "remedy": remedy}
    run.write("evidence/error.json", error | ({"name": name} if name else {}))


def conclude(run: RunDir, writer: EventWriter) -> Verdict:
    """Judge what the run directory holds. Closes `writer`."""
    verdict = judge(run)
    run.write("verdict.json", verdict.as_dict())
    for finding in verdict.findings:
        writer.emit(FindingEvent(finding))
    writer.emit(VerdictEvent(verdict.name, verdict.outcome, str(run.path)))
    writer.emit(RunEvent(verdict.name, "end"))
    writer.close()
    return verdict
