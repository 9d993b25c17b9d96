"""Prometheus must see exactly the promised targets: "all that are present are up" would pass without one."""

from __future__ import annotations

import time
from collections.abc import Mapping

import requests

from harness.core.errors import HarnessError
from harness.telemetry.local import local_get

POLL_SECONDS = 0.1


def await_targets(prometheus_url: str, expected: Mapping[str, str], deadline: float = 30.0) -> None:
    """Wait until the active targets are exactly `expected` (job -> host:port) and each was scraped with success.

    deadline: seconds from now; Prometheus makes no scrape in its first 5 s. Raises HarnessError: targets-missing, with
    the jobs that are missing, down (and why) or not expected; no answer from Prometheus counts as all missing.
    """
    until = time.monotonic() + deadline
    while problems := _problems(prometheus_url, expected):
        if time.monotonic() >= until:
            raise HarnessError(
                "targets-missing",
                f"after {deadline:.0f} s Prometheus at {prometheus_url} does not see what it must: "
                + "; ".join(problems),
                "Compare `scrape` in stack.yaml with prometheus.yml, and look at those services' logs.",
            )
        time.sleep(POLL_SECONDS)


def _problems(url: str, expected: Mapping[str, str]) -> list[str]:
    """What differs from `expected`, one line each; none when all is well."""
    try:
        reply = local_get(f"{url}/api/v1/targets", params={"state": "active"}, timeout=5)
        reply.raise_for_status()
        active = reply.json()["data"]["activeTargets"]
    except (requests.RequestException, ValueError, KeyError) as error:
        return [f"no list of targets ({error})"]
    seen = {(target["labels"]["job"], target["discoveredLabels"]["__address__"]): target for target in active}
    wanted = set(expected.items())
    problems = [f"{job} ({address}) is missing" for job, address in sorted(wanted - seen.keys())]
    problems += [f"{job} ({address}) is not expected" for job, address in sorted(seen.keys() - wanted)]
    for job, address in sorted(wanted & seen.keys()):
        target = seen[job, address]
        if target["health"] == "unknown":
            problems.append(f"{job} ({address}) has not been scraped yet")
        elif target["health"] != "up":
            problems.append(f"{job} ({address}) is {target['health']}: {target['lastError']}")
    return problems
