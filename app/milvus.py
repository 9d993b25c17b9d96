"""Vector search over Milvus' own gRPC service with asyncio, so that its deadline and retries are ours alone.

The client class of pymilvus retries on its own account and needs a thread for each call; only its messages are used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from app.config import COLLECTION
from app.embedding import Vector
from app.shared.dependency import MILVUS, ConnectionLost, DependencyError

_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # After an outage the next request must find the server again at once, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # despite its name: how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 500),
)
_CONNECTION_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_LOADED = common_pb2.LoadState.Value("LoadStateLoaded")


@dataclass(frozen=True, slots=True)
class Hit:
    """One neighbour: the id of its document and the cosine."""

    id: int
    score: float


class MilvusSearch:
    """One HTTP/2 connection, any number of calls on it. Make it inside the event loop that uses it."""

    def __init__(self, address: str, effort: int, timeout: float) -> None:
        """`address` host:port; `effort` lists of the index to read; `timeout` seconds for one attempt."""
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)
        self._params = json.dumps({"nprobe": effort})
        self._timeout = timeout

    async def search(self, vector: Vector, top_k: int) -> list[Hit]:
        """The `top_k` passages of greatest cosine, nearest first. Raises DependencyError."""
        reply = await self._ask(self._stub.Search, self._request(vector, top_k))
        found = reply.results
        return [Hit(id=int(id), score=score) for id, score in zip(found.ids.int_id.data, found.scores, strict=True)]

    async def check(self) -> None:
        """Raises DependencyError unless the server answers and the collection is in its memory."""
        request = milvus_pb2.GetLoadStateRequest(collection_name=COLLECTION)
        reply = await self._ask(self._stub.GetLoadState, request)
        if reply.state != _LOADED:
            state = common_pb2.LoadState.Name(reply.state)
            raise DependencyError(MILVUS, "not-loaded", f"collection {COLLECTION} is {state}, run app.load_corpus")

    async def close(self) -> None:
        """Drop the connection and what is still under way on it."""
        await self._channel.close(grace=None)

    async def _ask(self, method: Any, request: Any) -> Any:
        try:
            reply = await method(request, timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() in _CONNECTION_CODES:
                raise ConnectionLost(MILVUS, error.details() or "connection lost") from None
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DependencyError(MILVUS, "timeout", f"no answer within {self._timeout:g} s") from None
            raise DependencyError(MILVUS, "refused", f"{error.code().name}: {error.details()}") from None
        if reply.status.code or reply.status.error_code:
            raise DependencyError(MILVUS, "refused", reply.status.reason or f"code {reply.status.code}")
        return reply

    def _request(self, vector: Vector, top_k: int) -> Any:
        placeholder = common_pb2.PlaceholderValue(
            tag="$0", type=common_pb2.PlaceholderType.FloatVector, values=[vector.tobytes()]
        )
        search = {
            "anns_field": "vector",
            "metric_type": "IP",
            "topk": str(top_k),
            "params": self._params,
            "round_decimal": "-1",
        }
        return milvus_pb2.SearchRequest(
            collection_name=COLLECTION,
            dsl_type=common_pb2.DslType.BoolExprV1,
            nq=1,
            placeholder_group=common_pb2.PlaceholderGroup(placeholders=[placeholder]).SerializeToString(),
            search_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in search.items()],
            # The documents never change while the app runs: bounded staleness never waits, and is stated, not assumed.
            consistency_level=common_pb2.ConsistencyLevel.Bounded,
            use_default_consistency=False,
            guarantee_timestamp=2,
        )
