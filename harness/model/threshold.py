"""Thresholds on what the client saw, in k6's form: `latency{name:search}: ["p(99)<80ms"]`.

    selector    = metric , [ "{" , tag , { "," , tag } , "}" ] ;
    tag         = name , ":" , text ;                  (* text: no comma, no brace *)
    condition   = aggregation , operator , number , [ "over" , window ] ;
    aggregation = "count" | "rate" | "avg" | "min" | "max" | "med" | "p(" , decimal , ")" ;
    operator    = "<" | "<=" | ">" | ">=" | "==" | "!=" ;
    number      = [ "-" ] , decimal , [ unit ] ;
    unit        = "ns" | "us" | "ms" | "s" | "m" | "%" | "/s" ;
    metric, name = letter , { letter | digit | "_" | "." } ;
    decimal     = digit , { digit } , [ "." , digit , { digit } ] ;
    window      = duration ;                           (* whole seconds, as in 10s or 1m30s *)

White space between the parts is allowed. A `%` divides by 100; a time is kept in seconds. With `over`, the
condition must hold in every window of that length within the steady phase.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from harness.core.duration import parse_duration

OPERATORS = ("<=", ">=", "==", "!=", "<", ">")
AGGREGATIONS = ("count", "rate", "avg", "min", "max", "med", "p(N)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_TAG_TEXT = re.compile(r"[^,{}\s][^,{}]*")
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?")
_UNIT = re.compile(r"ns|us|ms|s|m|%|/s")
_OVER = re.compile(r"over\b")
_DURATION = re.compile(r"[\w.]+")
_SECOND = 1_000_000_000


class GrammarError(ValueError):
    """`text` does not follow the grammar at `position` (from 0), where `expected` should have been."""

    def __init__(self, text: str, position: int, expected: str) -> None:
        super().__init__(f"expected {expected}" + (f", found {text[position:]!r}" if position < len(text) else ""))
        self.position = position


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition on one selection of samples. `value` is in seconds for times, else as written (% / 100)."""

    metric: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aggregation: str = "avg"  # count | rate | avg | min | max | quantile
    quantile: float | None = None  # 0..1, for aggregation 'quantile'
    operator: str = "<"
    value: float = 0.0
    unit: str = ""  # 's' for times, '%' where written so, '/s', or ''
    window_seconds: int | None = None  # of every window that must hold; None: the steady phase as one
    selector_text: str = ""
    condition_text: str = ""

    @property
    def id(self) -> str:
        return f"thresholds/{self.selector_text}/{self.condition_text}"


def holds(observed: float, operator: str, target: float) -> bool:
    """Whether `observed operator target` is true; never true of NaN, whatever the operator."""
    if observed != observed:
        return False
    return {
        "<": observed < target,
        "<=": observed <= target,
        ">": observed > target,
        ">=": observed >= target,
        "==": observed == target,
        "!=": observed != target,
    }[operator]


def margin(observed: float, operator: str, target: float) -> float | None:
    """How far inside the target `observed` lies, as a share of the target (negative: outside); None if undefined."""
    if target == 0 or operator in ("==", "!="):
        return None
    distance = (target - observed) / abs(target)
    return distance if operator in ("<", "<=") else -distance


def parse_selector(text: str) -> tuple[str, dict[str, str]]:
    """(metric, tags) of a selector. Raises GrammarError."""
    scan = _Scanner(text)
    metric = scan.take(_NAME, "a metric name such as latency")
    tags: dict[str, str] = {}
    if scan.literal("{"):
        while True:
            name = scan.take(_NAME, "a tag name")
            if not scan.literal(":"):
                raise GrammarError(text, scan.at, "':' after the tag name")
            tags[name] = scan.take(_TAG_TEXT, "a tag value").strip()
            if scan.literal("}"):
                break
            if not scan.literal(","):
                raise GrammarError(text, scan.at, "',' or '}'")
    scan.end()
    return metric, tags


def parse_threshold(selector: str, condition: str) -> Threshold:
    """The threshold that `condition` states about `selector`. Raises GrammarError for the condition."""
    metric, tags = parse_selector(selector)
    scan = _Scanner(condition)
    start = scan.at
    word = scan.take(_NAME, "an aggregation: " + ", ".join(AGGREGATIONS))
    quantile: float | None = None
    if word == "p" and scan.literal("("):
        at = scan.at
        percent = Decimal(scan.take(_DECIMAL, "a percentile such as 99"))
        if not 0 < percent < 100:
            raise GrammarError(condition, at, "a percentile between 0 and 100")
        if not scan.literal(")"):
            raise GrammarError(condition, scan.at, "')'")
        word, quantile = "quantile", float(percent / 100)
        if not 0 < quantile < 1:  # more digits than a number holds
            raise GrammarError(condition, at, "a percentile with at most 15 digits")
    elif word == "med":
        word, quantile = "quantile", 0.5
    elif word not in AGGREGATIONS:
        raise GrammarError(condition, start, "an aggregation: " + ", ".join(AGGREGATIONS))
    operator = next((operator for operator in OPERATORS if scan.literal(operator)), None)
    if operator is None:
        raise GrammarError(condition, scan.at, "an operator: " + " ".join(OPERATORS))
    at = scan.at
    value = float(scan.take(_DECIMAL, "a number"))
    if math.isinf(value):
        raise GrammarError(condition, at, "a number of at most 300 digits")
    unit = scan.maybe(_UNIT)
    window = _window(condition, scan) if scan.maybe(_OVER) else None
    scan.end()
    if unit in _SECONDS:
        value, unit = value * _SECONDS[unit], "s"
    elif unit == "%":
        value /= 100
    return Threshold(metric, tags, word, quantile, operator, value, unit, window, selector.strip(), condition.strip())


def _window(condition: str, scan: _Scanner) -> int:
    at = scan.at
    text = scan.take(_DURATION, "a duration such as 10s")
    try:
        length = parse_duration(text)
    except ValueError:
        raise GrammarError(condition, at, "a duration such as 10s") from None
    if length < _SECOND or length % _SECOND:
        raise GrammarError(condition, at, "a window of whole seconds, such as 10s: samples are kept by second")
    return length // _SECOND


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def at(self) -> int:
        """The next position that is not white space."""
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at

    def maybe(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self.at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def take(self, pattern: re.Pattern[str], expected: str) -> str:
        found = self.maybe(pattern)
        if not found:
            raise GrammarError(self._text, self.at, expected)
        return found

    def literal(self, text: str) -> bool:
        if not self._text.startswith(text, self.at):
            return False
        self._at += len(text)
        return True

    def end(self) -> None:
        if self.at < len(self._text):
            raise GrammarError(self._text, self._at, "nothing more")
