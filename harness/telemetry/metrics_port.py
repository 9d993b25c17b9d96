"""The port to a store of metrics. Answers are values: a store that fails is evidence too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FailureKind = Literal["store-down", "timeout", "http", "bad-query", "partial"]


@dataclass(frozen=True, slots=True)
class QueryFailed:
    """A question without a usable answer.

    store-down: nothing answers there; timeout: it did not answer in time; http: an answer that is none of
    Prometheus's; bad-query: it refuses the query; partial: it says that its answer is not complete, or it broke off.
    """

    kind: FailureKind
    detail: str


@dataclass(frozen=True, slots=True)
class Point:
    """One series of an instant answer. time: seconds since the epoch; value may be NaN or infinite."""

    labels: Mapping[str, str]
    value: float
    time: float


@dataclass(frozen=True, slots=True)
class Instant:
    """The answer to an instant query; a scalar is one point without labels."""

    series: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Samples:
    """One series of a range answer: (seconds since the epoch, value), oldest first."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Range:
    """The answer to a range query, or the raw samples of a selector."""

    series: Sequence[Samples]


@dataclass(frozen=True, slots=True)
class Target:
    """What the store scrapes. interval: seconds between scrapes; health: up | down | unknown."""

    job: str
    instance: str
    interval: float
    health: str


class MetricsStore(Protocol):
    """What the harness asks a store of metrics. No method raises for what the store does; times are wall-clock."""

    def instant(self, query: str, at_ns: int | None = None) -> Instant | QueryFailed:
        """The value of `query` at `at_ns`, or at the store's own now."""

    def range(self, query: str, start_ns: int, end_ns: int, step: float) -> Range | QueryFailed:
        """The value of `query` every `step` seconds from start to end, both included."""

    def raw(self, selector: str, start_ns: int, end_ns: int) -> Range | QueryFailed:
        """The samples of a plain selector as they were scraped, from start to end, both included."""

    def targets(self) -> Sequence[Target] | QueryFailed:
        """What is scraped now."""

    def wait_for_sample(
        self, jobs: str | Sequence[str], at_wall_ns: int, deadline: float = 15.0, *, targets_per_job: int = 1
    ) -> bool:
        """Wait until every target of every one of `jobs` was scraped at or after `at_wall_ns`: then all that was
        scraped before is in. A scrape that failed counts, `up` is stored with it.

        deadline: seconds to wait at most. False when it passed, or when the store is down."""

    def buildinfo(self) -> str | QueryFailed:
        """The version that the store itself reports."""
