"""What a run knows of its machine: the calibration that holds for it, and what the machine does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from harness.gate.calibrations import find_calibration
from harness.model.calibration import CALIBRATION_EVIDENCE
from harness.model.events import Event, LogEvent
from harness.model.machine import MACHINE_EVIDENCE
from harness.model.threshold import Threshold
from harness.results.rundir import RunDir
from harness.slo.machine import refusals
from harness.stack.machine.watcher import Watcher


@contextmanager
def machine_watched(run: RunDir, thresholds: Sequence[Threshold], tell: Callable[[Event], None]) -> Iterator[Watcher]:
    """Keep the calibration with the run and say what it forbids; watch during the block, and keep what was seen however
    it ends."""
    found = find_calibration()
    if found.ignored:
        tell(LogEvent("info", f"the calibration is not used: {found.ignored}; `harness calibrate` makes a new one"))
    if found.calibration is not None:
        run.write(CALIBRATION_EVIDENCE, found.calibration.as_dict())
        for threshold, why in refusals(thresholds, found.calibration):
            tell(LogEvent("warning", f"{threshold.selector_text} will not be validated: {why} [below-noise-floor]"))
    watcher = Watcher(run.evidence / ".machine.jsonl")
    watcher.start()
    try:
        yield watcher
    finally:
        run.write(MACHINE_EVIDENCE, watcher.stop().as_dict())
