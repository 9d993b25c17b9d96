"""The way that data and ends take through a connection while the link has faults: a queue, in order, with due times."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from typing import TYPE_CHECKING

from harness.stack.proxy.clock import Call
from harness.stack.proxy.mechanisms.base import Flow, Kind

if TYPE_CHECKING:
    from harness.stack.proxy.link import Active
    from harness.stack.proxy.sides import Side

HIGH = 4 << 20  # bytes in the queue before the source is read no further
LOW = HIGH // 2


class Item:
    """Something under way. holds: what holds it, and for how many seconds from `arrived` on."""

    __slots__ = ("arrived", "data", "holds", "kind")

    def __init__(self, kind: Kind, data: bytes | memoryview, arrived: float, holds: dict[Active, float]) -> None:
        self.kind = kind
        self.data = data
        self.arrived = arrived
        self.holds = holds

    def due(self) -> float:
        """A fault that has ended holds nothing."""
        return self.arrived + sum(seconds for act, seconds in self.holds.items() if act.in_force)


class Pipe:
    """From `source` to its peer. `acts`: the faults that apply now, set by whoever sets faults."""

    def __init__(self, source: Side) -> None:
        self.acts: list[Active] = []
        self._source = source
        self._flows: dict[Active, Flow] = {}
        self._queue: deque[Item] = deque()
        self._held = 0  # bytes in the queue
        self._piece: tuple[int, float] | None = None  # how many bytes leave next, and when
        self._call: Call | None = None

    @property
    def empty(self) -> bool:
        return not self._queue

    def feed(self, data: bytes) -> None:
        """Data came from the source."""
        for act in self.acts:
            flow = self._flow(act)
            flow.counters.bytes += len(data)
            data = act.mechanism.alter(data, flow)
            if not data:
                act.harmed.add(self._source.connection)
                return
        self._put("data", data)

    def feed_end(self, kind: Kind) -> None:
        """The source sent FIN, or was reset."""
        for act in self.acts:
            if not act.mechanism.passes_end(self._flow(act)):
                act.harmed.add(self._source.connection)
                return
        self._put(kind, b"")

    def _flow(self, act: Active) -> Flow:
        if act not in self._flows:
            direction, counters = self._source.direction, act.counters_of(self._source.connection)
            rng = random.Random(f"{act.seed}/{act.meet(self._source.connection)}/{direction}")
            self._flows[act] = Flow(direction, rng, counters)
        return self._flows[act]

    def _put(self, kind: Kind, data: bytes) -> None:
        holds = {act: held for act in self.acts if (held := act.mechanism.delay(kind, self._flow(act)))}
        self._queue.append(Item(kind, data, time.monotonic(), holds))
        self._held += len(data)
        if len(self._queue) == 1:
            self.pump()
        if self._held > HIGH:
            self._source.hold_back(pipe=True)

    def pump(self) -> None:
        """Send all that is due, and come back for the rest."""
        if self._call is not None:
            self._call.cancelled, self._call = True, None
        while self._queue:
            item = self._queue[0]
            due = item.due()
            if due > time.monotonic():
                self._later(due)
                break
            if item.kind != "data":
                self._queue.popleft()
                self._source.pass_end(item.kind)
            elif not self._send(item):
                break
        if self._held <= LOW:
            self._source.hold_back(pipe=False)

    def _send(self, item: Item) -> bool:
        """Send the next piece of the item; False if it may not leave yet."""
        if self._piece is None:
            size, now, direction = len(item.data), time.monotonic(), self._source.direction
            for act in self.acts:
                size = act.mechanism.pace(size)
            self._piece = size, max((act.mechanism.departure(size, now, direction) for act in self.acts), default=now)
            if self._piece[1] > now:
                for act in self.acts:
                    self._flow(act).counters.throttled += 1
        size, when = self._piece
        if when > time.monotonic():
            self._later(when)
            return False
        self._piece = None
        self._held -= size
        self._source.pass_data(item.data[:size])
        if size < len(item.data):
            item.data = memoryview(item.data)[size:]
        else:
            self._queue.popleft()
        return True

    def _later(self, moment: float) -> None:
        if not math.isinf(moment):
            self._call = self._source.link.clock.at(moment, self.pump)

    def rearrange(self, acts: list[Active]) -> None:
        """Other faults apply from now on; what only the old ones held goes at once."""
        self.acts = acts
        self._piece = None
        self._flows = {act: flow for act, flow in self._flows.items() if act.in_force}
        self.pump()
