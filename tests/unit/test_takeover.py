"""What workers that die had still to send is dealt to those that are left: each arrival to one of them."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from harness.model.takeover import Claim, settle


def timetable(worker: int) -> Iterator[int]:
    return iter(range(worker * 7, 1000, 21))  # every third, of three


@given(st.permutations([0, 1, 2]), st.tuples(st.integers(-1, 1000), st.integers(0, 500)))
def test_each_arrival_is_sent_once_whoever_dies_and_whenever(order: list[int], deaths: tuple[int, int]) -> None:
    claims = {worker: [Claim(worker)] for worker in range(3)}
    sent: list[int] = []
    moment = -1
    for dead, later in zip(order, deaths, strict=False):
        moment += later
        mine = claims.pop(dead)
        sent += [due for claim in mine for due in claim.offsets(timetable) if due <= moment]
        for heir, more in zip(claims, settle(mine, moment, len(claims)), strict=True):
            claims[heir] += [Claim.from_dict(claim.as_dict()) for claim in more]
    sent += [due for mine in claims.values() for claim in mine for due in claim.offsets(timetable)]
    assert sorted(sent) == sorted(due for worker in range(3) for due in timetable(worker))


def test_heirs_share_evenly() -> None:
    shares = settle([Claim(0)], 100, 2)
    counts = [sum(1 for claim in share for _ in claim.offsets(timetable)) for share in shares]
    assert abs(counts[0] - counts[1]) <= 1 and sum(counts) == sum(due > 100 for due in timetable(0))
