"""OpenSLO's duration-shorthand: a whole number and one letter. `M` is months, and there are no seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

# The specification leaves the length of a month open. As a length these are what error budgets are usually told in.
_SECONDS = {
    "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400, "M": 30 * 86_400, "Q": 90 * 86_400, "Y": 365 * 86_400,
}  # fmt: skip
LONGEST_S = 10 * _SECONDS["Y"]


def shorthand_seconds(text: str) -> int:
    """The seconds of a duration-shorthand such as `28d`; a month has 30 days, a quarter 90, a year 365."""
    return int(text[:-1]) * _SECONDS[text[-1]]


def _positive(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[mhdwMQY]", text):
        raise ValueError(f"{text!r} is not a duration; write for example 5m, 12h, 28d, 4w, 1M, 1Q or 1Y, all whole")
    if len(text) > 9 or shorthand_seconds(text) > LONGEST_S:
        raise ValueError(f"{text!r} is longer than ten years")
    return text


def _or_zero(text: str) -> str:
    return text if re.fullmatch("0[mhdwMQY]", text) else _positive(text)


Shorthand = Annotated[str, AfterValidator(_positive)]
ShorthandOrZero = Annotated[str, AfterValidator(_or_zero)]
