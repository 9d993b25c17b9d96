"""Redis slow command: a script keeps the server busy, again and again, and everybody else waits that long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import Field

from harness.core.errors import UsageError
from harness.faults.guarded import PATIENCE, without_effect
from harness.faults.parameters import DurationText, Parameters
from harness.faults.redis_store import connect
from harness.faults.store_fault import StoreFault, StoreParameters
from harness.faults.units import seconds_of
from harness.faults.waiting import wait_for
from harness.model.events import Event
from harness.stack.guard import not_undone
from harness.stack.handle import Stack

SHORTEST, LONGEST = 0.05, 4.0  # seconds; after 5 s of a script, Redis answers BUSY to others and they wait no longer
# Runs for so many microseconds by the server's clock, and knows its end: nobody has to be there for it.
SCRIPT = """
local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
local began, last = now(), 0
local turns = 0
repeat
  last = now() - began
  turns = turns + 1
until last >= tonumber(ARGV[1]) or turns > 1e9
return last
"""


class RedisSlowParameters(StoreParameters):
    each: DurationText = Field("200ms", description="how long the server is busy at a time, 50ms to 4s")
    every: DurationText = Field("1s", description="from the begin of one time to that of the next")


class RedisSlow(StoreFault):
    """In force when a PING of another connection waits for half of `each` at least; undone when no script of ours runs
    and a PING is answered. Redis ends each script by itself, whatever becomes of this process: no more come then."""

    name = "redis-slow-command"
    use: ClassVar[str] = "redis"
    takes = RedisSlowParameters
    given: RedisSlowParameters

    def __init__(
        self, stack: Stack, parameters: RedisSlowParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(emit)
        self.check(parameters)
        self.given = parameters
        self._address = stack.address(f"{self.service}.resp")
        self._each, self._every = seconds_of("each", parameters.each), seconds_of("every", parameters.every)
        self._lasting = None if parameters.lasting is None else seconds_of("lasting", parameters.lasting)
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._scripts, self._said = 0, ""

    @classmethod
    def check(cls, parameters: Parameters) -> None:
        assert isinstance(parameters, RedisSlowParameters)
        each, every = seconds_of("each", parameters.each), seconds_of("every", parameters.every)
        if not SHORTEST <= each <= LONGEST or each > every:
            cause = f"{cls.name}: each is {parameters.each} and every {parameters.every}"
            raise UsageError("fault-parameter", cause, "`each` is 50ms to 4s, and at most `every`.")

    def parameters(self) -> dict[str, Any]:
        return self.given.model_dump(mode="json", exclude_none=True)

    def _over(self) -> bool:
        return self._lasting is not None and time.monotonic() >= self._began + self._lasting

    def _apply(self) -> str:
        self._done.clear()
        self._scripts, self._said, self._began = 0, "", time.monotonic()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()
        seen = wait_for(self._waits, PATIENCE)
        if not seen:
            told = f"Redis says: {self._said}" if self._said else "no PING had to wait"
            raise without_effect(f"{self.name} on {self.service}", told)
        return seen

    def _undo(self) -> str:
        over = self._over()
        seen = over or self._waits()
        over = self._over()
        self._last = self._counters()
        self._abandon()
        waited = wait_for(self._answers, PATIENCE)
        label = f"{self.name} on {self.service}"
        if waited is None:
            raise not_undone(label, "no script is sent any more, and Redis does not answer")
        if not seen and not over:
            raise without_effect(label, "it was in force at first, and was not any more before it was undone")
        how = f"no script runs, and a PING was answered in {waited * 1000:.1f} ms"
        return f"it had ended by itself, and {how}" if over else how

    def _abandon(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _repeat(self) -> None:
        """By a connection of its own, which a Redis that was restarted makes it make anew."""
        import redis

        client = connect(self._address, self._each * 4 + 5)
        due = time.monotonic()
        while not self._done.wait(max(0.0, due - time.monotonic())) and not self._over():
            due = max(due, time.monotonic() - self._every) + self._every
            try:
                client.eval(SCRIPT, 0, round(self._each * 1e6))
                self._scripts += 1
            except redis.RedisError as error:
                self._said = str(error)
        client.close()

    def _waits(self) -> str:
        """How a PING had to wait in the next while, '' if none had."""
        import redis

        client = connect(self._address, self._each * 4 + 5)
        until = time.monotonic() + self._every + self._each
        try:
            client.ping()
            while (began := time.monotonic()) < until:
                client.ping()
                waited = time.monotonic() - began
                if waited >= self._each / 2:
                    return f"a PING waited for {waited * 1000:.0f} ms"
                time.sleep(self._each / 10)
        except redis.RedisError as error:
            self._said = str(error)
        finally:
            client.close()
        return ""

    def _answers(self) -> float | None:
        """Seconds for a PING on a connection that is there; None without an answer."""
        import redis

        client = connect(self._address, self._each * 4 + 5)
        try:
            client.ping()
            began = time.monotonic()
            client.ping()
            return time.monotonic() - began
        except redis.RedisError:
            return None
        finally:
            client.close()

    def _counters(self) -> dict[str, int]:
        return {"scripts": self._scripts}
