"""Prometheus behind the port of harness.telemetry.metrics_port, on prometheus-api-client. Its retries and exceptions
stay in here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from harness.core.duration import parse_duration
from harness.telemetry.metrics_port import Instant, MetricsStore, Point, QueryFailed, Range, Samples, Target

if TYPE_CHECKING:
    import requests

__all__ = ["Instant", "MetricsStore", "Point", "PrometheusStore", "QueryFailed", "Range", "Samples", "Target"]

A = TypeVar("A")
CONNECT_S = 2.0


class PrometheusStore:
    """MetricsStore on a Prometheus at `url`; timeout: seconds for one answer. For one thread at a time.

    A dead server is told from a live one at the first attempt: nothing is retried. Proxies of the environment are not
    used.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        # Here and not above: these imports take half a second, which `harness --help` need not pay.
        import requests
        from prometheus_api_client.prometheus_connect import PrometheusConnect
        from urllib3.util.retry import Retry

        self.url = url.rstrip("/")
        session = requests.Session()
        session.trust_env = False
        session.hooks["response"].append(self._keep)
        self._client: Any = PrometheusConnect(
            self.url, retry=Retry(total=0), session=session, timeout=(CONNECT_S, timeout)
        )
        self._reply: requests.Response | None = None

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def instant(self, query: str, at_ns: int | None = None) -> Instant | QueryFailed:
        """See MetricsStore."""
        params = {} if at_ns is None else {"time": _seconds(at_ns)}
        return self._ask(lambda: _instant(self._client.custom_query(query, params)))

    def range(self, query: str, start_ns: int, end_ns: int, step: float) -> Range | QueryFailed:
        """See MetricsStore."""
        start, end = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (start_ns, end_ns))
        # The client rounds the times to whole seconds; as parameters they pass unharmed.
        exact = {"start": _seconds(start_ns), "end": _seconds(end_ns)}
        return self._ask(lambda: _range(self._client.custom_query_range(query, start, end, f"{step:.3f}", exact)))

    def raw(self, selector: str, start_ns: int, end_ns: int) -> Range | QueryFailed:
        """See MetricsStore."""
        start = start_ns // 1_000_000
        # Prometheus 3 leaves the left end of a range out, so it is a millisecond earlier; before 3 that one is in it.
        query = f"{selector}[{max(1, end_ns // 1_000_000 - start + 1)}ms]"
        return self._ask(lambda: _since(start, _range(self._client.custom_query(query, {"time": _seconds(end_ns)}))))

    def targets(self) -> Sequence[Target] | QueryFailed:
        """See MetricsStore."""
        return self._ask(lambda: [_target(entry) for entry in self._client.get_targets("active")["activeTargets"]])

    def wait_for_sample(
        self, jobs: str | Sequence[str], at_wall_ns: int, deadline: float = 15.0, *, targets_per_job: int = 1
    ) -> bool:
        """See MetricsStore."""
        waiting = {jobs} if isinstance(jobs, str) else set(jobs)
        until = time.monotonic() + deadline
        while True:
            answer = self.instant("timestamp(up)")
            if isinstance(answer, QueryFailed):
                if answer.kind in ("store-down", "bad-query"):
                    return False
            else:
                for job in sorted(waiting):
                    seen = [point.value for point in answer.series if point.labels.get("job") == job]
                    if len(seen) >= targets_per_job and min(seen) >= at_wall_ns / 1e9:
                        waiting.discard(job)
            if not waiting or time.monotonic() >= until:
                return not waiting
            time.sleep(0.05)

    def buildinfo(self) -> str | QueryFailed:
        """See MetricsStore."""
        # The client knows no /status/buildinfo; the same version stands in a metric only if it scrapes itself.
        url = f"{self.url}/api/v1/status/buildinfo"

        def ask() -> str:
            reply = self._client._session.get(url, timeout=self._client._timeout)
            reply.raise_for_status()
            return str(reply.json()["data"]["version"])

        return self._ask(ask)

    def _keep(self, reply: requests.Response, *_: Any, **__: Any) -> None:
        """The client returns neither status nor warnings: keep the reply itself."""
        self._reply = reply

    def _ask(self, question: Callable[[], A]) -> A | QueryFailed:
        import requests
        from prometheus_api_client.exceptions import PrometheusApiClientException

        self._reply = None
        try:
            answer = question()
        except requests.Timeout as error:
            return QueryFailed("timeout", f"{self.url} gave no answer in time ({type(error).__name__})")
        except requests.exceptions.ChunkedEncodingError:
            return QueryFailed("partial", f"{self.url} broke its answer off")
        except requests.exceptions.JSONDecodeError:
            return QueryFailed("http", f"{self.url} answered something that is not JSON")
        except requests.ConnectionError as error:
            if "Timeout" in _innermost(error):  # in the middle of the body
                return QueryFailed("timeout", f"{self.url} stopped answering before it had finished")
            return QueryFailed("store-down", f"nothing answers at {self.url} ({_innermost(error)})")
        except (PrometheusApiClientException, requests.RequestException):
            return self._refused()
        except (KeyError, TypeError, ValueError, IndexError) as error:
            return QueryFailed("http", f"{self.url} answered JSON that is not Prometheus's ({type(error).__name__})")
        if warnings := _body(self._reply).get("warnings"):
            return QueryFailed("partial", f"{self.url} warns: {'; '.join(map(str, warnings))[:300]}")
        return answer

    def _refused(self) -> QueryFailed:
        status = 0 if self._reply is None else self._reply.status_code
        body = _body(self._reply)
        detail = f"{self.url} answered {status}: {str(body.get('error', 'no reason given'))[:300]}"
        kind = body.get("errorType")
        if kind in ("timeout", "canceled"):
            return QueryFailed("timeout", detail)
        if kind in ("bad_data", "execution") and status in (400, 422):
            return QueryFailed("bad-query", detail)
        return QueryFailed("http", detail)


def _seconds(nanoseconds: int) -> str:
    """Seconds to the millisecond, cut and not rounded: a sample after the end must stay outside."""
    milliseconds = nanoseconds // 1_000_000
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def _instant(result: Any) -> Instant:
    if result and not isinstance(result[0], dict):  # a scalar: [time, "value"]
        return Instant([Point({}, float(result[1]), float(result[0]))])
    return Instant([Point(entry["metric"], float(entry["value"][1]), float(entry["value"][0])) for entry in result])


def _range(result: Any) -> Range:
    return Range([Samples(e["metric"], [(float(t), float(v)) for t, v in e["values"]]) for e in result])


def _since(start_ms: int, answer: Range) -> Range:
    """Without samples before `start_ms`, and without series that have no other."""
    kept = [
        Samples(one.labels, [(t, v) for t, v in one.samples if round(t * 1000) >= start_ms]) for one in answer.series
    ]
    return Range([one for one in kept if one.samples])


def _target(entry: Mapping[str, Any]) -> Target:
    labels = entry["labels"]
    interval = parse_duration(entry["scrapeInterval"]) / 1e9
    return Target(labels.get("job", ""), labels.get("instance", ""), interval, entry["health"])


def _body(reply: requests.Response | None) -> dict[str, Any]:
    try:
        body = orjson.loads(reply.content) if reply is not None else {}
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _innermost(error: BaseException) -> str:
    """The name of what happened below the client's layers, for example ConnectionRefusedError."""
    seen: BaseException = error
    while (below := seen.__cause__ or seen.__context__) is not None:
        seen = below
    return type(seen).__name__
