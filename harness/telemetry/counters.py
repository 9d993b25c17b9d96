"""Raw counters read straight from a service's metrics endpoint, while nothing is running.

Client and server must agree on how many requests there were. `increase()` extrapolates and so cannot say;
the difference of two raw readings can, if no request is under way at either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from typing import TypeVar

import requests
from prometheus_client.parser import text_string_to_metric_families

from harness.core.errors import HarnessError
from harness.telemetry.local import local_get

T = TypeVar("T")


def read_counters(url: str, names: Sequence[str], *, timeout: float = 2.0) -> dict[str, float]:
    """Name -> the sum of all series of that name at the metrics endpoint `url`, from one reading. A name may choose
    among them by labels: requests_total{method="GET"}.

    Raises HarnessError: counter-unreadable (no answer, not the exposition format), counter-missing (no such series, or
    a name that can be none).
    """
    found = present_counters(url, names, timeout=timeout)
    for name in names:
        if name not in found:
            raise missing(url, name)
    return found


def missing(url: str, name: str) -> HarnessError:
    """What a counter that is not there is."""
    return HarnessError(
        "counter-missing",
        f"{url} exports no series {name}",
        "Correct `counters` in stack.yaml, or export the counter and initialise it to 0.",
    )


def present_counters(url: str, names: Sequence[str], *, timeout: float = 2.0) -> dict[str, float]:
    """As read_counters, less those that are not there. Raises HarnessError counter-unreadable."""
    wanted = {name: _selector(name) for name in names}
    found: dict[str, list[float]] = {name: [] for name in names}
    completed: dict[str, list[float]] = {name: [] for name in names}
    try:
        reply = local_get(url, timeout=timeout)
        reply.raise_for_status()
        for family in text_string_to_metric_families(_lines_of(reply.text, [metric for metric, _ in wanted.values()])):
            for sample in family.samples:
                for name, (metric, labels) in wanted.items():
                    if sample.name == metric and labels <= sample.labels.items():
                        found[name].append(sample.value)
                    elif sample.name == f"{metric}_total" and labels <= sample.labels.items():
                        completed[name].append(sample.value)  # the parser completes the names of counters so
    except (requests.RequestException, ValueError) as error:
        raise HarnessError(
            "counter-unreadable",
            f"{', '.join(names)} could not be read from {url}: {error}",
            "Look at the service's log: it must answer there before and after the load.",
        ) from error
    return {name: sum(values) for name in names if (values := found[name] or completed[name])}


def _lines_of(page: str, metrics: Sequence[str]) -> str:
    """The lines that tell of `metrics`, for a page of thousands costs a tenth of a second to take apart; the whole page
    where there are none, so that one in another format is seen to be."""
    starts = tuple(start for metric in metrics if metric for start in (metric, f"# TYPE {metric}"))
    lines = [line for line in page.splitlines() if line.startswith(starts)] if starts else []
    return "\n".join(lines) + "\n" if lines else page


def _selector(name: str) -> tuple[str, Set[tuple[str, str]]]:
    """The metric and the labels, by the rules of the exposition format itself."""
    try:
        ((sample,),) = (family.samples for family in text_string_to_metric_families(f"{name} 0\n"))
    except ValueError:
        return "", frozenset()
    return sample.name, sample.labels.items()


def read_idle(read: Callable[[], T], *, settle: float = 0.3, deadline: float = 15.0) -> T:
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
