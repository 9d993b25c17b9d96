"""Milvus released: a collection is released from memory, so that searches in it fail; its data stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from pydantic import Field

from harness.core.errors import UsageError
from harness.faults.collections import answering
from harness.faults.guarded import GuardedFault, without_effect
from harness.faults.store_fault import StoreFault, StoreParameters, meant
from harness.model.events import Event
from harness.stack.handle import Stack
from harness.stack.undo import Step

CALL = 10.0  # seconds for one call
LOADING = 55.0  # seconds for the program that loads it again


class MilvusReleasedParameters(StoreParameters):
    collection: str | None = Field(None, description="the collection; if not given, the first that is loaded")


class MilvusReleased(StoreFault, GuardedFault):
    """In force when Milvus says NotLoad, and a query for one row fails; undone when it says Loaded, with as many
    replicas as before, and such a query is answered."""

    name = "milvus-released"
    use: ClassVar[str] = "milvus"
    takes = MilvusReleasedParameters
    given: MilvusReleasedParameters

    def __init__(
        self, stack: Stack, parameters: MilvusReleasedParameters, emit: Callable[[Event], None] | None = None
    ) -> None:
        GuardedFault.__init__(self, stack, parameters, emit)
        self._address = stack.address(f"{self.service}.grpc")
        self._collection = parameters.collection or ""
        self._replicas = 1

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"collection": self._collection}

    def _undo_steps(self) -> Sequence[Step]:
        from pymilvus import MilvusException

        try:
            with self._client() as client:
                known = sorted(client.list_collections(timeout=CALL))
                loaded = tuple(one for one in known if _state(client, one) == "Loaded")
                self._collection = self._chosen_of(tuple(known), loaded)
                self._replicas = len(client.describe_replica(self._collection, timeout=CALL)) or 1
        except MilvusException as error:
            raise without_effect(self.label, f"Milvus says: {error.message}") from None
        arguments = (self._address, self._collection, str(self._replicas))
        return (self.stack.undo_program("harness.faults.undo.milvus_loaded", *arguments) | {"patience": LOADING},)

    def _chosen_of(self, known: tuple[str, ...], loaded: tuple[str, ...]) -> str:
        """Raises UsageError fault-parameter for what is not there, or not loaded."""
        wanted = self.given.collection
        if wanted is None and loaded:
            return loaded[0]
        if wanted in loaded:
            return str(wanted)
        if wanted is None or wanted in known:
            cause = (
                f"{'no collection is' if wanted is None else f'collection {wanted} is not'} loaded in {self.service}"
            )
        else:
            cause = f"no collection {wanted!r} in {self.service}{meant(wanted, known)}"
        raise UsageError("fault-parameter", f"{self.name}: {cause}", "Name one that is loaded as `collection`.")

    def _break(self) -> None:
        from pymilvus import MilvusException

        try:
            with self._client() as client:
                client.release_collection(self._collection, timeout=CALL)
        except MilvusException as error:
            raise without_effect(self.label, f"Milvus says: {error.message}") from None

    def _seen(self) -> str:
        if self._looked()[0] != "NotLoad" or self._collection in answering(self._address):
            return ""
        return f"collection {self._collection} is NotLoad, and a query for one row fails"

    def _gone(self) -> str:
        if self._looked() != ("Loaded", self._replicas) or self._collection not in answering(self._address):
            return ""
        return f"collection {self._collection} is Loaded, {self._replicas} replica, and a query for one row is answered"

    def _looked(self) -> tuple[str, int]:
        """Load state, and number of replicas; ("", 0) without an answer."""
        from pymilvus import MilvusException

        try:
            with self._client() as client:
                state = _state(client, self._collection)
                loaded = state == "Loaded"
                return state, len(client.describe_replica(self._collection, timeout=CALL)) if loaded else 0
        except MilvusException:
            return "", 0

    @contextmanager
    def _client(self) -> Iterator[Any]:
        from pymilvus import MilvusClient

        client = MilvusClient(f"http://{self._address}", timeout=CALL)
        try:
            yield client
        finally:
            client.close()


def _state(client: Any, collection: str) -> str:
    return str(client.get_load_state(collection, timeout=CALL)["state"].name)
