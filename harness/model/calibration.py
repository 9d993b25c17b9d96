"""What this machine measures when there is nothing to measure: the noise floor of every time that a client sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.model.histogram import Histogram
from harness.model.threshold import Threshold
from harness.model.validation import TIMES

CALIBRATION_EVIDENCE = "evidence/calibration.json"
SCHEMA = 1
TIME_SUFFIX = "_seconds"  # of a scenario's own trends that are


@dataclass(frozen=True, slots=True)
class Machine:
    """boot_id: of this start of the kernel; cpu: the model's name; cpus: how many of them may be used."""

    boot_id: str
    cpu: str
    cpus: float


@dataclass(frozen=True)
class Calibration:
    """One measurement against a null service.

    wall_ns: when; rate: requests a second; latency, service_time, lateness: ns, of the load's steady phase (lateness:
    from schedule to dispatch); stalls: ns that sleeps of 1 ms ended late; steal: share of all processors' time, None if
    the kernel does not say.
    """

    harness: str
    wall_ns: int
    machine: Machine
    rate: float
    seconds: float
    latency: Histogram
    service_time: Histogram
    lateness: Histogram
    stalls: Histogram
    steal: float | None

    def floor(self, threshold: Threshold) -> float | None:
        """In seconds, at the threshold's own aggregation; None for what is no time.

        A scenario measures its own times from when it sends, so theirs is that of the service time.
        """
        if not is_time(threshold):
            return None
        seen = self.latency if threshold.metric == "latency" else self.service_time
        if not seen.count:
            return None
        if threshold.aggregation == "quantile":
            assert threshold.quantile is not None
            return seen.quantile(threshold.quantile) / 1e9
        value = {"avg": seen.sum / seen.count, "min": seen.min, "max": seen.max}[threshold.aggregation]
        return value / 1e9

    def unfit(self, machine: Machine, harness: str) -> str:
        """Why it does not hold for this machine and version, or ''."""
        if not machine.boot_id:
            return "this kernel does not say which boot it is"
        if (self.machine.cpu, self.machine.cpus) != (machine.cpu, machine.cpus):
            return f"it is of another machine ({self.machine.cpus:g} x {self.machine.cpu or 'unknown processor'})"
        if self.machine.boot_id != machine.boot_id:
            return "this machine was started anew since, or it is of another one like it"
        if self.harness != harness:
            return f"harness {self.harness} made it, this is {harness}"
        return ""

    def as_dict(self) -> dict[str, Any]:
        names = ("harness", "wall_ns", "rate", "seconds", "steal")
        histograms = ("latency", "service_time", "lateness", "stalls")
        return {
            "schema": SCHEMA,
            "machine": asdict(self.machine),
            **{name: getattr(self, name) for name in names},
            **{name: getattr(self, name).as_dict() for name in histograms},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        """Raises ValueError for another schema, and ValueError, KeyError or TypeError for what is none."""
        if stored["schema"] != SCHEMA:
            raise ValueError(f"its schema is {stored['schema']}, this version reads {SCHEMA}")
        return cls(
            harness=stored["harness"],
            wall_ns=stored["wall_ns"],
            machine=Machine(**stored["machine"]),
            rate=stored["rate"],
            seconds=stored["seconds"],
            latency=Histogram.from_dict(stored["latency"]),
            service_time=Histogram.from_dict(stored["service_time"]),
            lateness=Histogram.from_dict(stored["lateness"]),
            stalls=Histogram.from_dict(stored["stalls"]),
            steal=stored["steal"],
        )


def is_time(threshold: Threshold) -> bool:
    """Whether it promises a time that the client measures; how many there were, or a share, is none."""
    metric = threshold.metric in TIMES or threshold.metric.endswith(TIME_SUFFIX)
    return metric and threshold.aggregation not in ("count", "rate")
