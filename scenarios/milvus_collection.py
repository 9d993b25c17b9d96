"""A collection of vectors that a scenario makes for itself and drops, by the load's own client, which records nothing
of it: pymilvus' would stop the worker's event loop."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from harness.load.users.milvus import Search, unrecorded

DEADLINE = 30.0  # seconds, for one call and for the loading
BATCH = 2000  # vectors in one insert


class CollectionFailed(Exception):
    """The message says which call failed, and how."""


class Collection:
    """`id` (whole numbers) and `vector` (float32), searched exactly, by inner product. Raises CollectionFailed."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self._client = unrecorded(address)

    def names(self) -> list[str]:
        """All collections that the server has."""
        reply = self._ask("ShowCollections", milvus_pb2.ShowCollectionsRequest(), milvus_pb2.ShowCollectionsResponse)
        return list(reply.collection_names)

    def create(self, base: Any) -> None:
        """With the vectors `base` (n, d) in it, their ids from 0 on, all of which can be found when it returns."""
        fields = [
            schema_pb2.FieldSchema(name="id", is_primary_key=True, data_type=schema_pb2.DataType.Int64),
            schema_pb2.FieldSchema(
                name="vector",
                data_type=schema_pb2.DataType.FloatVector,
                type_params=[common_pb2.KeyValuePair(key="dim", value=str(base.shape[1]))],
            ),
        ]
        schema = schema_pb2.CollectionSchema(name=self.name, fields=fields)
        request = milvus_pb2.CreateCollectionRequest(
            collection_name=self.name, schema=schema.SerializeToString(), shards_num=1
        )
        self._ask("CreateCollection", request, common_pb2.Status)
        extra = {"index_type": "FLAT", "metric_type": "IP", "params": json.dumps({})}
        index = milvus_pb2.CreateIndexRequest(
            collection_name=self.name,
            field_name="vector",
            extra_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in extra.items()],
        )
        self._ask("CreateIndex", index, common_pb2.Status)
        for first in range(0, len(base), BATCH):
            self._ask("Insert", self.insertion(first, base[first : first + BATCH]), milvus_pb2.MutationResult)
        load = milvus_pb2.LoadCollectionRequest(collection_name=self.name, replica_number=1)
        self._ask("LoadCollection", load, common_pb2.Status)
        self._until_loaded()
        # strongly consistent: it waits until all that was inserted can be found
        found = self._client.search(
            Search(self.name, top_k=1, consistency="Strong").encode(base[-1]), name=None, timeout=DEADLINE
        )
        if not found.ok:
            raise CollectionFailed(f"Search of {self.name}: {found.error} {found.detail}")

    def drop(self, name: str = "") -> None:
        """Itself, or another."""
        self._ask(
            "DropCollection", milvus_pb2.DropCollectionRequest(collection_name=name or self.name), common_pb2.Status
        )

    def close(self) -> None:
        self._client.close()

    def insertion(self, first: int, rows: Any) -> Any:
        """The request that inserts `rows` (n, d) under the ids from `first` on."""
        ids = schema_pb2.FieldData(field_name="id", type=schema_pb2.DataType.Int64)
        ids.scalars.long_data.data.extend(range(first, first + len(rows)))
        vectors = schema_pb2.FieldData(field_name="vector", type=schema_pb2.DataType.FloatVector)
        vectors.vectors.dim = rows.shape[1]
        vectors.vectors.float_vector.data.extend(np.ravel(rows).tolist())
        return milvus_pb2.InsertRequest(
            base=common_pb2.MsgBase(msg_type=common_pb2.MsgType.Insert),
            collection_name=self.name,
            fields_data=[ids, vectors],
            num_rows=len(rows),
        )

    def _until_loaded(self) -> None:
        request = milvus_pb2.GetLoadingProgressRequest(collection_name=self.name)
        until = time.monotonic() + DEADLINE
        while self._ask("GetLoadingProgress", request, milvus_pb2.GetLoadingProgressResponse).progress < 100:
            if time.monotonic() > until:
                raise CollectionFailed(f"{self.name} is not loaded after {DEADLINE:.0f} s")
            time.sleep(0.05)

    def _ask(self, method: str, request: Any, kind: Any) -> Any:
        reply = self._client.ask(method, request, kind, name=None, timeout=DEADLINE)
        if not reply.ok:
            raise CollectionFailed(f"{method} of {self.name}: {reply.error} {reply.detail}")
        return reply.message
