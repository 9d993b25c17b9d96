"""What earlier runs of a results directory tell of the next one: its length, and the samples that an arrival makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from harness.core.jsonio import read_json
from harness.model.load import LoadPlan
from harness.model.load_spec import plan_of

NEWEST = 20  # directories that are looked at


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """One run that came to a verdict. startup_seconds: until its stack was ready and scraped; rest_seconds: what
    it took beside start-up and load; samples: selector -> how many a steady arrival made."""

    name: str
    stack: str
    stack_id: str
    reused: bool
    began_wall_ns: int
    startup_seconds: float
    rest_seconds: float
    samples: Mapping[str, float]


class EarlierRuns:
    """The newest runs of a directory, by their beginning. One that cannot be read, or did not come to its end, tells
    nothing."""

    def __init__(self, results: Path) -> None:
        names = [path for path in results.iterdir() if not path.is_symlink()] if results.is_dir() else []
        newest = sorted((path for path in names if (path / "run.json").is_file()), key=lambda path: path.name)[-NEWEST:]
        found = (_read(path) for path in newest)
        self.runs = sorted((one for one in found if one is not None), key=lambda one: one.began_wall_ns)

    def startup_seconds(self, stack: str) -> float | None:
        """How long the stack of that name took to start, in the middle; None if no run started it."""
        first: dict[str, EarlierRun] = {}  # the run that started a stack is the first on it
        for run in self.runs:
            if run.stack == stack and not run.reused:
                first.setdefault(run.stack_id, run)
        return _middle(run.startup_seconds for run in first.values())

    def rest_seconds(self) -> float | None:
        """What a run takes beside start-up and load, in the middle: draining, collecting."""
        return _middle(run.rest_seconds for run in self.runs)

    def samples_per_arrival(self, name: str) -> Mapping[str, float]:
        """By selector, as in the last run of the validation of that name; empty if there is none."""
        return next((run.samples for run in reversed(self.runs) if run.name == name), {})


def steady_arrivals(plan: LoadPlan) -> int | None:
    """How many arrivals the timetable has in the steady phase; None where users make them as they can."""
    return None if plan.closed else plan.arrivals_in(plan.warmup_ns, plan.length_ns)


def _read(path: Path) -> EarlierRun | None:
    if (path / "evidence" / "error.json").exists():
        return None
    try:
        run, plan, verdict = (read_json(path / f"{name}.json") for name in ("run", "plan", "verdict"))
        load, stack = plan["load"], run["stack"]
        startup = float(run.get("seconds_to_targets", run["seconds_to_ready"]))
        rest = float(run["seconds_in_all"]) - startup - (load["warmup"] + load["duration"]) / 1e9
        arrivals = None if load.get("executor") == "replay" else steady_arrivals(plan_of(load))  # the file may be gone
        samples = _samples(verdict["findings"], arrivals) if arrivals else {}
        return EarlierRun(
            plan["name"], stack["name"], stack["id"], stack["reused"], run["began_wall_ns"], startup, rest, samples
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _samples(findings: Iterable[Mapping[str, Any]], arrivals: int) -> dict[str, float]:
    return {
        one["id"].removeprefix("thresholds/").rpartition("/")[0]: one["samples"] / arrivals
        for one in findings
        if one["id"].startswith("thresholds/") and one.get("samples") and " over " not in one["id"]
    }


def _middle(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None
