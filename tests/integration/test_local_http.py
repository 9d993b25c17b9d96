"""What is asked of the stack goes to it directly, whatever proxy the environment names."""

from __future__ import annotations

import pytest

from harness.telemetry.local import local_get
from harness.telemetry.metrics import PrometheusStore
from tests.integration.metrics_lab import server_that_says


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    version = b'{"status":"success","data":{"version":"of the stack"}}'
    with server_that_says(502, b"the proxy") as proxy, server_that_says(200, version) as stack:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        reply = local_get(f"{stack}/metrics", timeout=5)
        assert (reply.status_code, reply.content) == (200, version)
        store = PrometheusStore(stack, timeout=5)
        assert store.buildinfo() == "of the stack"
        store.close()
