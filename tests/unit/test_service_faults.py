"""Faults on services: on whom they can be put, and what they take; nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.faults.making import read
from harness.faults.registry import FAULTS
from harness.model.stackfile import load_stackfile
from harness.stack.availability import Unavailable
from harness.stack.isolation import VARIABLE, best_isolation

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("pause", "kill", "restart", "slow-cpu", "file-limit")


@pytest.mark.parametrize("name", SERVICES)
def test_it_can_be_put_on_every_service_and_on_no_job(name: str) -> None:
    file, _ = load_stackfile(ROOT / "stack.yaml")
    targets = set(FAULTS[name].targets(file))
    assert {"postgres", "milvus", "prometheus", "app", "traces"} <= targets
    assert not {"load-corpus", "load-features", "links"} & targets


def test_a_disk_can_be_full_where_a_service_has_one_of_its_own() -> None:
    file, _ = load_stackfile(ROOT / "stack.yaml")
    assert FAULTS["disk-full"].targets(file) == ("postgres",)


@pytest.mark.parametrize(("isolation", "word"), [("pidns", ""), ("subreaper", "no mounts of its own")])
def test_without_a_mount_namespace_there_is_no_disk_to_fill(
    isolation: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = load_stackfile(ROOT / "stack.yaml")
    monkeypatch.setenv(VARIABLE, isolation)
    best_isolation.cache_clear()
    try:
        told = FAULTS["disk-full"].lacking(file, "postgres", {})
        assert word in told and bool(told) is bool(word)
        missing = {"postgres": Unavailable("missing-binary", "no program postgres", "install it")}
        assert "no program postgres" in FAULTS["disk-full"].lacking(file, "postgres", missing)
    finally:
        best_isolation.cache_clear()


@pytest.mark.parametrize(("name", "values", "word"), [
    ("slow-cpu", {"share": 0}, "share is 0"),
    ("slow-cpu", {"share": 1}, "share is 1"),
    ("slow-cpu", {}, "share is required"),
    ("slow-cpu", {"share": 0.5, "period": "1ms"}, "period is 1ms"),
    ("slow-cpu", {"share": 0.5, "period": "2s"}, "period is 2s"),
    ("file-limit", {"spare": -1}, "spare is -1"),
    ("disk-full", {"spare": "a lot"}, "is not a size"),
    ("pause", {"lasting": "soon"}, "lasting is 'soon'"),
])  # fmt: skip
def test_values_that_cannot_be_are_refused(name: str, values: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(FAULTS[name], {"service": "postgres", **values})
    assert raised.value.slug == "fault-parameter"
    assert word in raised.value.cause
