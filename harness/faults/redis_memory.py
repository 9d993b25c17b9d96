"""Redis memory: its `maxmemory` is less than what it uses, and it may evict nothing, so that every write is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema

from harness.core.errors import UsageError
from harness.core.size import parse_size
from harness.faults.guarded import GuardedFault, without_effect
from harness.faults.parameters import Parameters
from harness.faults.redis_store import connect
from harness.faults.store_fault import StoreFault, StoreParameters
from harness.model.events import Event
from harness.model.json_schema import size_schema
from harness.stack.handle import Stack
from harness.stack.undo import Step

PROBE = "slo-harness:probe"  # a key that is removed as soon as it could be written


def _size(text: str) -> str:
    parse_size(text)
    return text


class RedisMemoryParameters(StoreParameters):
    limit: Annotated[str, AfterValidator(_size), WithJsonSchema(size_schema())] | None = Field(
        None, description="what maxmemory becomes, as 512kB; if not given, half of what is used"
    )


class RedisMemory(StoreFault, GuardedFault):
    """In force when a SET is refused with OOM; undone when both settings are what they were and a SET works. `refused`
    counts the commands of others that got OOM, by Redis' own counter."""

    name = "redis-memory"
    use: ClassVar[str] = "redis"
    takes = RedisMemoryParameters
    given: RedisMemoryParameters

    def __init__(
        self, stack: Stack, parameters: RedisMemoryParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        GuardedFault.__init__(self, stack, parameters, emit)
        self._address = stack.address(f"{self.service}.resp")
        self._before: dict[str, str] = {}
        self._errors = self._ours = 0

    @classmethod
    def check(cls, parameters: Parameters) -> None:
        assert isinstance(parameters, RedisMemoryParameters)
        if parameters.limit is not None and parse_size(parameters.limit) == 0:
            raise UsageError("fault-parameter", f"{cls.name}: limit 0B is no limit to Redis", "Write for example 1MB.")

    def _undo_steps(self) -> Sequence[Step]:
        import redis

        client = connect(self._address)
        try:
            self._before = client.config_get("maxmemory", "maxmemory-policy")
            self._used = int(client.info("memory")["used_memory"])
            self._errors, self._ours = self._refused(client), 0
        except redis.RedisError as error:
            raise without_effect(self.label, f"Redis says: {error}") from None
        finally:
            client.close()
        return (self.stack.undo_program("harness.stack.redis_settings", self._address, json.dumps(self._before)),)

    def _break(self) -> None:
        import redis

        limit = self._used // 2 if self.given.limit is None else parse_size(self.given.limit)
        client = connect(self._address)
        try:
            client.config_set("maxmemory-policy", "noeviction", "maxmemory", limit)
        except redis.RedisError as error:
            raise without_effect(self.label, f"Redis says: {error}") from None
        finally:
            client.close()

    def _seen(self) -> str:
        said = self._set()
        if not said.startswith("OOM"):
            return ""
        self._ours += 1
        return f"a SET is refused: OOM {said.removeprefix('OOM').strip()}"

    def _gone(self) -> str:
        import redis

        said = self._set()
        if said != "OK":
            self._ours += said.startswith("OOM")
            return ""
        client = connect(self._address)
        try:
            if client.config_get(*self._before) != self._before:
                return ""
        except redis.RedisError:
            return ""
        finally:
            client.close()
        told = ", ".join(f"{name} {value}" for name, value in self._before.items())
        return f"a SET works, and settings are as before: {told}"

    def _undo_and_see(self) -> str:
        self._last = self._counters()
        return super()._undo_and_see()

    def _set(self) -> str:
        """What a SET gets: OK, the words of an error, or '' without an answer."""
        import redis

        client = connect(self._address)
        try:
            client.set(PROBE, "")
            client.delete(PROBE)
            return "OK"
        except redis.OutOfMemoryError as error:
            return f"OOM {error}"
        except redis.RedisError:
            return ""
        finally:
            client.close()

    def _counters(self) -> dict[str, int]:
        import redis

        client = connect(self._address)
        try:
            return {"refused": max(0, self._refused(client) - self._errors - self._ours)}
        except redis.RedisError:
            return dict(self._last)
        finally:
            client.close()

    def _refused(self, client: object) -> int:
        """OOM errors that this Redis has given."""
        told = client.info("errorstats").get("errorstat_OOM", {})  # type: ignore[attr-defined]
        return int(told.get("count", 0))
