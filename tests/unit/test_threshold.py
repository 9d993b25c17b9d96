"""The threshold grammar, accepted and refused, and its arithmetic."""

from __future__ import annotations

import math

import pytest

from harness.model.threshold import GrammarError, holds, margin, parse_selector, parse_threshold


@pytest.mark.parametrize(
    ("text", "aggregation", "quantile", "operator", "value", "unit"),
    [
        ("p(99)<80ms", "quantile", 0.99, "<", 0.08, "s"),
        ("p(99.9) <= 1.5s", "quantile", 0.999, "<=", 1.5, "s"),
        ("med<500us", "quantile", 0.5, "<", 0.0005, "s"),
        ("avg>=0.95", "avg", None, ">=", 0.95, ""),
        ("rate<0.1%", "rate", None, "<", 0.001, "%"),
        ("count>100", "count", None, ">", 100.0, ""),
        ("rate > 50/s", "rate", None, ">", 50.0, "/s"),
        ("max!=-1", "max", None, "!=", -1.0, ""),
    ],
)
def test_conditions(
    text: str, aggregation: str, quantile: float | None, operator: str, value: float, unit: str
) -> None:
    threshold = parse_threshold("latency", text)
    assert (threshold.aggregation, threshold.quantile, threshold.operator, threshold.unit) == (
        aggregation,
        quantile,
        operator,
        unit,
    )
    assert threshold.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("p(99)<80ms over 10s", 10), ("rate<5% over 1m30s", 90), ("avg<5", None)]
)
def test_windows(text: str, seconds: int | None) -> None:
    threshold = parse_threshold("latency", text)
    assert (threshold.window_seconds, threshold.condition_text) == (seconds, text)


@pytest.mark.parametrize(
    ("text", "position"),
    [("p(99)<80ms over", 15), ("p(99)<80ms over 10", 16), ("p(99)<80ms over 1.5s", 16), ("avg<5 over 200ms", 11),
     ("avg<5 over 0s", 11), ("avg<5 overall 10s", 6), ("avg<5 over 10s 5", 15)],
)  # fmt: skip
def test_windows_that_are_refused(text: str, position: int) -> None:
    with pytest.raises(GrammarError) as raised:
        parse_threshold("latency", text)
    assert raised.value.position == position


def test_selectors() -> None:
    assert parse_selector("latency") == ("latency", {})
    assert parse_selector("latency{name:search, outcome:ok}") == ("latency", {"name": "search", "outcome": "ok"})


@pytest.mark.parametrize(
    ("text", "position"),
    [("", 0), ("p99<80ms", 0), ("p(0)<1", 2), ("p(100)<1", 2), ("p(99<1", 4), ("avg=1", 3), ("avg<", 4),
     ("avg<1ms x", 8), ("avg<ms", 4)],
)  # fmt: skip
def test_conditions_refused_at_the_place(text: str, position: int) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_threshold("latency", text)
    assert caught.value.position == position


@pytest.mark.parametrize(("text", "position"), [("{a:b}", 0), ("m{a}", 3), ("m{a:b", 5), ("m{a:}", 4), ("m{a:b} c", 7)])
def test_selectors_refused_at_the_place(text: str, position: int) -> None:
    with pytest.raises(GrammarError) as caught:
        parse_selector(text)
    assert caught.value.position == position


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
def test_nan_never_holds(operator: str) -> None:
    assert not holds(math.nan, operator, 1.0)


def test_margin_is_positive_inside_whatever_the_direction() -> None:
    assert margin(0.06, "<", 0.08) == pytest.approx(0.25)
    assert margin(0.10, "<", 0.08) == pytest.approx(-0.25)
    assert margin(0.99, ">=", 0.9) == pytest.approx(0.1)
    assert margin(1.0, "<", 0.0) is None
