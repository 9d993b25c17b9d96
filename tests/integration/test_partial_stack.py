"""A machine that lacks a server: what does not need it runs and is judged, what needs it is not-validated, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.outcome import Outcome
from harness.core.paths import cache_dir
from harness.gate.session import Session
from harness.model.events import Event, StackEvent
from harness.stack.tools import find_on_machine
from harness.stack.toolspec import tool_table
from tests.integration.helpers import DISTURBED, ROOT, finding, harness, latest, run_one, unexpected, write_validation

pytestmark = pytest.mark.stack
SLOS = ROOT / "slos"


def cache_without(tmp_path: Path, *hidden: str) -> Path:
    """A cache that holds what this user's does, less the kits called `hidden`. Skips where one is installed for all."""
    for spec in tool_table().values():
        if spec.kit.name in hidden and find_on_machine(spec) is not None:
            pytest.skip(f"this machine has a {spec.binary} of its own, which cannot be hidden")
    real, own = cache_dir(), tmp_path / "cache"
    (own / "slo-harness/tools/debian").mkdir(parents=True)
    for name in ("artefacts", "postgres"):
        (real / name).mkdir(exist_ok=True)
        (own / "slo-harness" / name).symlink_to(real / name)
    for tool in (real / "tools").iterdir():
        if not tool.name.startswith((".", "debian", *hidden)):
            (own / "slo-harness/tools" / tool.name).symlink_to(tool)
    for system in (real / "tools/debian").iterdir():
        (own / "slo-harness/tools/debian" / system.name).mkdir()
        for kit in system.iterdir():
            if not kit.name.startswith(hidden):
                (own / "slo-harness/tools/debian" / system.name / kit.name).symlink_to(kit)
    return own


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on a machine that has neither Milvus, nor Loki, nor the Redis exporter."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_without(tmp_path, "milvus", "loki", "redis-exporter")))
    with Session(tmp_path / "results", reuse=False) as session:
        yield session


def test_what_does_not_need_a_missing_server_is_judged_and_the_rest_is_not_validated(
    without: Session, tmp_path: Path
) -> None:
    heard: list[Event] = []
    without.handlers.append(heard.append)

    searched = run_one(write_validation(tmp_path), without)  # needs all that the app works with
    assert searched.verdict.outcome is Outcome.NOT_VALIDATED
    ending = finding(searched, "run/completed")
    assert ending.slug == "service-unavailable"
    assert "needs milvus, loki" in ending.reason and "harness stack install" in ending.reason
    assert {one.outcome for one in searched.verdict.findings} == {Outcome.NOT_VALIDATED}
    assert not [one for one in heard if isinstance(one, StackEvent)]  # nothing was started for it

    path = write_validation(
        tmp_path,
        name="predicts",
        scenario=ROOT / "scenarios/inference.py",
        thresholds='{"errors{name:predict}": ["rate<3%"], "correct{name:predict}": ["avg>=0.9"]}',
        objectives=f"[{SLOS / 'features.openslo.yaml'}]",
        needs="[load-features, redis, model-server]",
        duration="6s",
    )
    predicted = run_one(path, without)
    commands = finding(predicted, "objectives/redis-commands/mean")
    assert commands.outcome is Outcome.NOT_VALIDATED
    assert "redis-exporter" in commands.reason and "remedy" in commands.reason
    assert unexpected(predicted) == [f"{commands.id}: {commands.outcome}: {commands.reason}"]
    assert not predicted.verdict.accepted  # and so not a success, unless it is allowed by name
    assert set(predicted.verdict.unavailable) == {"milvus", "loki", "redis-exporter", "load-corpus"}
    told = {one.service: one for one in heard if isinstance(one, StackEvent) and one.state == "unavailable"}
    assert told.keys() == set(predicted.verdict.unavailable)
    assert all("remedy: " in one.detail for one in told.values())
    # each of those that are there is scraped, and no other is expected
    assert finding(predicted, "counts/predict").outcome is Outcome.PASS


def test_without_prometheus_the_client_is_judged_and_no_objective_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"XDG_CACHE_HOME": str(cache_without(tmp_path, "prometheus"))}
    path = write_validation(
        tmp_path,
        name="features",
        scenario=ROOT / "scenarios/features.py",
        thresholds='{"errors{name:features}": ["rate<3%"]}',
        objectives=f"[{SLOS / 'features.openslo.yaml'}]",
        needs="[load-features, redis]",
    )
    done = harness("run", str(path), "--no-reuse", cwd=tmp_path, env=env)
    assert done.returncode == 3, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    rows = {line.split()[1]: line.split()[0] for line in lines if line[:5] in ("pass ", "not-v", "no-da", "error")}
    assert rows["errors{name:features}"] == "pass"
    assert rows["feature-freshness/age"] == rows["redis-commands/mean"] == "not-validated"
    assert rows["counts/features"] == "pass"
    assert "this machine ran it without prometheus" in done.stdout
    allowed = harness("run", str(path), "--no-reuse", "--allow-unvalidated", "features", cwd=tmp_path, env=env)
    verdict = latest(tmp_path)
    assert verdict["allowed_unvalidated"]
    assert allowed.returncode == 0 or any(one["slug"] in DISTURBED for one in verdict["findings"]), allowed.stdout
