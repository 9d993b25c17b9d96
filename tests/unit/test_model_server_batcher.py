"""What is computed together, in which order, and what becomes of it; the model is a gate that the test opens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.shared.features import COLUMNS, Matrix
from model_server.batcher import Batcher, ComputeFailed, QueueFull, Ticket, Withdrawn
from model_server.metrics import ServerMetrics

T = TypeVar("T")
NEVER = 3_600.0  # seconds that a row waits where the test fills the batches itself


class Gate:
    """A model that notes the first column of each batch, and computes it when it is let. Made inside a loop."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Semaphore(0)  # released once a batch
        self._loop = asyncio.get_running_loop()
        self._through = threading.Semaphore(0)

    def __call__(self, rows: Matrix) -> Matrix:
        self.batches.append(rows[:, 0].astype(int).tolist())
        self._loop.call_soon_threadsafe(self.begun.release)
        assert self._through.acquire(timeout=20)
        if (rows < 0).any():
            raise ValueError("a negative number")
        return rows[:, :10]

    def let(self, batches: int) -> None:
        for _ in range(batches):
            self._through.release()


Scene = Callable[[Batcher, Gate], Awaitable[T]]


def play(scene: Scene[T], *, size: int = 4, wait: float = NEVER, queue: int = 100, let: int = 0) -> T:
    """Run `scene` with a batcher; `let` batches pass the gate on their own."""

    async def run() -> T:
        gate = Gate()
        gate.let(let)
        metrics = ServerMetrics()
        batcher = Batcher(gate, metrics, batch_size=size, batch_wait=wait, queue_rows=queue)
        try:
            async with asyncio.timeout(20):
                done = await scene(batcher, gate)
        finally:
            gate.let(1_000)
            await batcher.close()
        assert not batcher.running
        check_metrics(metrics, gate)
        return done

    return asyncio.run(run())


def check_metrics(metrics: ServerMetrics, gate: Gate) -> None:
    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"model_server_{name}")

    computed = value("batch_rows_count")
    assert computed == value("compute_duration_seconds_count")
    assert computed is not None and len(gate.batches) - computed in (0, 1)  # the last may have met the end
    assert value("batch_rows_sum") == sum(map(len, gate.batches[: int(computed)]))


def rows(first: int, count: int) -> Matrix:
    """(count, 80) whose first column is first, first + 1, ..."""
    matrix = np.zeros((count, COLUMNS), dtype=np.float32)
    matrix[:, 0] = np.arange(first, first + count)
    return matrix


async def answers(ticket: Ticket) -> list[int]:
    """The first column of the results: the rows that were asked, if each request gets its own."""
    return [int(value) for part in [part async for part in ticket] for value in part[:, 0]]


