"""Arrival times from a file: one a line, in seconds after the beginning, as `12.5`. Empty lines and what follows a `#`
are skipped. They need no order."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.core.errors import Location, UsageError

MOST_ARRIVALS = 20_000_000
MOST_SECONDS = 7 * 86_400
_SECOND = 1_000_000_000


def read_arrivals(file: str, speed: float = 1.0) -> npt.NDArray[np.int64]:
    """The times, divided by `speed`, in ns, ascending. Raises UsageError: file-unreadable, replay-file (located)."""
    path, found = Path(file), []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                text = line.partition("#")[0].strip()
                if text:
                    found.append(_seconds(path, number, line.rstrip("\n"), text))
                if len(found) > MOST_ARRIVALS:
                    raise _wrong(path, number, line, text, f"more than {MOST_ARRIVALS} arrivals")
    except OSError as error:
        raise UsageError("file-unreadable", f"{path}: {error.strerror}", "Check spec.load.file.") from error
    except UnicodeDecodeError as error:
        raise UsageError("file-unreadable", f"{path} is not UTF-8", "Save it as UTF-8.") from error
    if not found:
        raise UsageError("replay-file", f"{path} holds no arrival", "Write one time a line, in seconds, such as 12.5.")
    return np.sort(np.floor(np.array(found) / speed * _SECOND).astype(np.int64))


def _seconds(path: Path, number: int, line: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise _wrong(path, number, line, text, f"{text[:80]!r} is not a time in seconds") from None
    if math.isnan(seconds) or not 0 <= seconds <= MOST_SECONDS:
        raise _wrong(path, number, line, text, f"{text} does not lie between 0 and {MOST_SECONDS} s (seven days)")
    return seconds


def _wrong(path: Path, number: int, line: str, text: str, cause: str) -> UsageError:
    where = Location(path, number, line.find(text) + 1, line, len(text))
    return UsageError("replay-file", cause, "Write one time a line, in seconds after the beginning.", location=where)
