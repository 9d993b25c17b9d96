"""OpenSLO time windows: how long one is, and when the present one began."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from harness.model.openslo_duration import shorthand_seconds
from harness.model.openslo_schema_slo import TimeWindow
from harness.model.source import Document, Path_

_MONTHS = {"M": 1, "Q": 3, "Y": 12}


@dataclass(frozen=True, slots=True)
class Window:
    """The time over which a budget is counted. begin: the first start of a calendar window, with its zone; None for a
    window that rolls."""

    duration: str
    begin: datetime | None = None

    @property
    def seconds(self) -> int:
        """Its length; of a calendar window with months, the nominal one."""
        return shorthand_seconds(self.duration)

    def period(self, at: datetime) -> tuple[datetime, datetime]:
        """The window that holds `at` (with a zone): its start and its end, in UTC. A rolling one ends at `at`.

        Raises ValueError when a calendar window has not begun.
        """
        if self.begin is None:
            return at.astimezone(UTC) - timedelta(seconds=self.seconds), at.astimezone(UTC)
        if at < self.begin:
            raise ValueError(f"the window begins on {self.begin.isoformat()}, after {at.isoformat()}")
        step = self._stepper(self.begin)
        low, high = 0, 1
        while step(high) <= at:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if step(middle) <= at else (low, middle)
        return step(low).astimezone(UTC), step(high).astimezone(UTC)

    def _stepper(self, begin: datetime) -> Callable[[int], datetime]:
        count, unit = int(self.duration[:-1]), self.duration[-1]
        if unit in _MONTHS:
            return lambda times: _plus_months(begin, times * count * _MONTHS[unit])
        if unit in ("m", "h"):  # hours pass; days follow the clock on the wall, also when it is set
            start = begin.astimezone(UTC)
            return lambda times: start + timedelta(seconds=times * self.seconds)
        return lambda times: begin + timedelta(seconds=times * self.seconds)

    def __str__(self) -> str:
        if self.begin is None:
            return f"{self.duration} rolling"
        return f"{self.duration} calendar from {self.begin:%Y-%m-%d %H:%M:%S} {self.begin.tzinfo}"


def read_window(document: Document, path: Path_, stated: TimeWindow) -> Window:
    """The window that stands at `path`. Raises UsageError missing-field, bad-value."""
    if stated.calendar is None:
        if stated.isRolling is None:
            cause = "a time window needs 'isRolling: true', or 'calendar' with its start and zone"
            raise document.error(path, "missing-field", cause, "Add isRolling: true.")
        if not stated.isRolling:
            cause = "isRolling: false needs 'calendar' with its start and zone"
            remedy = "Add calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}."
            raise document.error((*path, "isRolling"), "missing-field", cause, remedy, on="key")
        return Window(stated.duration)
    if stated.isRolling:
        cause = "a window with a calendar does not roll"
        raise document.error((*path, "isRolling"), "bad-value", cause, "Write isRolling: false.")
    zone = _zone(document, (*path, "calendar", "timeZone"), stated.calendar.timeZone)
    return Window(stated.duration, stated.calendar.startTime.replace(tzinfo=zone))


@cache
def _zone_names() -> list[str]:
    return sorted(zoneinfo.available_timezones())


def _zone(document: Document, path: Path_, name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of zones
        near = difflib.get_close_matches(name, _zone_names(), 1, 0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else "Write a name of the IANA database, for example UTC."
        raise document.error(path, "bad-value", f"no time zone is called {name!r}", remedy) from None


def _plus_months(begin: datetime, months: int) -> datetime:
    """`months` later at the same day and time; a day that the month does not have is its last."""
    year, month = divmod(begin.year * 12 + begin.month - 1 + months, 12)
    after = datetime(year + (month == 11), (month + 1) % 12 + 1, 1)
    last = (after - timedelta(days=1)).day
    return begin.replace(year=year, month=month + 1, day=min(begin.day, last))
