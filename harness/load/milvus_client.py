"""A sequential client of Milvus over its own gRPC service: requests are encoded ahead, replies decoded at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from numpy.typing import ArrayLike
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from harness.load.grpc_client import GrpcClient, GrpcReply

SERVICE = "/milvus.proto.milvus.MilvusService"
_SEARCH = f"{SERVICE}/Search"
# What a search must have seen, as the server takes it: a time stamp, or a number that stands for one.
CONSISTENCY = {"Strong": 0, "Bounded": 2, "Eventually": 1}


class MilvusReply(GrpcReply):
    """A GrpcReply whose error may also be milvus_<code>, the server's own number, or bad_message: not what is meant by
    the method. message: the reply, decoded, or None."""

    __slots__ = ("message",)

    def __init__(self, body: bytes, error: str | None, detail: str, size: int, latency_ns: int) -> None:
        super().__init__(body, error, detail, size, latency_ns)
        self.message: Any = None

    def decode(self, kind: type[Message]) -> None:
        """Put the message into `message`, or what is wrong with it into `error`."""
        if self.error is not None:
            return
        try:
            message: Any = kind.FromString(self.body)
        except DecodeError:
            self.error = "bad_message"
            return
        status = message if kind is common_pb2.Status else message.status
        code = status.code or status.error_code
        if code:
            self.error, self.detail = f"milvus_{code}", status.reason
        else:
            self.message = message


class SearchReply(MilvusReply):
    """ids and scores, nearest first, of all queries one after the other; topks: how many each query got."""

    __slots__ = ()

    @property
    def ids(self) -> list[Any]:
        """Whole numbers or strings, as the primary key is; none without a reply."""
        if self.message is None:
            return []
        found = self.message.results.ids
        return list(found.int_id.data) or list(found.str_id.data)

    @property
    def scores(self) -> list[float]:
        return [] if self.message is None else list(self.message.results.scores)

    @property
    def topks(self) -> list[int]:
        return [] if self.message is None else list(self.message.results.topks)


class Search:
    """Searches that differ in nothing but their vectors: what they have in common is encoded once.

    field: of the vectors; metric: IP | L2 | COSINE; params: of the index, as {"nprobe": 96}; consistency: Strong |
    Bounded | Eventually. Raises ValueError for another consistency.
    """

    def __init__(
        self,
        collection: str,
        *,
        top_k: int,
        field: str = "vector",
        metric: str = "IP",
        params: Mapping[str, Any] | None = None,
        output_fields: Sequence[str] = (),
        filter: str = "",
        consistency: str = "Bounded",
        database: str = "",
    ) -> None:
        if consistency not in CONSISTENCY:
            raise ValueError(f"{consistency!r} is not one of {', '.join(CONSISTENCY)}")
        search = {"anns_field": field, "metric_type": metric, "topk": str(top_k)}
        search |= {"params": json.dumps(dict(params or {})), "round_decimal": "-1"}
        self._request = milvus_pb2.SearchRequest(
            db_name=database,
            collection_name=collection,
            dsl=filter,
            dsl_type=common_pb2.DslType.BoolExprV1,
            output_fields=list(output_fields),
            search_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in search.items()],
            consistency_level=common_pb2.ConsistencyLevel.Value(consistency),
            use_default_consistency=False,
            guarantee_timestamp=CONSISTENCY[consistency],
        )
        self._fixed: dict[int, bytes] = {}  # number of queries -> all but the vectors

    def encode(self, vectors: ArrayLike) -> bytes:
        """The request for one vector (d,), or for many (n, d), as float32."""
        rows = np.atleast_2d(np.asarray(vectors, dtype="<f4"))
        count = len(rows)
        fixed = self._fixed.get(count)
        if fixed is None:
            self._request.nq = count
            fixed = self._fixed[count] = self._request.SerializeToString()
        values = common_pb2.PlaceholderValue(
            tag="$0", type=common_pb2.PlaceholderType.FloatVector, values=[row.tobytes() for row in rows]
        )
        group = common_pb2.PlaceholderGroup(placeholders=[values]).SerializeToString()
        # encoded messages that follow each other are one message with the fields of both
        vectors_alone: bytes = milvus_pb2.SearchRequest(placeholder_group=group).SerializeToString()
        return fixed + vectors_alone


class MilvusClient(GrpcClient):
    """host: http://host:port or host:port."""

    def search(self, request: bytes, *, name: str | None = "search", timeout: float | None = None) -> SearchReply:
        """One search, encoded by Search.encode."""
        return self._call(_SEARCH, request, name, timeout, _search_reply)

    def ask(
        self, method: str, request: Message | bytes, kind: type[Message], *, name: str | None,
        timeout: float | None = None,
    ) -> MilvusReply:  # fmt: skip
        """Another call: method, as "Insert"; kind: the class of its reply in pymilvus.grpc_gen, with a `status`, or
        the Status itself; name None records nothing."""
        message = request if isinstance(request, bytes) else request.SerializeToString()

        def make(body: bytes, error: str | None, detail: str, size: int, latency_ns: int) -> MilvusReply:
            reply = MilvusReply(body, error, detail, size, latency_ns)
            reply.decode(kind)
            return reply

        return self._call(f"{SERVICE}/{method}", message, name, timeout, make)


def _search_reply(body: bytes, error: str | None, detail: str, size: int, latency_ns: int) -> SearchReply:
    reply = SearchReply(body, error, detail, size, latency_ns)
    reply.decode(milvus_pb2.SearchResults)
    return reply
