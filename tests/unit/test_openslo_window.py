"""When the window of a budget began: rolling windows end now, calendar windows follow the clock of their zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from harness.model.openslo_window import Window

BERLIN = ZoneInfo("Europe/Berlin")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_a_rolling_window_ends_now() -> None:
    now = utc(2026, 3, 1, 12)
    assert Window("28d").period(now) == (now - timedelta(days=28), now)
    assert (Window("1M").seconds, Window("1Q").seconds, Window("1Y").seconds) == (2_592_000, 7_776_000, 31_536_000)


@pytest.mark.parametrize(
    ("duration", "begin", "at", "start", "end"),
    [
        ("1M", datetime(2026, 1, 1, tzinfo=UTC), utc(2026, 2, 15), utc(2026, 2, 1), utc(2026, 3, 1)),
        ("1M", datetime(2026, 1, 1, tzinfo=UTC), utc(2026, 2, 1), utc(2026, 2, 1), utc(2026, 3, 1)),
        ("1M", datetime(2026, 1, 31, tzinfo=UTC), utc(2026, 3, 1), utc(2026, 2, 28), utc(2026, 3, 31)),
        ("1Q", datetime(2025, 1, 1, tzinfo=UTC), utc(2026, 5, 5), utc(2026, 4, 1), utc(2026, 7, 1)),
        ("1Y", datetime(2024, 2, 29, tzinfo=UTC), utc(2026, 1, 1), utc(2025, 2, 28), utc(2026, 2, 28)),
        ("2w", datetime(2026, 1, 5, tzinfo=UTC), utc(2026, 1, 19), utc(2026, 1, 19), utc(2026, 2, 2)),
        ("1M", datetime(2026, 1, 1, tzinfo=BERLIN), utc(2026, 4, 15), utc(2026, 3, 31, 22), utc(2026, 4, 30, 22)),
        # the night the clocks go forward: the day has 23 hours, an hour stays an hour
        ("1d", datetime(2026, 1, 1, tzinfo=BERLIN), utc(2026, 3, 29, 12), utc(2026, 3, 28, 23), utc(2026, 3, 29, 22)),
        ("12h", datetime(2026, 3, 29, tzinfo=BERLIN), utc(2026, 3, 29, 12), utc(2026, 3, 29, 11), utc(2026, 3, 29, 23)),
    ],
)
def test_a_calendar_window_follows_its_zone(
    duration: str, begin: datetime, at: datetime, start: datetime, end: datetime
) -> None:
    assert Window(duration, begin).period(at) == (start, end)


def test_a_window_that_has_not_begun_has_no_period() -> None:
    window = Window("1M", datetime(2026, 1, 1, tzinfo=BERLIN))
    assert window.period(utc(2025, 12, 31, 23)) == (utc(2025, 12, 31, 23), utc(2026, 1, 31, 23))
    with pytest.raises(ValueError, match="begins on 2026-01-01T00:00:00"):
        window.period(utc(2025, 12, 31, 22, 59))
    assert str(window) == "1M calendar from 2026-01-01 00:00:00 Europe/Berlin"
