"""Raw counters read straight from a service's metrics endpoint, while nothing is running.

Client and server must agree on how many requests there were. `increase()` extrapolates and so cannot say;
the difference of two raw readings can, if no request is under way at either.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import requests
from prometheus_client.parser import text_string_to_metric_families

from harness.core.errors import HarnessError


def read_counter(url: str, series: str, *, timeout: float = 2.0) -> float:
    """The sum of all series named `series` at the metrics endpoint `url`.

    Raises HarnessError: counter-unreadable (no answer, not the exposition format), counter-missing (no such series).
    """
    try:
        reply = requests.get(url, timeout=timeout)
        reply.raise_for_status()
        values = [
            sample.value
            for family in text_string_to_metric_families(reply.text)
            for sample in family.samples
            if sample.name == series
        ]
    except (requests.RequestException, ValueError) as error:
        raise HarnessError(
            "counter-unreadable",
            f"{series} could not be read from {url}: {error}",
            "Look at the service's log: it must answer there before and after the load.",
        ) from error
    if not values:
        raise HarnessError(
            "counter-missing",
            f"{url} exports no series {series}",
            "Correct `counters` in stack.yaml, or export the counter and initialise it to 0.",
        )
    return sum(values)


def read_idle(read: Callable[[], float], *, settle: float = 0.3, deadline: float = 15.0) -> float:
    """`read()` once it has stood still for `settle` seconds: nothing is under way any more.

    Raises HarnessError counter-restless when it still moves after `deadline` seconds.
    """
    until = time.monotonic() + deadline
    last, since = read(), time.monotonic()
    while time.monotonic() < until:
        time.sleep(settle / 6)
        value = read()
        if value != last:
            last, since = value, time.monotonic()
        elif time.monotonic() - since >= settle:
            return value
    raise HarnessError(
        "counter-restless",
        f"the server's counter still moved after {deadline:.0f} s without load",
        "Something else sends requests to this system; validate one that is not in use.",
    )
