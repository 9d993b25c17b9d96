"""Workers that died before the end: what of theirs is lost, and who sends what they had still to send."""

from __future__ import annotations

from collections.abc import Sequence

from harness.load.crew import Member
from harness.model.load import LoadPlan
from harness.model.takeover import DEATHS_EVIDENCE, Claim, progress, settle
from harness.results.rundir import RunDir
from harness.results.samples import Samples
from harness.results.tally import Tally, read_tally


class Losses:
    """Keeps account of who is to send which arrivals."""

    def __init__(self, plan: LoadPlan, run: RunDir) -> None:
        self._plan, self._run = plan, run
        self._claims = {f"load-{index}": [[Claim(index)]] for index in range(plan.workers)}
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
        tally = tally or Tally(exact=False, arrivals=0, offset_ns=-1)
        left = progress(self._claims.pop(dead.name), tally.offset_ns, tally.taken, tally.behind_ns)
        for heir, claims in zip(heirs, settle(left, len(heirs)), strict=True):
            self._claims[heir.name].append(claims)
            heir.tell({"take_over": [claim.as_dict() for claim in claims]})
        self._died.append(
            {"worker": dead.name, "how": how, "after_ns": tally.offset_ns, "heirs": [heir.name for heir in heirs]}
        )
        self.write(self._plan.length_ns)

    def write(self, length_ns: int) -> None:
        """Keep it for the judge, with how many arrivals there were to be. length_ns: of the timetable as it was."""
        if self._died:
            plan = self._plan.cut(length_ns)
            planned = sum(plan.share(index) for index in range(plan.workers))
            self._run.write(DEATHS_EVIDENCE, {"planned": planned, "died": self._died})
