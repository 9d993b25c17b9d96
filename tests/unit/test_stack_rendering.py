"""Production configurations as a stack's copies: addresses and times are the stack's, everything else stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from harness.core.duration import parse_duration
from harness.model.source import load_documents
from harness.model.stackfile import load_stackfile
from harness.stack.services import alertmanager, loki
from harness.stack.services.prometheus import rendered

ROOT = Path(__file__).parent.parent.parent


def production(name: str) -> Any:
    (document,) = load_documents(ROOT / "monitoring" / name)
    return document.data


def test_prometheus_is_pointed_at_the_stack_and_its_durations_divided() -> None:
    config: dict[str, Any] = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "1m", "external_labels": {"site": "x"}},
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            {
                "job_name": "here",
                "scrape_timeout": "10s",
                "metrics_path": "/m",
                "static_configs": [{"targets": ["a:1"]}],
            },
            {"job_name": "elsewhere", "static_configs": [{"targets": ["b:1"]}]},
        ],
    }
    made = rendered(config, {"here": "127.0.0.1:5"}, None, 15, "abc")
    assert made["global"] == {
        "scrape_interval": "1000ms",
        "evaluation_interval": "4000ms",
        "external_labels": {"site": "x", "stack": "abc"},
    }
    assert made["rule_files"] == ["rules/*.yml"]
    assert made["scrape_configs"] == [
        {
            "job_name": "here",
            "scrape_timeout": "667ms",
            "metrics_path": "/m",
            "static_configs": [{"targets": ["127.0.0.1:5"]}],
        }
    ]
    assert config["global"]["scrape_interval"] == "15s"


def test_the_production_configuration_keeps_the_real_durations_and_has_every_scraped_job() -> None:
    (document,) = load_documents(ROOT / "monitoring/prometheus/prometheus.yml")
    assert document.data["global"] == {"scrape_interval": "15s", "evaluation_interval": "15s"}
    file, _ = load_stackfile(ROOT / "stack.yaml")
    assert {job["job_name"] for job in document.data["scrape_configs"]} >= file.spec.scrape.keys()


def test_prometheus_sends_alerts_to_the_alertmanager_of_its_stack_or_to_nobody() -> None:
    config = production("prometheus/prometheus.yml")
    there = rendered(config, {}, "127.0.0.1:7", 15, "abc")
    assert there["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["127.0.0.1:7"]}]}]
    assert "alerting" not in rendered(config, {}, None, 15, "abc")
    assert rendered({"scrape_configs": []}, {}, "h:1", 1, "x")["alerting"]["alertmanagers"] == [
        {"static_configs": [{"targets": ["h:1"]}]}
    ]


def test_nothing_of_a_stack_reaches_production() -> None:
    config = {
        "remote_write": [{"url": "https://store"}],
        "remote_read": [{"url": "https://store"}],
        "alerting": {
            "alert_relabel_configs": [{"regex": "replica", "action": "labeldrop"}],
            "alertmanagers": [{"scheme": "https", "path_prefix": "/am", "dns_sd_configs": [{"names": ["am"]}]}],
        },
        "scrape_configs": [{"job_name": "here", "kubernetes_sd_configs": [{"role": "pod"}]}],
    }
    made = rendered(config, {"here": "127.0.0.1:5"}, "127.0.0.1:7", 1, "abc")
    assert made.keys() == {"global", "scrape_configs", "alerting"}
    assert made["scrape_configs"] == [{"job_name": "here", "static_configs": [{"targets": ["127.0.0.1:5"]}]}]
    assert made["alerting"] == {
        "alert_relabel_configs": [{"regex": "replica", "action": "labeldrop"}],
        "alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:7"]}]}],
    }


def test_times_that_are_left_to_their_defaults_are_divided_too() -> None:
    made = rendered({"scrape_configs": []}, {}, None, 60, "abc")
    assert made["global"]["scrape_interval"] == made["global"]["evaluation_interval"] == "1000ms"
    route = alertmanager.rendered({"route": {"receiver": "a"}, "receivers": [{"name": "a"}]}, "s:1", 60)["route"]
    assert (route["group_wait"], route["group_interval"], route["repeat_interval"]) == ("500ms", "5000ms", "240000ms")


def test_a_receiver_may_have_any_name() -> None:
    made = alertmanager.rendered({"route": {"receiver": "a#b 50%"}, "receivers": [{"name": "a#b 50%"}]}, "s:1", 1)
    assert made["receivers"][0]["webhook_configs"][0]["url"] == "http://s:1/notify/a%23b%2050%25"


def test_every_receiver_becomes_a_webhook_of_its_own_and_routes_keep_their_sense() -> None:
    config = production("alertmanager/alertmanager.yml")
    before = copy.deepcopy(config)
    made = alertmanager.rendered(config, "127.0.0.1:9", 15)
    assert config == before
    assert made["receivers"] == [
        {"name": name, "webhook_configs": [{"url": f"http://127.0.0.1:9/notify/{name}", "send_resolved": True}]}
        for name in ("oncall", "incident-response", "executive")
    ]
    assert [route["matchers"] for route in made["route"]["routes"]] == [
        route["matchers"] for route in config["route"]["routes"]
    ]
    assert (made["route"]["group_wait"], made["route"]["group_interval"]) == ("0s", "1000ms")
    assert parse_duration(made["route"]["repeat_interval"]) == 960 * 10**9
    assert parse_duration(made["global"]["resolve_timeout"]) == 20 * 10**9
    without = alertmanager.rendered(config, None, 15)
    assert without["receivers"] == [{"name": name} for name in ("oncall", "incident-response", "executive")]


def test_times_of_routes_below_routes_are_divided_and_production_senders_are_dropped() -> None:
    config = {
        "route": {"receiver": "a", "routes": [{"receiver": "a", "routes": [{"group_wait": "30s", "continue": True}]}]},
        "receivers": [{"name": "a", "email_configs": [{"to": "x@y"}]}],
        "templates": ["*.tmpl"],
        "inhibit_rules": [{"equal": ["job"]}],
    }
    made = alertmanager.rendered(config, "s:1", 10)
    assert made["route"]["routes"][0]["routes"][0] == {"group_wait": "3000ms", "continue": True}
    assert "email_configs" not in made["receivers"][0] and "templates" not in made
    assert made["inhibit_rules"] == config["inhibit_rules"]


def test_the_severities_of_the_playbook_have_receivers_of_their_own() -> None:
    route = production("alertmanager/alertmanager.yml")["route"]
    who = {route["matchers"][0]: route["receiver"] for route in route["routes"]}
    assert who == {
        'severity="warning"': "oncall",
        'severity="critical"': "incident-response",
        'severity="severe"': "executive",
    }


@pytest.mark.parametrize("config", [production("loki/loki.yaml"), loki._DEFAULT], ids=["production", "default"])
def test_loki_keeps_everything_below_its_directory_and_its_limits(config: Any) -> None:
    made = loki.rendered(config, Path("/d"), 5, 6)
    text = str(made)
    assert (made["server"]["http_listen_port"], made["server"]["grpc_listen_port"]) == (5, 6)
    assert made["common"]["path_prefix"] == "/d/data"
    assert made["storage_config"]["object_store"] == {"filesystem": {"dir": "/d/chunks"}}
    assert made["storage_config"]["use_thanos_objstore"] is True
    assert made["runtime_config"] == {"file": "/d/runtime.yaml", "period": "500ms"}
    assert "/loki" not in text and "0.0.0.0" not in text
    classic = {**config, "common": {"storage": {"filesystem": {"chunks_directory": "/loki/chunks"}}},
               "compactor": {"working_directory": "/loki/compactor"}, "ingester": {"wal": {"dir": "/loki/wal"}},
               "storage_config": {"filesystem": {"directory": "/loki/c"}}}  # fmt: skip
    assert "/loki" not in str(loki.rendered(classic, Path("/d"), 5, 6))
    assert loki.rendered(classic, Path("/d"), 5, 6)["storage_config"]["use_thanos_objstore"] is True
    assert made["schema_config"] == config["schema_config"]
    assert made.get("limits_config") == config.get("limits_config")
