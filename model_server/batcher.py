"""Dynamic batching: rows of concurrent requests are computed together, in the order in which they came."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from app.shared.features import Matrix
from model_server.metrics import ServerMetrics

_RESOLUTION = 0.000_5  # seconds; the event loop's timers know whole milliseconds


class QueueFull(Exception):
    """There are too many rows waiting already; the message says how many."""


class ComputeFailed(Exception):
    """The model raised an error on the batch of this request; the message is that error's."""


class Withdrawn(Exception):
    """Nobody wants the request's results any longer."""


class Ticket:
    """One request in the queue. Read its results with `async for part in ticket`, or give it up with `withdraw`.

    batches: computations that its rows took part in so far. largest_batch: most rows in one of them, other requests'
    included. queue_seconds: from arrival to the start of the first, None before. started_ns, ended_ns: since 1970,
    the start of the first and the end of the latest.
    """

    def __init__(self, rows: Matrix, withdraw: Callable[[Ticket], None]) -> None:
        self.rows = rows
        self.arrived = time.perf_counter()
        self.taken = 0  # rows that are in a batch, or were
        self.batches = 0
        self.largest_batch = 0
        self.queue_seconds: float | None = None
        self.started_ns = self.ended_ns = 0
        self._withdraw = withdraw
        self._withdrawn = False
        self._results: asyncio.Queue[Matrix | Exception] = asyncio.Queue()

    @property
    def left(self) -> int:
        """Rows that are not in a batch yet."""
        return len(self.rows) - self.taken

    async def __aiter__(self) -> AsyncIterator[Matrix]:
        """Probabilities (m, 10) for the next m rows as each batch is done. Raises ComputeFailed, Withdrawn."""
        wanted = len(self.rows)
        while wanted:
            result = await self._results.get()
            if isinstance(result, Exception):
                raise result
            wanted -= len(result)
            yield result

    def deliver(self, result: Matrix | Exception) -> None:
        """What became of the next rows."""
        self._results.put_nowait(result)

    def withdraw(self) -> None:
        """Take the rows that are not computed yet out of the queue; whoever waits for results gets Withdrawn."""
        if not self._withdrawn:
            self._withdrawn = True
            self._withdraw(self)
            self.deliver(Withdrawn())


@dataclass(frozen=True, slots=True)
class _Slice:
    """The rows of one request in a batch."""

    ticket: Ticket
    rows: Matrix


class Batcher:
    """One thread computes batches of at most `batch_size` rows; a batch starts when it is full, or when its first row
    has waited `batch_wait` seconds. Make, use and close it inside one event loop."""

    def __init__(
        self,
        compute: Callable[[Matrix], Matrix],
        metrics: ServerMetrics,
        *,
        batch_size: int,
        batch_wait: float,
        queue_rows: int,
    ) -> None:
        """`compute` takes (n, 80) to (n, 10) and runs in the thread; `queue_rows` is how many rows may wait."""
        self._compute = compute
        self._metrics = metrics
        self._batch_size = batch_size
        self._batch_wait = batch_wait
        self._queue_rows = queue_rows
        self._queue: deque[Ticket] = deque()
        self._waiting = 0  # rows in the queue
        self._changed = asyncio.Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def running(self) -> bool:
        """False once it was closed."""
        return not self._task.done()

    @property
    def waiting(self) -> int:
        """Rows in the queue."""
        return self._waiting

    def submit(self, rows: Matrix) -> Ticket:
        """Queue (n, 80) rows, n at least 1. Raises QueueFull."""
        if self._waiting + len(rows) > self._queue_rows:
            raise QueueFull(f"{self._waiting} rows are waiting, {len(rows)} more would exceed {self._queue_rows}")
        ticket = Ticket(rows, self._forget)
        self._queue.append(ticket)
        self._waiting += len(rows)
        if len(self._queue) == 1 or self._waiting >= self._batch_size:
            self._changed.set()
        return ticket

    async def probe(self, rows: Matrix) -> Matrix:
        """Compute rows in the thread, outside of any batch and uncounted. Raises what the model raises."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._compute, rows)

    async def close(self) -> None:
        """Stop. What is still in the queue stays unanswered: withdraw it before."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._worker.shutdown()

    def _forget(self, ticket: Ticket) -> None:
        if ticket.left:
            self._queue.remove(ticket)
            self._waiting -= ticket.left

    async def _run(self) -> None:
        while True:
            await self._due()
            if batch := self._take():
                await self._compute_batch(batch)

    async def _due(self) -> None:
        """Return when there is a full batch, or a row that has waited long enough."""
        while self._waiting < self._batch_size:
            patience: float | None = None
            if self._queue:
                patience = self._batch_wait - (time.perf_counter() - self._queue[0].arrived)
                if patience < _RESOLUTION:
                    return
            self._changed.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _take(self) -> list[_Slice]:
        """The next rows of the queue, at most a batch of them; a request may be cut."""
        batch: list[_Slice] = []
        room = self._batch_size
        while room and self._queue:
            ticket = self._queue[0]
            rows = ticket.rows[ticket.taken : ticket.taken + room]
            ticket.taken += len(rows)
            self._waiting -= len(rows)
            room -= len(rows)
            batch.append(_Slice(ticket, rows))
            if not ticket.left:
                self._queue.popleft()
        return batch

    async def _compute_batch(self, batch: list[_Slice]) -> None:
        rows = batch[0].rows if len(batch) == 1 else np.concatenate([one.rows for one in batch])
        now, started_ns = time.perf_counter(), time.time_ns()
        for one in batch:
            ticket = one.ticket
            if ticket.queue_seconds is None:
                ticket.queue_seconds = now - ticket.arrived
                ticket.started_ns = started_ns
                self._metrics.queue_duration.observe(ticket.queue_seconds)
        work = asyncio.get_running_loop().run_in_executor(self._worker, self._compute, rows)
        await asyncio.wait([work])
        self._metrics.compute_duration.observe(time.perf_counter() - now)
        self._metrics.batch_rows.observe(len(rows))
        ended_ns = time.time_ns()
        problem = work.exception()
        results = None if problem else work.result()
        start = 0
        for one in batch:
            ticket = one.ticket
            ticket.batches += 1
            ticket.largest_batch = max(ticket.largest_batch, len(rows))
            ticket.ended_ns = ended_ns
            if results is None:
                ticket.deliver(ComputeFailed(f"{type(problem).__name__}: {problem}"))
            else:
                ticket.deliver(results[start : start + len(one.rows)])
            start += len(one.rows)
