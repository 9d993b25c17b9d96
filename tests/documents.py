"""Seeds of mutated documents, and what is done with a document that was accepted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from harness.core.jsonio import canonical
from harness.gate.faults import read_faults
from harness.model.load import LoadPlan
from harness.model.openslo import load_objectives, objective_from_dict
from harness.model.stackfile import StackFile, load_stackfile
from harness.model.threshold import parse_threshold
from harness.model.validation import PROFILES, load_validations

ROOT = Path(__file__).resolve().parent.parent
EVERY_FIELD = Path(__file__).with_name("every_field.yaml")  # a validation with all that may stand in one
EVERY_EXECUTOR = EVERY_FIELD.with_name("every_executor.yaml")


@dataclass(frozen=True)
class Kind:
    """seeds: files that are right, which are mutated; use: reads a file and does with it what a run would do first."""

    seeds: tuple[Path, ...]
    use: Callable[[Path], object]

    def texts(self) -> list[str]:
        return [path.read_text(encoding="utf-8") for path in self.seeds]


@cache
def _stack() -> StackFile:
    return load_stackfile(ROOT / "stack.yaml")[0]


def use_validation(path: Path) -> None:
    """What is accepted has a timetable in each profile, and a plan that comes back from JSON as it was."""
    for one in load_validations(path):
        for profile in PROFILES:
            validation = type(one)(one.document, profile)
            load = validation.load
            for fault in read_faults(validation, _stack()):
                assert 0 <= fault.at_ns < fault.end_ns <= load.duration
                assert orjson.loads(canonical(fault.as_dict())) == fault.as_dict()
            plan = load.plan(scenario=str(validation.scenario))
            assert plan.arrivals >= 1 or plan.closed or plan.executor == "poisson"
            assert plan.users_of(0) >= 1
            assert LoadPlan.from_dict(orjson.loads(canonical(plan.as_dict()))) == plan
            written = validation.as_dict()
            assert orjson.loads(canonical(written)) == written
            for threshold, texts in zip(validation.thresholds, written["thresholds"], strict=True):
                assert parse_threshold(*texts) == threshold


def use_openslo(path: Path) -> None:
    """What is accepted comes back from JSON as it was."""
    for objective in load_objectives(path):
        assert objective_from_dict(orjson.loads(canonical(objective.as_dict()))) == objective


def _validations() -> tuple[Path, ...]:
    return tuple(path for path in sorted((ROOT / "slos").glob("*.yaml")) if ".openslo." not in path.name)


KINDS = {
    "validation": Kind((*_validations(), EVERY_FIELD, EVERY_EXECUTOR), use_validation),
    "openslo": Kind(tuple(sorted((ROOT / "docs/openslo/valid").glob("*.yaml"))), use_openslo),
}


def project_in(directory: Path) -> Path:
    """A project of which the seeds are part; the file in it that is to be mutated."""
    shutil.copy(ROOT / "stack.yaml", directory)
    shutil.copytree(ROOT / "scenarios", directory / "scenarios", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "slos", directory / "slos")
    (directory / "tests").mkdir()
    shutil.copy(ROOT / "tests/arrivals.txt", directory / "tests")
    return directory / "slos" / "mutated.yaml"
