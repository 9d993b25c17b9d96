"""What the services of a stack that is up have said: the last lines of their logs, and what is added to them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from harness.core.errors import HarnessError, UsageError
from harness.core.jsonio import read_json
from harness.core.outcome import Outcome
from harness.model.stackfile import load_stackfile
from harness.stack.availability import Unavailable
from harness.stack.runtime import INFO
from harness.stack.sweep import is_live, live_stacks

NO_LOGS = frozenset({"spans.jsonl", "notifications.jsonl"})  # what sinks keep: evidence, not words
_BLOCK = 1 << 16
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


@dataclass(frozen=True, slots=True)
class LoggedStack:
    """A stack that is up, by its directory. leased: a run holds it; ready_wall_ns: since when it is ready."""

    directory: Path
    leased: bool
    ready_wall_ns: int
    unavailable: dict[str, Unavailable]

    @property
    def id(self) -> str:
        return self.directory.name

    @property
    def live(self) -> bool:
        return is_live(self.directory)

    @property
    def names(self) -> list[str]:
        """Everything that has a log: services, jobs, artefacts, the links' proxy."""
        inside = {path.stem for path in self.directory.glob("*/*.log") if path.stem == path.parent.name}
        return sorted(inside | {path.stem for path in self.directory.glob("*.log")})

    def files(self, name: str) -> list[Path]:
        """The log of `name`, then its structured ones."""
        own = [self.directory / f"{name}.log", self.directory / name / f"{name}.log"]
        structured = sorted(path for path in (self.directory / name).glob("*.jsonl") if path.name not in NO_LOGS)
        return [path for path in own if path.is_file()] + structured


def logged_stacks(stackfile: Path) -> list[LoggedStack]:
    """The stacks of this file that are up, also those that a run holds, whatever became of their services or of the
    file since: first those that `harness stack up` left running, then the newest."""
    wanted, found = str(stackfile.resolve()), []
    for directory in live_stacks():
        try:
            info: dict[str, Any] = read_json(directory / INFO)
        except (OSError, ValueError):
            continue  # still starting, or just gone
        if info.get("path") == wanted:
            missing = {name: Unavailable.from_dict(why) for name, why in info.get("unavailable", {}).items()}
            found.append(LoggedStack(directory, info["leased"], info["ready_wall_ns"], missing))
    return sorted(found, key=lambda one: (one.leased, -one.ready_wall_ns))


def check_name(stack: LoggedStack, name: str, stackfile: Path) -> None:
    """Raises UsageError service-unknown (located) for a name without a log, HarnessError service-unavailable for a
    service that this machine could not run."""
    if (why := stack.unavailable.get(name)) is not None:
        cause = f"{name} did not run, this machine cannot run it: {why.cause}"
        raise HarnessError("service-unavailable", cause, why.remedy, outcome=Outcome.NOT_VALIDATED)
    if name in stack.names:
        return
    cause, known = f"no service {name!r} in stack {stack.id}", f"Known are: {', '.join(stack.names)}."
    try:
        document = load_stackfile(stackfile)[1]
    except UsageError:  # it was broken after the stack came up, which does not hide the logs
        raise UsageError("service-unknown", cause, known) from None
    raise document.error(("spec", "services"), "service-unknown", cause, known, on="key")


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a file, fit for a terminal; none if it is not there."""
    try:
        with path.open("rb") as log:
            lines = _last(log, count)
    except OSError:
        return []
    whole = lines if lines[-1] else lines[:-1]
    return [printable(line) for line in whole[max(0, len(whole) - count) :]]


def _last(log: BinaryIO, count: int) -> list[bytes]:
    """At least the last `count` lines, and what follows the last end of a line, often nothing; or all that there is.
    Reads backwards, block by block; leaves `log` at its end."""
    at = end = log.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    ends = 0
    while at > 0 and ends <= count:
        step = min(_BLOCK, at)
        at -= step
        log.seek(at)
        blocks.append(log.read(step))
        ends += blocks[-1].count(b"\n")
    log.seek(end)
    return b"".join(reversed(blocks)).split(b"\n")


def printable(line: bytes) -> str:
    """A line without colours; all else that a terminal might obey is written out, as \\x1b."""
    text = _COLOURS.sub("", line.decode(errors="replace")).removesuffix("\r")
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


@dataclass
class Follower:
    """Hands out what is added to the logs of one service; files that appear later are taken in from their beginning."""

    stack: LoggedStack
    name: str
    _open: dict[Path, BinaryIO] = field(default_factory=dict)
    _rest: dict[Path, bytes] = field(default_factory=dict)

    def begin(self, count: int) -> Iterator[tuple[Path, list[str]]]:
        """Each file that is there, with its last `count` whole lines."""
        self._look()
        for path, log in self._open.items():
            *lines, self._rest[path] = _last(log, count)
            yield path, [printable(line) for line in lines[max(0, len(lines) - count) :]]

    def added(self, *, final: bool = False) -> Iterator[tuple[Path, list[str]]]:
        """Each file to which lines were added since, with these. final: nothing will be added, so that a line without
        an end is one too."""
        self._look()
        for path, log in self._open.items():
            before = self._rest.pop(path, b"")
            if os.fstat(log.fileno()).st_size < log.tell():  # it was begun anew
                log.seek(0)
                before += b"\n" if before else b""
            *lines, rest = (before + log.read()).split(b"\n")
            if not final:
                self._rest[path] = rest
            elif rest:
                lines.append(rest)
            if lines:
                yield path, [printable(line) for line in lines]

    def _look(self) -> None:
        for path in self.stack.files(self.name):
            if path not in self._open:
                with contextlib.suppress(FileNotFoundError):  # the stack ended meanwhile
                    self._open[path] = path.open("rb")

    def close(self) -> None:
        """Close the files."""
        for log in self._open.values():
            log.close()
        self._open.clear()
