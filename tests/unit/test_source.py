"""A bad file is reported with line, column, caret and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.core.outcome import Outcome
from harness.model.source import load_documents
from harness.model.validation import Validation, load_validations

GOOD = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: probe}
spec:
  scenario: probe.py
  load: {executor: constant-arrival-rate, rate: 60, duration: 45s}
  thresholds:
    latency{name:search}: ["p(99)<80ms"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "stack.yaml").write_text("kind: Stack\n")
    (tmp_path / "probe.py").write_text("")
    return tmp_path


def refuse(project: Path, old: str, new: str) -> UsageError:
    assert old in GOOD
    path = project / "v.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_validations(path)
    assert caught.value.outcome is Outcome.USAGE
    return caught.value


def test_a_good_file_is_resolved(project: Path) -> None:
    (project / "v.yaml").write_text(GOOD)
    (validation,) = load_validations(project / "v.yaml")
    assert validation.name == "probe"
    assert validation.scenario == project / "probe.py"
    assert validation.load.duration == 45_000_000_000
    assert [t.id for t in validation.thresholds] == ["thresholds/latency{name:search}/p(99)<80ms"]


def test_a_mistyped_field_names_the_nearest(project: Path) -> None:
    error = refuse(project, "duration: 45s", "duraton: 45s")
    assert error.render().replace(str(project), "") == (
        "/v.yaml:6:53: unknown-field: unknown field 'spec.load.duraton'\n"
        "      load: {executor: constant-arrival-rate, rate: 60, duraton: 45s}\n"
        "                                                        ^^^^^^^\n"
        "  remedy: Did you mean 'duration'?"
    )


@pytest.mark.parametrize(
    ("old", "new", "slug", "line", "column"),
    [
        ("rate: 60", "rate: fast", "bad-value", 6, 49),
        ("rate: 60", "rate: 0", "bad-value", 6, 49),
        ("duration: 45s", "duration: 45", "bad-value", 6, 63),
        ("executor: constant-arrival-rate", "executor: magic", "bad-value", 6, 20),
        ("scenario: probe.py", "scenario: nowhere.py", "file-missing", 5, 13),
        ("  scenario: probe.py\n", "", "missing-field", 4, 1),
        ("name: probe", "name: Not A Name", "bad-value", 3, 18),
        ("p(99)<80ms", "p(99)~80ms", "threshold-syntax", 8, 34),
        ("p(99)<80ms", "p(99)<80parsecs", "threshold-syntax", 8, 37),
        ("p(99)<80ms", "p(99)<80", "threshold-unit", 8, 28),
        ("p(99)<80ms", "p(99)<80ms over 10m", "window-too-long", 8, 28),
        ("latency{name:search}", "latency{name=search}", "threshold-syntax", 8, 17),
        ("  thresholds:", "  silent: true\n  thresholds:", "not-built-yet", 7, 3),
        ("kind: Validation", "kind: [1", "yaml-syntax", 3, 9),
        ("kind: Validation", "kind: Verification", "bad-value", 2, 7),
    ],
)
def test_each_mistake_is_located(project: Path, old: str, new: str, slug: str, line: int, column: int) -> None:
    error = refuse(project, old, new)
    assert error.slug == slug
    assert error.location is not None
    assert (error.location.line, error.location.column) == (line, column)
    assert error.remedy


def test_a_run_that_could_not_fail_is_refused(project: Path) -> None:
    error = refuse(project, '  thresholds:\n    latency{name:search}: ["p(99)<80ms"]\n', "")
    assert error.slug == "nothing-to-judge"


def test_without_a_stack_file_the_remedy_says_where_it_goes(project: Path) -> None:
    (project / "stack.yaml").unlink()
    assert refuse(project, "probe", "probe").slug == "stack-missing"


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"# only a comment\n"])
def test_files_that_hold_nothing(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "v.yaml"
    path.write_bytes(raw)
    with pytest.raises(UsageError) as caught:
        load_documents(path)
    assert caught.value.slug in ("file-empty", "file-unreadable")


def test_a_profile_changes_the_load_and_nothing_else(project: Path) -> None:
    (project / "v.yaml").write_text(GOOD + "  profiles: {nightly: {duration: 10m}}\n")
    (document,) = load_documents(project / "v.yaml")
    assert Validation(document, "pr").load.duration == 45_000_000_000
    nightly = Validation(document, "nightly").load
    assert nightly.duration == 600_000_000_000
    assert nightly.rate == 60


PROFILES = """\
  profiles:
    nightly:
      duration: 10m
      thresholds:
        latency{name:search}: ["p(99.9)<80ms", "p(99)<1s over 1m"]
        errors{name:search}: ["rate<0.1%"]
"""


def test_a_profile_puts_its_own_bounds_in_place_of_a_selectors(project: Path) -> None:
    (project / "v.yaml").write_text(GOOD + PROFILES)
    told = {
        profile: [
            f"{t.selector_text} {t.condition_text}" for t in load_validations(project / "v.yaml", profile)[0].thresholds
        ]
        for profile in ("pr", "nightly")
    }
    assert told == {
        "pr": ["latency{name:search} p(99)<80ms"],
        "nightly": [
            "latency{name:search} p(99.9)<80ms",
            "latency{name:search} p(99)<1s over 1m",
            "errors{name:search} rate<0.1%",
        ],
    }


@pytest.mark.parametrize(
    ("old", "new", "profile", "slug", "line"),
    [
        ("rate<0.1%", "rate<<0.1%", "pr", "threshold-syntax", 14),  # of another profile: wrong all the same
        ("over 1m", "over 11m", "nightly", "window-too-long", 13),
        ("thresholds:\n        latency", "threshold:\n        latency", "pr", "unknown-field", 12),
    ],
)
def test_a_profile_that_is_wrong_is_located(
    project: Path, old: str, new: str, profile: str, slug: str, line: int
) -> None:
    (project / "v.yaml").write_text(GOOD + PROFILES.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_validations(project / "v.yaml", profile)
    assert caught.value.location is not None
    assert (caught.value.slug, caught.value.location.line) == (slug, line)