async def turns() -> None:
    """Let everything that could happen now happen."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_rows_of_concurrent_requests_are_computed_together_and_each_gets_its_own() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        tickets = []
        for first, count in ((0, 1), (10, 2), (20, 1)):
            await turns()
            assert gate.batches == []  # nothing starts before the batch is full
            tickets.append(batcher.submit(rows(first, count)))
        assert await asyncio.gather(*map(answers, tickets)) == [[0], [10, 11], [20]]
        assert gate.batches == [[0, 10, 11, 20]]
        assert [(ticket.batches, ticket.largest_batch) for ticket in tickets] == [(1, 4)] * 3

    play(scene, let=1)


@pytest.mark.parametrize("wait", [0.0, 0.005])
def test_a_batch_that_does_not_fill_starts_when_its_first_row_has_waited(wait: float) -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        ticket = batcher.submit(rows(0, 1))
        assert await answers(ticket) == [0]
        assert ticket.queue_seconds is not None and ticket.queue_seconds >= wait - 0.001
        assert 0 < ticket.started_ns <= ticket.ended_ns
        assert await answers(batcher.submit(rows(1, 3))) == [1, 2, 3]
        assert gate.batches == [[0], [1, 2, 3]]

    play(scene, wait=wait, let=2)


def test_what_comes_during_a_computation_goes_into_the_next_batch() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        first = batcher.submit(rows(0, 4))
        await gate.begun.acquire()
        later = [batcher.submit(rows(10 * number, 3)) for number in (1, 2, 3)]
        await turns()
        assert gate.batches == [[0, 1, 2, 3]]
        assert batcher.waiting == 9
        gate.let(1)
        assert await answers(first) == [0, 1, 2, 3]
        gate.let(2)
        assert await asyncio.gather(*map(answers, later[:2])) == [[10, 11, 12], [20, 21, 22]]
        assert gate.batches[1:] == [[10, 11, 12, 20], [21, 22, 30, 31]]
        assert (later[1].batches, batcher.waiting) == (2, 1)

    play(scene)


def test_a_request_larger_than_a_batch_is_split_and_its_first_rows_are_there_before_the_last_are_computed() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        ticket = batcher.submit(rows(0, 10))
        parts = aiter(ticket)
        gate.let(1)
        assert (await anext(parts))[:, 0].tolist() == [0, 1, 2, 3]
        waited = ticket.queue_seconds
        await gate.begun.acquire()
        await gate.begun.acquire()  # the second batch is being computed, the third is not
        assert gate.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]
        gate.let(2)
        assert (await anext(parts))[:, 0].tolist() == [4, 5, 6, 7]
        filler = batcher.submit(rows(90, 2))  # the two rows that are left wait for company
        assert (await anext(parts))[:, 0].tolist() == [8, 9]
        assert await anext(parts, None) is None
        assert await answers(filler) == [90, 91]
        assert gate.batches[2] == [8, 9, 90, 91]
        assert (ticket.batches, ticket.largest_batch) == (3, 4)
        assert ticket.queue_seconds == waited  # till its first rows were taken, once

    play(scene)


def test_a_full_queue_refuses_at_once_and_says_how_many_wait() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        computing = batcher.submit(rows(0, 4))
        await gate.begun.acquire()  # these wait no longer
        waiting = batcher.submit(rows(10, 7))
        with pytest.raises(QueueFull, match="7 rows are waiting, 4 more would exceed 10"):
            batcher.submit(rows(20, 4))
        fits = batcher.submit(rows(30, 3))
        with pytest.raises(QueueFull):
            batcher.submit(rows(40, 1))
        gate.let(10)
        assert await answers(computing) == [0, 1, 2, 3]
        assert await answers(waiting) == list(range(10, 17))
        batcher.submit(rows(50, 2))  # there is room again, and this fills the batch
        assert await answers(fits) == [30, 31, 32]

    play(scene, queue=10)


def test_the_rows_of_a_withdrawn_request_are_not_computed_and_make_room() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        first, gone, last = (batcher.submit(rows(10 * number, 1)) for number in range(3))
        reading = asyncio.ensure_future(answers(gone))
        await turns()
        gone.withdraw()
        gone.withdraw()  # once is enough
        assert batcher.waiting == 2
        with pytest.raises(Withdrawn):
            await reading
        batcher.submit(rows(30, 2))
        gate.let(1)
        assert await asyncio.gather(*map(answers, (first, last))) == [[0], [20]]
        assert gate.batches == [[0, 20, 30, 31]]
        assert gone.batches == 0 and gone.queue_seconds is None

    play(scene)


def test_the_next_row_waits_its_own_time_when_the_first_is_withdrawn() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        batcher.submit(rows(0, 1)).withdraw()
        assert await answers(batcher.submit(rows(1, 1))) == [1]
        assert gate.batches == [[1]]

    play(scene, wait=0.005, let=1)


def test_a_request_withdrawn_in_the_middle_is_computed_no_further() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        gone = batcher.submit(rows(0, 12))
        await gate.begun.acquire()
        gone.withdraw()
        other = batcher.submit(rows(90, 4))
        gate.let(2)
        assert await answers(other) == [90, 91, 92, 93]
        assert gate.batches == [[0, 1, 2, 3], [90, 91, 92, 93]]
        assert (gone.batches, gone.left, batcher.waiting) == (1, 8, 0)

    play(scene)


def test_a_batch_that_the_model_refuses_fails_its_own_requests_and_no_others() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        bad, beside = batcher.submit(rows(-1, 1)), batcher.submit(rows(0, 3))
        after = batcher.submit(rows(10, 4))
        gate.let(2)
        for ticket in (bad, beside):
            with pytest.raises(ComputeFailed, match="ValueError: a negative number"):
                await answers(ticket)
        assert await answers(after) == [10, 11, 12, 13]

    play(scene)


def test_a_probe_is_answered_and_not_counted() -> None:
    async def scene(batcher: Batcher, gate: Gate) -> None:
        assert (await batcher.probe(rows(5, 1)))[0, 0] == 5
        gate.batches.clear()  # check_metrics compares with what was counted

    play(scene, let=1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(min_value=1, max_value=9), st.integers(min_value=0, max_value=3)), max_size=12),
    st.integers(min_value=1, max_value=6),
)
def test_whatever_comes_everybody_gets_their_rows_in_order_and_no_batch_is_too_large(
    asked: list[tuple[int, int]], size: int
) -> None:
    """Each request: how many rows, and how many turns of the loop pass before the next."""

    async def scene(batcher: Batcher, gate: Gate) -> None:
        tickets = []
        for number, (count, pause) in enumerate(asked):
            tickets.append(batcher.submit(rows(100 * number, count)))
            for _ in range(pause):
                await asyncio.sleep(0)
        expected = [list(range(100 * number, 100 * number + count)) for number, (count, _) in enumerate(asked)]
        assert await asyncio.gather(*map(answers, tickets)) == expected
        assert [row for batch in gate.batches for row in batch] == [row for one in expected for row in one]
        assert all(len(batch) <= size for batch in gate.batches)

    play(scene, size=size, wait=0.0, queue=1_000, let=1_000)
