"""What of a finding is the machine's and not the system's: the noise floor, time that the hypervisor took, stalls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.clock import stamp
from harness.core.duration import format_duration
from harness.core.outcome import Outcome
from harness.model.calibration import Calibration, is_time
from harness.model.finding import Finding
from harness.model.machine import MACHINE_EVIDENCE, MAX_STEAL, MachineRecord, Stall
from harness.model.phases import Timeline
from harness.model.threshold import Threshold
from harness.results.samples import Samples
from harness.slo.thresholds import show

STALL_SHARE = 10  # a stall counts against a promise from a tenth of its bound on
NOTABLE_NS = 10_000_000  # shorter ones are what the calibration calls noise
AROUND_NS = 500_000_000  # what was under way when it began, and what had queued up when it ended
_SECOND = 1_000_000_000
_DECIDED = (Outcome.PASS, Outcome.FAIL)
_STEAL, _STALLS = "machine/steal", "machine/stalls"

Again = Callable[[Threshold, Samples], Finding]


def below_floor(threshold: Threshold, calibration: Calibration) -> str:
    """Why this machine cannot show that the promise is kept, or ''. Needs no run."""
    floor = calibration.floor(threshold)
    if floor is None or threshold.operator not in ("<", "<=") or threshold.value >= floor:
        return ""
    name = threshold.condition_text.split(threshold.operator)[0].strip()
    return (
        f"{threshold.condition_text} is tighter than the noise floor of this machine: {threshold.metric} has "
        f"{name} = {show(floor, 's')} against a service that answers at once (calibrated {stamp(calibration.wall_ns)}, "
        f"{calibration.latency.count} requests); promise more than that, or use a quieter machine"
    )


def refusals(thresholds: Iterable[Threshold], calibration: Calibration) -> list[tuple[Threshold, str]]:
    """The promises that cannot be shown to be kept here, and why; to be said before the load starts."""
    return [(one, why) for one in thresholds if (why := below_floor(one, calibration))]


@dataclass(frozen=True)
class MachineState:
    """What the evidence says of the machine over the steady phase. record: None in a run that did not watch; timeline:
    None where no load began."""

    record: MachineRecord | None = None
    timeline: Timeline | None = None
    calibration: Calibration | None = None

    @classmethod
    def read(
        cls, machine: Mapping[str, Any] | None, phases: Mapping[str, Any] | None, calibration: Mapping[str, Any] | None
    ) -> MachineState:
        """From evidence/machine.json, phases.json and calibration.json, or None for what is not there."""
        return cls(
            MachineRecord.from_dict(machine) if machine is not None else None,
            Timeline.from_dict(phases) if phases is not None else None,
            Calibration.from_dict(calibration) if calibration is not None else None,
        )

    @property
    def watched(self) -> bool:
        """Whether the whole steady phase was."""
        return (
            self.record is not None
            and self.timeline is not None
            and not self.record.ended
            and self.record.covers(self.timeline.steady_wall_ns[1])
        )

    @property
    def steal(self) -> float | None:
        """The share over the steady phase; None where it cannot be known."""
        if self.record is None or self.timeline is None:
            return None
        return self.record.steal(*self.timeline.steady_wall_ns)

    def stalls(self, at_least_ns: float) -> list[Stall]:
        """Of the steady phase, the longest of each second."""
        if self.record is None or self.timeline is None:
            return []
        return self.record.stalls(*self.timeline.steady_wall_ns, at_least_ns=round(at_least_ns))

    def promises(
        self, findings: Iterable[Finding], thresholds: Iterable[Threshold], samples: Samples, again: Again
    ) -> list[Finding]:
        """What is left of the findings of thresholds and objectives on this machine."""
        by_id = {one.id: one for one in thresholds}
        return [
            self.threshold(by_id[one.id], one, samples, again) if one.id in by_id else self.objective(one)
            for one in findings
        ]

    def threshold(self, threshold: Threshold, finding: Finding, samples: Samples, again: Again) -> Finding:
        """`finding`, or what is left of it. again: judges a threshold on other samples."""
        if not is_time(threshold):
            return finding
        found = self._above_floor(threshold, finding)
        if found.outcome is Outcome.FAIL:
            found = self._stalled(threshold, found, samples, again)
        return self.objective(found, time=True)

    def objective(self, finding: Finding, *, time: bool = False) -> Finding:
        """The same for a finding of the metrics store; it is a latency if its unit is `s`."""
        steal = self.steal
        if finding.outcome not in _DECIDED or not (time or finding.unit == "s") or steal is None or steal <= MAX_STEAL:
            return finding
        said = f"; judged as it stands, it would be {finding.outcome}" + (
            f": {finding.reason}" if finding.reason else ""
        )
        reason = (
            f"other machines took {show(steal, '%')} of the processors' time in the steady phase, more than the "
            f"{show(MAX_STEAL, '%')} up to which times are to be trusted{said}"
        )
        return replace(
            finding,
            outcome=Outcome.INCONCLUSIVE,
            reason=reason,
            slug="machine-stolen",
            evidence={**finding.evidence, MACHINE_EVIDENCE: "steal"},
        )

    def findings(self, judged: Sequence[Finding]) -> list[Finding]:
        """What was seen of the machine itself. judged: the findings of the run's promises."""
        if self.record is None or self.timeline is None:
            return []
        if not self.watched:
            reason = (
                f"the machine was not watched to the end of the steady phase: {self.record.ended or 'nothing was read'}"
            )
            ended = Finding(_STEAL, "machine", Outcome.NO_DATA, reason=reason, slug="machine-unwatched")
            return [replace(ended, evidence={MACHINE_EVIDENCE: "ended"})]
        return [self._steal_finding(judged), self._stalls_finding()]

    def _steal_finding(self, judged: Sequence[Finding]) -> Finding:
        evidence = {MACHINE_EVIDENCE: "readings: steal of total"}
        steal = self.steal
        if steal is None:
            reason = "unknown: this kernel does not say what share of the processors' time other machines took"
            return Finding(_STEAL, "machine", Outcome.PASS, reason=reason, evidence=evidence)
        numbers: dict[str, Any] = {
            "observed": steal,
            "operator": "<=",
            "target": MAX_STEAL,
            "unit": "%",
            "margin": (MAX_STEAL - steal) / MAX_STEAL,
            "evidence": evidence,
        }
        if any(one.slug == "machine-stolen" for one in judged):
            reason = "other machines took so much of the processors' time that latencies prove nothing; run again later"
            return Finding(_STEAL, "machine", Outcome.INCONCLUSIVE, **numbers, reason=reason, slug="machine-stolen")
        reason = "too much for times, of which none is promised here" if steal > MAX_STEAL else ""
        return Finding(_STEAL, "machine", Outcome.PASS, **numbers, reason=reason)

    def _stalls_finding(self) -> Finding:
        """Stalls only make what is measured slower, so that what passes in spite of them has passed."""
        assert self.record is not None and self.timeline is not None
        start, end = self.timeline.steady_wall_ns
        stalls = self.stalls(0)
        longest = max(stalls, key=lambda one: one.length_ns, default=Stall(start, 0))
        wakes = sum(one.wakes for one in self.record.readings if start <= one.wall_ns <= end)
        return Finding(
            _STALLS,
            "machine",
            Outcome.PASS,
            observed=longest.length_ns / 1e9,
            unit="s",
            samples=wakes,
            reason=self._told(longest) if longest.length_ns >= NOTABLE_NS else "",
            evidence={MACHINE_EVIDENCE: "readings: late_ns"},
        )

    def _above_floor(self, threshold: Threshold, finding: Finding) -> Finding:
        """What the floor forbids to say: that a tighter promise is kept, or broken by so little that noise would do."""
        if self.calibration is None or finding.outcome not in (*_DECIDED, Outcome.INCONCLUSIVE):
            return finding
        if not (why := below_floor(threshold, self.calibration)):
            return finding
        floor = self.calibration.floor(threshold)
        assert floor is not None
        seen = finding.interval[0] if finding.interval is not None else finding.observed
        if finding.outcome is Outcome.FAIL and seen is not None and seen > threshold.value + floor:
            return finding
        return replace(finding, outcome=Outcome.NOT_VALIDATED, reason=why, slug="below-noise-floor")

    def _stalled(self, threshold: Threshold, finding: Finding, samples: Samples, again: Again) -> Finding:
        """A failure while the machine itself stood still. If what is left without those seconds would not fail, the
        machine may be why; where an ordinary process could have kept the sleeper waiting, it is only said."""
        stalls = self.stalls(max(NOTABLE_NS, threshold.value * 1e9 / STALL_SHARE))
        if not stalls:
            return finding
        assert self.record is not None
        longest = max(stalls, key=lambda one: one.length_ns)
        told = self._told(longest) + (f", and {len(stalls) - 1} times more" if len(stalls) > 1 else "")
        evidence = {**finding.evidence, MACHINE_EVIDENCE: "readings: late_ns"}
        if self.record.scheduling != "fifo":
            return replace(finding, reason=f"{finding.reason}; {told}", evidence=evidence)
        rest = samples.without(self._seconds(stalls))
        if rest.select(threshold.metric, threshold.tags).count and again(threshold, rest).outcome is Outcome.FAIL:
            reason = f"{finding.reason}; {told}, but it fails without those seconds too"
            return replace(finding, reason=reason, evidence=evidence)
        reason = f"{finding.reason}; but {told}, and without those seconds it would not fail; run it again"
        return replace(finding, outcome=Outcome.INCONCLUSIVE, reason=reason, slug="machine-stalled", evidence=evidence)

    def _seconds(self, stalls: Iterable[Stall]) -> frozenset[int]:
        """Those since the origin whose requests may have felt one."""
        assert self.timeline is not None
        found: set[int] = set()
        for one in stalls:
            begin = one.start_wall_ns - self.timeline.origin_wall_ns
            found.update(range((begin - AROUND_NS) // _SECOND, (begin + one.length_ns + AROUND_NS) // _SECOND + 1))
        return frozenset(found)

    def _told(self, stall: Stall) -> str:
        assert self.record is not None and self.timeline is not None
        second = (stall.start_wall_ns - self.timeline.origin_wall_ns) / _SECOND
        length = format_duration(stall.length_ns)
        if self.record.scheduling == "fifo":
            return f"the machine itself stood still for {length} at second {second:.1f}"
        return f"a process that only sleeps was kept waiting for {length} at second {second:.1f}"
