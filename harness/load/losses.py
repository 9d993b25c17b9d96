"""Workers that died before the end: what of theirs is lost, and who sends what they had still to send."""

from __future__ import annotations

from collections.abc import Sequence

from harness.load.crew import Member
from harness.model.load import LoadPlan
from harness.model.takeover import DEATHS_EVIDENCE, Claim, settle
from harness.results.rundir import RunDir
from harness.results.samples import Samples
from harness.results.tally import read_tally


class Losses:
    """Keeps account of who is to send which arrivals."""

    def __init__(self, plan: LoadPlan, run: RunDir) -> None:
        self._plan, self._run = plan, run
        self._claims = {f"load-{index}": [Claim(index)] for index in range(plan.workers)}
        self._died: list[dict[str, object]] = []

    def lost(self, worker: str) -> str:
        """What the files of one that died lack, in words."""
        path = self._run.load / f"{worker}.jsonl"
        if not path.exists():
            return "it left no file"
        (samples := Samples()).read(path)
        return samples.workers[0].reason

    def hand_over(self, dead: Member, how: str, heirs: Sequence[Member]) -> None:
        """Deal what `dead` had still to send to those that are left, and write that down."""
        tally = read_tally(self._run.load / f"{dead.name}.tally")
        after = tally.offset_ns if tally is not None else -1
        shares = settle(self._claims.pop(dead.name), after, len(heirs))
        for heir, claims in zip(heirs, shares, strict=True):
            self._claims[heir.name] += claims
            heir.tell({"take_over": [claim.as_dict() for claim in claims]})
        self._died.append({"worker": dead.name, "how": how, "after_ns": after, "heirs": [heir.name for heir in heirs]})
        self.write(self._plan.length_ns)

    def write(self, length_ns: int) -> None:
        """Keep it for the judge, with how many arrivals there were to be. length_ns: of the timetable as it was."""
        if self._died:
            plan = self._plan.cut(length_ns)
            planned = sum(plan.share(index) for index in range(plan.workers))
            self._run.write(DEATHS_EVIDENCE, {"planned": planned, "died": self._died})
