"""What the services logged before, during and after a fault: lines by level, and which message is new."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from harness.stack.logs import LoggedStack, printable

PHASES = ("before", "during", "after")
LONGEST = 160  # characters of a message
SEVERAL = 3  # lines of a new message that is neither error nor warning; a single one is what servers say now and then
MOST_BYTES = 8 << 20  # of one file and phase that are read
_LEVELS = ("error", "warning", "info", "debug")
_NAMES = {
    "fatal": "error", "panic": "error", "critical": "error", "err": "error", "error": "error", "crit": "error",
    "warn": "warning", "warning": "warning", "info": "info", "notice": "info", "log": "info", "debug": "debug",
}  # fmt: skip
_WORD = re.compile(
    r"(?:level=|\[|\b)(fatal|panic|critical|crit|error|err|warning|warn|notice|info|log|debug)\b[\]:\s\"]",
    re.IGNORECASE,
)
_MESSAGE = re.compile(r'\b(?:msg|err|error)="((?:[^"\\]|\\.)*)"')
_TIMES = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ][\d:.,]+(?:Z| ?[+-]\d\d:?\d\d| UTC)?")
_HEX = re.compile(r"\b(?:0x)?[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b", re.IGNORECASE)
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


@dataclass
class Said:
    """What one service said in one phase."""

    levels: Counter[str] = field(default_factory=Counter)
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)  # (level, message without numbers)

    def add(self, line: str) -> None:
        level, message = level_and_message(line)
        self.levels[level] += 1
        self.messages[level, message] += 1


def level_and_message(line: str) -> tuple[str, str]:
    """The level in our words, `other` if it names none; the message with its numbers, times and ids left out."""
    level, message = "", line
    if line.startswith("{"):
        try:
            told = orjson.loads(line)
        except orjson.JSONDecodeError:
            told = {}
        level = str(told.get("level", told.get("severity", ""))).lower()
        message = str(told.get("message", told.get("msg", told.get("event", line))))
        message = ": ".join([message, *(str(told[key]) for key in ("error", "err", "exception") if told.get(key))])
    if not level:
        found = _WORD.search(line[:200])
        level = found.group(1).lower() if found else ""
        if named := _MESSAGE.findall(line):
            message = ": ".join(named)
    plain = _DIGITS.sub("N", _HEX.sub("ID", _TIMES.sub("TIME", message)))
    return _NAMES.get(level, "other"), " ".join(plain.split())[:LONGEST]


class LogWatch:
    """Marks where the logs of a stack stand, and reads what came between two marks."""

    def __init__(self, stack: LoggedStack) -> None:
        self._stack = stack
        self.marks: list[dict[Path, int]] = []

    def mark(self) -> None:
        """A phase ends here, and the next begins."""
        self.marks.append({path: path.stat().st_size for name in self._stack.names for path in self._stack.files(name)})

    def read(self, phases: Iterable[tuple[str, int, int]]) -> dict[str, dict[str, Said]]:
        """Service -> phase -> what it said. phases: a name, and the numbers of the marks between which it lies."""
        found: dict[str, dict[str, Said]] = {}
        for phase, since, until in phases:
            for name in self._stack.names:
                said = found.setdefault(name, {}).setdefault(phase, Said())
                for path in self._stack.files(name):
                    for line in self._between(path, since, until):
                        said.add(line)
        return found

    def _between(self, path: Path, since: int, until: int) -> list[str]:
        start, end = self.marks[since].get(path, 0), self.marks[until].get(path, 0)
        with path.open("rb") as log:
            log.seek(start)
            text = log.read(min(MOST_BYTES, max(0, end - start)))
        return [printable(line) for line in text.splitlines() if line.strip()]


def summary(said: Mapping[str, Mapping[str, Said]]) -> dict[str, Any]:
    """services: name -> phase -> level -> lines, of those that said anything; new: for each service the commonest
    message that it did not say before, errors first."""
    services: dict[str, Any] = {}
    new: list[dict[str, Any]] = []
    for name, phases in said.items():
        if not any(one.levels for one in phases.values()):
            continue
        services[name] = {phase: dict(phases[phase].levels) for phase in phases}
        known = set(phases["before"].messages)
        fresh = [
            (one, count)
            for one, count in phases["during"].messages.items()
            if one not in known and (one[0] in ("error", "warning") or count >= SEVERAL)
        ]
        if fresh:
            (level, message), count = min(fresh, key=lambda item: (_order(item[0][0]), -item[1], item[0][1]))
            new.append({"service": name, "level": level, "message": message, "lines": count})
    new.sort(key=lambda one: (_order(one["level"]), -one["lines"]))
    return {"services": services, "new": new}


def _order(level: str) -> int:
    return _LEVELS.index(level) if level in _LEVELS else len(_LEVELS)
