"""What this machine cannot run, what goes with it, and what is refused because of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.model.finding import Finding
from harness.model.openslo_objective import Objective
from harness.model.promql import parse_promql
from harness.model.stackfile import StackFile, load_stackfile
from harness.slo.unavailable import without_services
from harness.stack.availability import needed_by, refuse_without, unavailable

STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: tiny}
spec:
  services:
    redis: {use: redis}
    milvus: {use: milvus}
    redis-exporter: {use: redis-exporter}
    traces: {use: otlp-sink}
    fill: {job: ["true"], needs: [milvus]}
    more: {job: ["true"], needs: [fill]}
    other: {command: [sleep, "9"], ports: [http]}
    web:
      command: [sleep, "9"]
      ports: [http]
      needs: [redis]
      after: [more]
      env: {TRACES: "${link:web->traces}", OTHER: "http://${address:other.http}"}
  links: {web->traces: {to: traces.http}}
  target: web.http
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackFile:
    """On a machine that has every program but Milvus (which is looked for in the cache alone)."""
    program = tmp_path / "redis-server"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("REDIS_SERVER", "REDIS_EXPORTER"):
        monkeypatch.setenv(f"SLO_HARNESS_TOOL_{name}", str(program))
    (tmp_path / "stack.yaml").write_text(STACK)
    return load_stackfile(tmp_path / "stack.yaml")[0]


def test_what_needs_a_missing_program_goes_with_it_and_what_only_follows_it_stays(file: StackFile) -> None:
    missing = unavailable(file)
    assert list(missing) == ["milvus", "fill", "more"]
    assert missing["milvus"].slug == "missing-binary"
    assert "stack install" in missing["milvus"].remedy
    assert missing["more"].slug == "needs-unavailable"
    assert "fill needs milvus" in missing["more"].cause and "neither on PATH" in missing["more"].cause
    assert missing["more"].remedy == missing["milvus"].remedy


def test_an_exporter_goes_with_the_service_that_it_is_of(file: StackFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLO_HARNESS_TOOL_REDIS_SERVER")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("harness.stack.tools._glob_absolute", lambda _pattern: iter(()))  # whatever stands in /usr/bin
    assert "redis-exporter needs redis" in unavailable(file)["redis-exporter"].cause
    assert "web" in unavailable(file)


def test_a_variable_that_leads_nowhere_is_a_mistake_and_no_missing_service(
    file: StackFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLO_HARNESS_TOOL_REDIS_SERVER", "/nowhere/redis-server")
    with pytest.raises(HarnessError) as refused:
        unavailable(file)
    assert refused.value.slug == "bad-tool-override"


def test_needs_are_followed_to_their_end_and_wishes_only_where_asked(file: StackFile) -> None:
    assert needed_by(file, ["web"], wishes=False) == {"web", "redis"}
    assert needed_by(file, ["web"], wishes=True) == {"web", "redis", "more", "fill", "milvus", "traces", "other"}
    assert needed_by(file, ["redis-exporter"], wishes=False) == {"redis-exporter", "redis"}


def test_who_needs_what_is_missing_is_refused_with_the_root_of_it(file: StackFile) -> None:
    missing = unavailable(file)
    refuse_without(file, needed_by(file, ["web"], wishes=False), missing, "validation a")
    with pytest.raises(HarnessError) as refused:
        refuse_without(file, needed_by(file, ["more"], wishes=False), missing, "validation b")
    assert (refused.value.slug, refused.value.outcome) == ("service-unavailable", Outcome.NOT_VALIDATED)
    assert refused.value.cause.startswith("validation b needs milvus, which cannot be had")
    assert refused.value.cause.count("neither on PATH") == 1
    assert refused.value.remedy == missing["milvus"].remedy


def objective(query: str) -> Objective:
    return Objective("objectives/x/0", "x", "threshold", {"value": parse_promql(query)}, "<", 1.0)


def stack(**unavailable: str) -> dict[str, Any]:
    said = {name: {"slug": "missing-binary", "cause": cause, "remedy": "get it"} for name, cause in unavailable.items()}
    return {"unavailable": said, "store": "prometheus", "jobs": {"redis": "redis_exporter", "app": "app"}}


def test_an_objective_on_the_job_of_a_missing_service_is_not_validated() -> None:
    found = Finding("objectives/x/0", "prometheus", Outcome.NO_DATA, reason="no series")
    on_redis = objective('rate(redis_commands_total{job="redis"}[1m])')
    changed = without_services(on_redis, found, stack(redis_exporter="no such program"))
    assert (changed.outcome, changed.slug) == (Outcome.NOT_VALIDATED, "service-unavailable")
    assert "redis_exporter" in changed.reason and "no such program" in changed.reason and "get it" in changed.reason
    assert without_services(on_redis, found, stack()) == found
    other = objective('up{job="app"}')
    passed = Finding("objectives/x/0", "prometheus", Outcome.PASS, observed=0.5)
    assert without_services(other, passed, stack(redis_exporter="no such program")) == passed


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ('min(up{job=~"redis|app"})', True),
        ('min(up{job=~"redi"})', False),  # anchored, as Prometheus does
        ('min(up{job!="app"})', True),
        ('min(up{job!~"r.*"})', False),
        ('up{job="app"} or up{job="redis"}', True),
        ("up", False),
    ],
)
def test_every_way_of_naming_a_job_counts(query: str, read: bool) -> None:
    passed = Finding("objectives/x/0", "prometheus", Outcome.PASS, observed=0.5)
    changed = without_services(objective(query), passed, stack(redis_exporter="no such program"))
    assert changed.outcome is (Outcome.NOT_VALIDATED if read else Outcome.PASS)


def test_what_failed_on_the_data_that_are_there_has_failed() -> None:
    failed = Finding("objectives/x/0", "prometheus", Outcome.FAIL, observed=2.0)
    query = 'max(lat{job="app"}) or max(lat{job="redis"})'
    assert without_services(objective(query), failed, stack(redis_exporter="no such program")) == failed


def test_without_a_metrics_store_no_objective_is_validated() -> None:
    found = Finding("objectives/x/0", "prometheus", Outcome.NO_DATA)
    changed = without_services(objective("up"), found, stack(prometheus="no such program"))
    assert changed.outcome is Outcome.NOT_VALIDATED


def test_missing_data_stay_missing_and_the_reason_says_what_did_not_run() -> None:
    found = Finding("objectives/x/0", "prometheus", Outcome.NO_DATA, reason="no series")
    changed = without_services(objective("redis_up"), found, stack(redis_exporter="no such program"))
    assert changed.outcome is Outcome.NO_DATA
    assert changed.reason == "no series; this machine cannot run redis_exporter"
