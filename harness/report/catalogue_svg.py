"""A fault's timeline as SVG, written by hand: latency over the seconds, errors below, the fault's time shaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, LEFT, RIGHT = 720, 64, 16
LATENCY_TOP, LATENCY_HEIGHT = 34, 150
ERRORS_TOP, ERRORS_HEIGHT = 208, 44
HEIGHT = 284
INK, FAINT, SHADE = "#333", "#ddd", "#fbe3c4"
P50, P99, ERRORS = "#1f6fb2", "#c2410c", "#b91c1c"
FLOOR_MS = 1.0


def timeline_svg(title: str, seconds: Sequence[Mapping[str, Any]], fault: tuple[float, float]) -> str:
    """seconds: second, count, p50_ms, p99_ms (None without requests), errors; fault: when it began and was undone."""
    last = max((one["second"] for one in seconds), default=0) + 1
    top = 10 ** math.ceil(math.log10(max([10 * FLOOR_MS, *(one["p99_ms"] or 0 for one in seconds)])))
    most = max([1, *(one["errors"] for one in seconds)])

    def x(second: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(second, last) / last, 1)

    def y(milliseconds: float) -> float:
        share = math.log(max(milliseconds, FLOOR_MS) / FLOOR_MS) / math.log(top / FLOOR_MS)
        return round(LATENCY_TOP + LATENCY_HEIGHT * (1 - share), 1)

    base = ERRORS_TOP + ERRORS_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<rect x="{x(fault[0])}" y="{LATENCY_TOP}" width="{round(x(fault[1]) - x(fault[0]), 1)}" '
        f'height="{base - LATENCY_TOP}" fill="{SHADE}"/>',
        _text(LEFT, 18, title, "start", ' font-size="13" font-weight="bold"'),
    ]
    for name, colour, at in (("p50", P50, 3), ("p99", P99, 2), ("errors a second", ERRORS, 1)):
        parts.append(_text(WIDTH - RIGHT - (at - 1) * 44 - (at > 1) * 52, 18, name, "end", f' fill="{colour}"'))
    for power in range(round(math.log10(top / FLOOR_MS)) + 1):
        level = FLOOR_MS * 10**power
        parts.append(_line(LEFT, y(level), WIDTH - RIGHT, y(level), FAINT))
        parts.append(_text(LEFT - 6, y(level) + 4, f"{level:g} ms" if level < 1000 else f"{level / 1000:g} s", "end"))
    for key, colour in (("p50_ms", P50), ("p99_ms", P99)):
        for run in _runs(seconds, key):
            points = " ".join(f"{x(one['second'] + 0.5)},{y(one[key])}" for one in run)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
            parts += [f'<circle cx="{x(o["second"] + 0.5)}" cy="{y(o[key])}" r="2" fill="{colour}"/>' for o in run]
    width = max(1.0, round((WIDTH - LEFT - RIGHT) / last - 2, 1))
    for one in seconds:
        if one["errors"]:
            tall = round(ERRORS_HEIGHT * one["errors"] / most, 1)
            place = f'x="{x(one["second"]) + 1}" y="{base - tall}" width="{width}" height="{tall}"'
            parts.append(f'<rect {place} fill="{ERRORS}"/>')
    parts += [
        _line(LEFT, base, WIDTH - RIGHT, base, INK),
        _text(LEFT - 6, base - ERRORS_HEIGHT + 8, f"{most:g}", "end"),
        _text(LEFT - 6, base, "0", "end"),
    ]
    step = max(1, math.ceil(last / 12))
    parts += [_text(x(second), base + 14, f"{second:g}", "middle") for second in range(0, last + 1, step)]
    parts += [_text(WIDTH - RIGHT, base + 28, "seconds; the fault's time is shaded", "end"), "</svg>"]
    return "\n".join(parts) + "\n"


def _runs(seconds: Sequence[Mapping[str, Any]], key: str) -> list[list[Mapping[str, Any]]]:
    """Stretches without a gap."""
    runs: list[list[Mapping[str, Any]]] = [[]]
    for one in seconds:
        if one[key] is None:
            runs.append([])
        else:
            runs[-1].append(one)
    return [run for run in runs if run]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{plain}</text>'
