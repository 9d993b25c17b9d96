"""A query is checked before anything starts, and a mistake is shown where it stands in the YAML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.model.promql import MAX_TOKENS, PromQL, PromQLError, check_query, parse_promql, promql_duration
from harness.model.source import load_documents

P95 = "histogram_quantile(0.95, sum by (le) (rate(latency_seconds_bucket{path='/search'}[$window])))"


def test_window_becomes_the_length_of_the_steady_phase() -> None:
    query = parse_promql(P95)
    assert query.render(45_000_000_000) == P95.replace("$window", "45s")
    assert query.render(45_003_400_000) == P95.replace("$window", "45003ms")
    assert parse_promql("rate(a[5m])").render(45_000_000_000) == "rate(a[5m])"


@pytest.mark.parametrize(
    ("nanoseconds", "text"), [(45_000_000_000, "45s"), (600_000_000_000, "600s"), (250_000_000, "250ms"), (1, "1ms")]
)
def test_durations_are_written_in_whole_milliseconds(nanoseconds: int, text: str) -> None:
    assert promql_duration(nanoseconds) == text


def test_what_a_query_reads_is_known() -> None:
    assert parse_promql(P95) == PromQL(
        P95, ("latency_seconds_bucket",), ('latency_seconds_bucket{path="/search"}',), None, True
    )
    both = parse_promql("sum(rate(a[1m] offset 5m)) / sum(rate({__name__='b', x=~'y|z'}[1m]))")
    assert both.metrics == ("a", "b")
    assert both.selectors == ("a", '{__name__="b",x=~"y|z"}')


def test_a_selector_keeps_its_quotes_and_backslashes() -> None:
    assert parse_promql(r'a{b="c\"d\\e"}').selectors == (r'a{b="c\"d\\e"}',)


@pytest.mark.parametrize("text", ["a{b='c'}", "sum(a{b='c'})", "sum by (d) ((a{b='c'}))"])
def test_a_selector_or_a_sum_of_one_can_be_read_raw(text: str) -> None:
    assert parse_promql(text).counter == 'a{b="c"}'


@pytest.mark.parametrize("text", ["a + b", "rate(a[1m])", "avg(a)", "a offset 1m", "max(a)", "-a"])
def test_nothing_else_can_be_read_raw(text: str) -> None:
    assert parse_promql(text).counter is None


@pytest.mark.parametrize(
    ("text", "caret", "cause"),
    [
        ("foo bar", "bar", "unexpected 'bar'"),
        ("1 + x * / 2", "/ 2", "unexpected '/'"),
        ("rate(x[5m)", ")", "unexpected character inside brackets: ')'"),
        ("sum by (le (rate(x[5m])))", "(rate", "unexpected '('"),
        ("histogram_quantile(0.95 sum by (le) (rate(b[$window])))", "sum", "unexpected 'sum'"),
        ("rate(x{a='1' b='2'}[5m])", "b=", "unexpected 'b'"),
        ("rat(x[5m])", "rat", "unknown function with name 'rat'"),
        ("rate(x)", ")", "expected type matrix in call to function 'rate', got vector"),
        ("x[$windows]", "$", "unexpected character inside brackets: '$'"),
        ("(rate x[5m]))", "x", "unexpected 'x'"),
        ("sum(rate(x[5m]) by (le", "by", "unexpected 'by'"),
        ("topk(5, x) )", ")", "unexpected right parenthesis ')'"),
    ],
)
def test_the_position_of_a_mistake_is_found(text: str, caret: str, cause: str) -> None:
    with pytest.raises(PromQLError) as caught:
        parse_promql(text)
    assert str(caught.value) == cause
    assert caught.value.position is not None
    assert text[caught.value.position :].startswith(caret)
    assert caught.value.position == text.rfind(caret)


@pytest.mark.parametrize("text", ["a / ", "histogram_quantile(0.9, x", "", "sum("])
def test_what_is_missing_is_missing_at_the_end(text: str) -> None:
    with pytest.raises(PromQLError, match="the query ends where more was expected") as caught:
        parse_promql(text)
    assert caught.value.position == len(text.rstrip())


@pytest.mark.parametrize(
    ("text", "cause"),
    [("1", "reads no series"), ("x[1m]", "a range of samples"), ("vector(1)", "reads no series"), ("'x'", "no series")],
)
def test_a_query_that_cannot_measure_is_refused(text: str, cause: str) -> None:
    with pytest.raises(PromQLError, match=cause):
        parse_promql(text)


@pytest.mark.parametrize(
    "text", ["x" + "+x" * 20_000, "(" * 20_000 + "x" + ")" * 20_000, "-" * 100_000 + "x", "x" * 500_000 + " y"]
)
def test_an_endless_query_ends_in_an_error_and_not_the_process(text: str) -> None:
    with pytest.raises(PromQLError):
        parse_promql(text)
    parse_promql("-" * (MAX_TOKENS - 1) + "x")


@pytest.mark.parametrize(
    ("yaml", "where", "line"),
    [
        ("query: sum(x y)", (1, 14), "query: sum(x y)"),
        ('query: "sum(x{a=\\"b\\"} y)"', (1, 24), 'query: "sum(x{a=\\"b\\"} y)"'),
        ("query: 'sum(x{a=''b''} y)'", (1, 24), "query: 'sum(x{a=''b''} y)'"),
        ("query: |\n  sum(\n    x\n    y)\n", (4, 5), "    y)"),
        ("query: >-\n  sum(\n  x\n  y\n  )\n", (4, 3), "  y"),
        ("query: sum(x\n  y)", (2, 3), "  y)"),
        ("query: |\n  sum(\n    x\nnext: 1\n", (3, 6), "    x"),
        ("query: 'sum(x'", (1, 14), "query: 'sum(x'"),
    ],
)
def test_the_caret_stands_in_the_yaml_file_whatever_the_style(
    tmp_path: Path, yaml: str, where: tuple[int, int], line: str
) -> None:
    (tmp_path / "q.yaml").write_text(yaml)
    (document,) = load_documents(tmp_path / "q.yaml")
    with pytest.raises(UsageError) as caught:
        check_query(document, ("query",), document.data["query"])
    location = caught.value.location
    assert caught.value.slug == "promql-syntax"
    assert location is not None
    assert ((location.line, location.column), location.text) == (where, line)
