"""The calibration that this user's runs share: one file in the cache, replaced by each `harness calibrate`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.core.jsonio import read_json, write_json
from harness.core.paths import cache_dir
from harness.model.calibration import Calibration
from harness.stack.machine.identity import read_machine

VARIABLE = "SLO_HARNESS_CALIBRATION"


@dataclass(frozen=True)
class Found:
    """calibration: that of this machine since it started, or None; ignored: why the one that is there does not hold."""

    calibration: Calibration | None = None
    ignored: str = ""


def calibration_path() -> Path:
    """In the user's cache, unless SLO_HARNESS_CALIBRATION names a file."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else cache_dir() / "calibration.json"


def keep(calibration: Calibration) -> Path:
    """Write it, in one piece; returns where. Raises OSError."""
    path = calibration_path()
    write_json(path, calibration.as_dict())
    return path


def find_calibration() -> Found:
    """What runs on this machine are judged with. One that cannot be read, or is of another machine, boot or version, is
    not used."""
    path = calibration_path()
    try:
        stored = Calibration.from_dict(read_json(path))
    except FileNotFoundError:
        return Found()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Found(ignored=f"{path} cannot be read: {error}")
    if why := stored.unfit(read_machine(), __version__):
        return Found(ignored=why)
    return Found(stored)
