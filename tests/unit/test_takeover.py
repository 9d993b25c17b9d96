"""What workers that die had still to send is dealt to those that are left: each arrival to one of them."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from harness.model.takeover import Claim, progress, settle


def timetable(worker: int) -> Iterator[int]:
    return iter(range(worker * 7, 1000, 21))  # every third, of three


class Played:
    """A worker: dispatches what is due in order, keeps a tally of its own, and dies between any two arrivals."""

    def __init__(self, index: int) -> None:
        self.batches = [[Claim(index)]]
        self.due = list(timetable(index))
        self.offset, self.taken, self.behind = -1, 0, -1

    def work(self, until: int, most: int, sent: list[int]) -> None:
        for _ in range(most):
            if not self.due or self.due[0] > until:
                return
            offset = self.due.pop(0)
            sent.append(offset)
            if offset >= self.offset:
                self.offset, self.behind = offset, -1
            else:
                self.behind = offset

    def take(self, claims: list[Claim], listens: bool) -> None:
        claims = [Claim.from_dict(claim.as_dict()) for claim in claims]
        self.batches.append(claims)
        if listens:
            after = min(claim.steps[-1].after_ns for claim in claims)
            self.behind = after if after < self.offset else self.behind
            self.taken += len(claims)
            self.due = sorted(self.due + [due for claim in claims for due in claim.offsets(timetable)])


@given(
    st.permutations([0, 1, 2]),
    st.tuples(st.integers(0, 1000), st.integers(0, 500)),
    st.lists(st.integers(0, 60), min_size=6, max_size=6),
    st.booleans(),
)
def test_each_arrival_is_sent_once_whoever_dies_and_whenever(
    order: list[int], deaths: tuple[int, int], paces: list[int], listens: bool
) -> None:
    workers, sent, moment, pace = {index: Played(index) for index in range(3)}, [], 0, iter(paces)
    for number, (dead, later) in enumerate(zip(order, deaths, strict=False)):
        moment += later
        for worker in workers.values():
            worker.work(moment, next(pace, 60), sent)  # however far it has got in that time
        gone = workers.pop(dead)
        left = progress(gone.batches, gone.offset, gone.taken, gone.behind)
        for heir, claims in zip(workers, settle(left, len(workers)), strict=True):
            # the one that dies next may not hear of it any more
            workers[heir].take(claims, listens or number == 1 or heir != order[1])
    for worker in workers.values():
        worker.work(10_000, 10_000, sent)
    assert sorted(sent) == sorted(due for index in range(3) for due in timetable(index))


def test_heirs_share_evenly() -> None:
    shares = settle([(Claim(0), 100)], 2)
    counts = [sum(1 for claim in share for _ in claim.offsets(timetable)) for share in shares]
    assert abs(counts[0] - counts[1]) <= 1 and sum(counts) == sum(due > 100 for due in timetable(0))
