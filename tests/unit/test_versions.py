"""The one table of what differs between versions, and what reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.model.versions import (
    TABLE,
    Setting,
    VersionUnknown,
    milvus_of,
    parse_version,
    prometheus_of,
    version_table,
)
from harness.stack.docker.images import pinned_images
from harness.stack.docker.services import DECLARED
from harness.stack.docker.services.declared import Told
from harness.stack.gomod import module_version
from harness.stack.services import prometheus
from harness.stack.services.prometheus_settings import check_settings
from harness.stack.services.recipe import Context
from harness.stack.tools import Tool

ROOT = Path(__file__).parents[2]
JOBS = """\
scrape_configs:
  - job_name: plain
  - job_name: special
    {setting}: x
"""


def test_the_table_beside_the_code_is_the_one_in_monitoring() -> None:
    assert TABLE.resolve() == ROOT / "monitoring/schema/versions.yaml"


@pytest.mark.parametrize(
    ("text", "numbers"), [("2.3.5", (2, 3, 5)), ("v2.6.6-dev", (2, 6, 6)), ("2.42.0+ds", (2, 42, 0)), ("3", (3,))]
)
def test_versions_are_read_as_servers_print_them(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_version(text) == numbers


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(ValueError, match="'unknown' is no version"):
        parse_version("unknown")


def test_the_milvus_of_each_runtime_is_covered() -> None:
    compose = (ROOT / "docker-compose.test.yml").read_text()
    (pinned,) = re.findall(r"image: \S*milvus:(\S+)", compose)
    assert milvus_of(pinned).rest["search"] == ("POST", "/v2/vectordb/entities/search")
    assert milvus_of("2.3.5").rest["search"] == ("POST", "/v1/vector/search")


def test_the_proof_compiles_what_the_compose_file_names() -> None:
    """Prometheus 3.16.0 is v0.316.0 as a Go module."""
    images = {kind: image.rpartition(":")[2] for kind, image in pinned_images().items()}
    gotools = ROOT / "tests/proofs/gotools"
    major, minor, patch = parse_version(images["prometheus"])
    assert module_version(gotools, "github.com/prometheus/prometheus") == f"0.{major}{minor:02}.{patch}"
    assert module_version(gotools, "github.com/prometheus/alertmanager") == images["alertmanager"].lstrip("v")


def test_a_version_that_nobody_looked_at_is_not_guessed_at() -> None:
    with pytest.raises(VersionUnknown, match=r"nothing of Milvus 2\.4\.1, only of 2\.3 to before 2\.4, 2\.5 to"):
        milvus_of("2.4.1")
    with pytest.raises(VersionUnknown, match=r"nothing of Prometheus 1\.8"):
        prometheus_of("1.8")


def test_entries_of_a_server_do_not_overlap_and_series_are_the_same() -> None:
    """Objectives name series: one that only some versions have could not be asked on both runtimes."""
    table = version_table()
    for entries in (table.milvus, table.prometheus):
        edges = [parse_version(edge) for one in entries for edge in (one.from_, one.until)]
        assert edges == sorted(edges)
    assert len({frozenset(one.series) for one in table.milvus}) == 1
    assert all(list(labels) == sorted(labels) for one in table.milvus for labels in one.series.values())


def test_a_setting_is_known_from_its_first_version_to_before_its_last() -> None:
    setting = Setting(since="2.45", until="3.0")
    known = [version for version in ("2.42.0", "2.45.0", "2.55.1", "3.0.0") if setting.known_to(parse_version(version))]
    assert known == ["2.45.0", "2.55.1"]


@pytest.mark.parametrize(
    ("setting", "version", "known"),
    [
        ("fallback_scrape_protocol", "2.42.0+ds", False),
        ("fallback_scrape_protocol", "3.16.0", True),
        ("scrape_classic_histograms", "2.53.1", True),
        ("scrape_classic_histograms", "3.16.0", False),
        ("metrics_path", "2.42.0+ds", True),
        ("fallback_scrape_protocol", "5.0.0", True),  # nobody knows yet: it will speak for itself
        ("fallback_scrape_protocol", "", True),
    ],
)
def test_a_scrape_setting_is_refused_where_this_prometheus_does_not_know_it(
    tmp_path: Path, setting: str, version: str, known: bool
) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(JOBS.format(setting=setting))
    if known:
        check_settings(path, lambda: version)
        return
    with pytest.raises(UsageError) as raised:
        check_settings(path, lambda: version)
    error = raised.value
    assert (error.slug, error.location and error.location.line) == ("prometheus-config", 4)
    assert setting in error.cause
    assert version in error.cause


def test_the_server_is_not_asked_for_a_file_without_such_settings() -> None:
    def never() -> str:
        raise AssertionError("it was asked")

    check_settings(ROOT / "monitoring/prometheus/prometheus.yml", never)


def test_both_runtimes_look_before_they_start_a_prometheus(tmp_path: Path) -> None:
    """The local one at the version that the program prints, the other at that of the image."""
    path = tmp_path / "production.yml"
    printing = tmp_path / "prometheus"
    printing.write_text("#!/bin/sh\necho 'prometheus, version 2.42.0+ds (branch: debian/sid)'\n")
    printing.chmod(0o755)
    context = Context("prometheus", tmp_path, tmp_path, "abc", "pidns", "python", {"http": 1}, 1.0, path, {}, {},
                      lambda name: Tool(name, printing), tmp_path, tmp_path)  # fmt: skip
    told = Told("prometheus", tmp_path, "abc", 1.0, path, {}, {}, "token", has_disk=False)
    path.write_text(JOBS.format(setting="always_scrape_classic_histograms"))
    with pytest.raises(UsageError, match=r"from 3\.0 on, and this stack's is 2\.42\.0\+ds"):
        prometheus.RECIPE.render(context)
    DECLARED["prometheus"].render(told)
    path.write_text(JOBS.format(setting="scrape_classic_histograms"))
    with pytest.raises(UsageError, match=r"from 2\.45 to before 3\.0, and this stack's is v?3\."):
        DECLARED["prometheus"].render(told)
