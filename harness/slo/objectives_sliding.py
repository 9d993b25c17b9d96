"""Sliding windows: an objective that must hold in each, so that no crash hides in the average of a whole run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.core.outcome import Outcome
from harness.model.openslo_objective import Objective
from harness.slo.objectives_judged import Judged
from harness.slo.objectives_parts import read_parts
from harness.slo.objectives_raw import NoData
from harness.slo.objectives_wording import sentence
from harness.slo.statistics.decision import times_to_decide
from harness.slo.windows import Window, decide_windows


def judge_sliding(objective: Objective, evidence: Mapping[str, Any]) -> Judged:
    """The outcome over all windows, and the value of the worst; decided as windows of thresholds are. A window that
    fails is a failure whatever the others are; none passes while one has no data. Raises NoData."""
    parts = read_parts(objective, evidence)
    known = {one.start: one for one in parts if not one.missing}
    without = next((one for one in parts if one.missing), None)
    windows = [Window(one.start, 1, one.told) for one in known.values()]
    judged = decide_windows(windows, objective.operator, objective.target, lambda _: True) if windows else None
    if without is not None and (judged is None or judged.outcome is not Outcome.FAIL):
        raise NoData(f"the window {without.when}: {without.missing}")
    assert judged is not None
    worst, found = known[judged.worst.start], judged.worst.found
    interval = None if found.interval_at is None else judged.interval
    where = f"in the window {worst.when}"
    reason = ""
    if judged.outcome is not Outcome.PASS:
        reason = f"{where}: {sentence(objective, found.observed, worst.detail, interval)}"
    if judged.outcome is Outcome.INCONCLUSIVE and found.interval_at is not None:
        times = times_to_decide(found.interval_at, objective.operator, objective.target)
        wanted = "and no number does" if times is None else f"{math.ceil(times * 10) / 10:g} times as many would"
        reason += f": its events do not decide, {wanted}"
    return Judged(judged.outcome, found.observed, interval, len(parts), reason, where)
