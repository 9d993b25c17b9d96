"""A short look at what the machine does by itself: processors, clocks, and how late a sleeping process wakes up."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_STAT = Path("/proc/stat")
_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_SLEEP_NS = 1_000_000
_TIME_ERROR = 5  # what adjtimex returns while no source of time keeps the clock
_STA_UNSYNC = 0x0040

Synchronised = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Sample:
    """seconds: how long it looked; busy, steal: shares of all processors' time that processes here took, and that the
    hypervisor gave to others; step: seconds that the wall clock went further than CLOCK_MONOTONIC; synchronised: with a
    source of time, as the kernel says; resolution: seconds, of CLOCK_MONOTONIC; oversleeps: seconds that sleeps of 1 ms
    took longer, ascending; load: load averages over 1, 5 and 15 minutes."""

    seconds: float
    busy: float
    steal: float
    step: float
    synchronised: Synchronised
    resolution: float
    oversleeps: tuple[float, ...]
    load: tuple[float, float, float]


def read_sample(seconds: float = 1.0) -> Sample:
    """Looks for `seconds`, sleeping most of the time."""
    cpu, (mono, wall) = read_cpu(), read_clocks()
    oversleeps, until = [], time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        time.sleep(_SLEEP_NS / 1e9)
        oversleeps.append(time.monotonic() - began - _SLEEP_NS / 1e9)
    later_mono, later_wall = read_clocks()
    busy, steal = shares(cpu, read_cpu())
    return Sample(
        seconds=(later_mono - mono) / 1e9,
        busy=busy,
        steal=steal,
        step=((later_wall - wall) - (later_mono - mono)) / 1e9,
        synchronised=read_synchronised(),
        resolution=time.clock_getres(time.CLOCK_MONOTONIC),
        oversleeps=tuple(sorted(oversleeps)),
        load=os.getloadavg(),
    )


def read_cpu(path: Path = _STAT) -> dict[str, int]:
    """Jiffies of all processors together since boot, by what they were spent on; what a kernel leaves out is 0."""
    fields = path.read_text().split("\n", 1)[0].split()[1 : 1 + len(_FIELDS)]
    return dict.fromkeys(_FIELDS, 0) | dict(zip(_FIELDS, map(int, fields), strict=False))


def shares(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[float, float]:
    """The shares busy and stolen of the time between two readings; of no time at all, none."""
    spent = {name: max(0, after[name] - before[name]) for name in _FIELDS}
    if (total := sum(spent.values())) == 0:
        return 0.0, 0.0
    return (total - spent["idle"] - spent["iowait"] - spent["steal"]) / total, spent["steal"] / total


def read_clocks(
    mono: Callable[[], int] = time.monotonic_ns, wall: Callable[[], int] = time.time_ns, tries: int = 20
) -> tuple[int, int]:
    """CLOCK_MONOTONIC and the wall clock at the same moment, in ns: the pair that was read most closely together."""
    readings = []
    for _ in range(tries):
        before, at, after = mono(), wall(), mono()
        readings.append((after - before, (before + after) // 2, at))
    _, middle, at = min(readings)
    return middle, at


class _Timex(ctypes.Structure):
    """struct timex up to the field that is read here, and room for the rest, which the kernel writes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def read_synchronised() -> Synchronised:
    """What the kernel says of the wall clock; unknown where it may not be asked."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return "unknown"
    told = _Timex()  # modes 0: look, change nothing
    state = adjtimex(ctypes.byref(told))
    if state < 0:
        return "unknown"
    return "no" if state == _TIME_ERROR or told.status & _STA_UNSYNC else "yes"
