"""PromQL, checked before anything starts: syntax, the series a query reads, and `$window`.

`$window` in a query stands for the length of the steady phase; it becomes a PromQL duration such as `45s` when the
query is sent. A query without it is sent as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser

from harness.core.errors import UsageError
from harness.model.promql_position import TOKEN, error_position, place
from harness.model.source import Document, Path_
from harness.model.yaml_reader import Lines

WINDOW = re.compile(r"\$window(?!\w)")
_STAND_IN = "100000s"  # as long as $window, so that positions stay true
MAX_TOKENS = 400  # the parser is recursive: a few thousand levels end the process, a few hundred are quick


class PromQLError(ValueError):
    """`text` is not a query we can use; `position` (from 0) is where, None when that is not known."""

    def __init__(self, cause: str, position: int | None = None) -> None:
        super().__init__(cause)
        self.position = position


@dataclass(frozen=True, slots=True)
class PromQL:
    """A query that parses.

    text: as written; metrics: names it reads, sorted; selectors: what it reads, without range, offset and @;
    counter: the selector whose raw samples can stand for the whole query, which is then that selector or a sum
    of it, else None; ranged: it looks back over a range of its own; jobs: for each of its selectors that has
    any, the matchers on `job` as (sign, value), as in `{job=~"redis|app"}`.
    """

    text: str
    metrics: tuple[str, ...]
    selectors: tuple[str, ...]
    counter: str | None
    ranged: bool
    jobs: tuple[tuple[tuple[str, str], ...], ...] = ()

    @property
    def enclosed(self) -> str:
        """The query in brackets, as a part of another."""
        return f"({self.text}\n)" if "#" in self.text else f"({self.text})"  # a comment would swallow the bracket

    def render(self, window_ns: int) -> str:
        """The query as it is sent, for a steady phase of `window_ns` nanoseconds."""
        return WINDOW.sub(promql_duration(window_ns), self.text)


def promql_duration(nanoseconds: int) -> str:
    """`nanoseconds` as PromQL writes a duration, to the millisecond: `45s`, `45003ms`; at least 1 ms."""
    milliseconds = max(1, round(nanoseconds / 1e6))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def parse_promql(text: str) -> PromQL:
    """The query in `text`. Raises PromQLError: no syntax, reads no series, or gives a range instead of values."""
    if sum(1 for _ in TOKEN.finditer(text)) > MAX_TOKENS:
        raise PromQLError(f"the query has more than {MAX_TOKENS} parts; split it with a recording rule")
    plain = WINDOW.sub(_STAND_IN, text)
    try:
        tree = promql_parser.parse(plain)
    except (ValueError, RecursionError) as error:
        position = error_position(plain)
        if unknown := re.match(r"unknown function with name '(\w+)'", str(error)):
            position = plain.find(unknown[1])
        raise PromQLError(_cause(str(error), plain, position), position) from None
    if isinstance(tree, (promql_parser.MatrixSelector, promql_parser.SubqueryExpr)):
        raise PromQLError("the query gives a range of samples; wrap it, for example in rate( )", 0)
    nodes = list(_nodes(tree))
    vectors = [node for node in nodes if isinstance(node, promql_parser.VectorSelector)]
    if not vectors:
        raise PromQLError("the query reads no series, so it cannot measure anything", 0)
    if any(vector.matchers.or_matchers for vector in vectors):
        raise PromQLError("Prometheus has no 'or' between label matchers", text.find(" or "))
    names = {name for vector in vectors if (name := _name(vector)) is not None}
    jobs = {matchers for vector in vectors if (matchers := _job_matchers(vector))}
    selectors = tuple(dict.fromkeys(_selector(vector) for vector in vectors))
    ranged = any(isinstance(node, (promql_parser.MatrixSelector, promql_parser.SubqueryExpr)) for node in nodes)
    return PromQL(text, tuple(sorted(names)), selectors, _counter(tree), ranged, tuple(sorted(jobs)))


def check_query(document: Document, path: Path_, text: str) -> PromQL:
    """`text`, which stands at `path` of `document`. Raises UsageError promql-syntax with the caret in the query."""
    try:
        return parse_promql(text)
    except PromQLError as error:
        usage: UsageError = document.error(path, "promql-syntax", str(error), "Correct the query at the caret.")
        if error.position is not None and usage.location is not None:
            token = TOKEN.match(text, error.position)
            usage.location = place(
                _lines(document.path), usage.location, text, error.position, len(token[0]) if token else 1
            )
        raise usage from None


def _lines(path: Path) -> list[str]:
    try:
        return Lines(path.read_bytes().decode("utf-8-sig")).lines
    except (OSError, UnicodeDecodeError):
        return []  # gone since it was parsed: the caret stays at the whole value


def _cause(message: str, text: str, position: int | None) -> str:
    if position is None:
        return message
    token = TOKEN.match(text, position)
    if token is None:
        return "the query ends where more was expected"
    # The lexer speaks first, of a bracket further on; what the caret shows comes before it.
    named = re.fullmatch(r"unexpected .*'(.)'", message)
    elsewhere = message.startswith("unclosed") or (named is not None and named[1] != token[0][:1])
    return f"unexpected {token[0]!r}" if elsewhere or message == "invalid promql query" else message


def _nodes(tree: Any) -> Iterator[Any]:
    """All expressions of `tree`. promql_parser.walk takes seconds where this takes a millisecond."""
    open_ = [tree]
    while open_:
        node = open_.pop()
        if not isinstance(node, promql_parser.Expr):
            continue  # an absent parameter, or a plain number or string
        yield node
        parts = [getattr(node, part, None) for part in ("lhs", "rhs", "expr", "param", "vector_selector")]
        open_.extend(reversed([*parts, *getattr(node, "args", ())]))


def _name(vector: Any) -> str | None:
    if vector.name:
        return str(vector.name)
    equal = promql_parser.MatchOp.Equal
    return next((str(m.value) for m in vector.matchers.matchers if m.name == "__name__" and m.op == equal), None)


def _job_matchers(vector: Any) -> tuple[tuple[str, str], ...]:
    return tuple((_sign(m), str(m.value)) for m in vector.matchers.matchers if m.name == "job")


def _sign(matcher: Any) -> str:
    return {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}[str(matcher.op).rsplit(".", 1)[-1]]


def _selector(vector: Any) -> str:
    # Written by hand: the parser's own str() does not escape quotes in values.
    matchers = []
    for matcher in vector.matchers.matchers:
        value = matcher.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        matchers.append(f'{matcher.name}{_sign(matcher)}"{value}"')
    return (vector.name or "") + ("{" + ",".join(matchers) + "}" if matchers else "")


def _counter(tree: Any) -> str | None:
    while True:
        if isinstance(tree, promql_parser.ParenExpr) or (
            isinstance(tree, promql_parser.AggregateExpr) and str(tree.op) == "sum"
        ):
            tree = tree.expr
        elif isinstance(tree, promql_parser.VectorSelector) and tree.offset is None and tree.at is None:
            return _selector(tree)
        else:
            return None
