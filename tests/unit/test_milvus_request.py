"""Searches of Milvus: what is encoded in two parts is the request that would have been encoded at once."""

from __future__ import annotations

import numpy as np
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from harness.load.milvus_client import MilvusReply, Search, SearchReply

VECTOR = np.arange(4, dtype=np.float32) / 7


def test_the_fixed_part_and_the_vector_are_one_request() -> None:
    search = Search("docs", top_k=3, params={"nprobe": 5}, output_fields=["title"], filter="id > 2", database="own")
    request = milvus_pb2.SearchRequest.FromString(search.encode(VECTOR))
    assert (request.collection_name, request.db_name, request.nq, request.dsl) == ("docs", "own", 1, "id > 2")
    params = {one.key: one.value for one in request.search_params}
    assert params["topk"] == "3" and params["params"] == '{"nprobe": 5}' and params["metric_type"] == "IP"
    group = common_pb2.PlaceholderGroup.FromString(request.placeholder_group)
    assert [list(np.frombuffer(one, "<f4")) for one in group.placeholders[0].values] == [list(VECTOR)]
    assert request.consistency_level == common_pb2.ConsistencyLevel.Bounded and request.guarantee_timestamp == 2


def test_many_vectors_are_many_queries_of_one_request() -> None:
    search = Search("docs", top_k=3, consistency="Strong")
    assert milvus_pb2.SearchRequest.FromString(search.encode(VECTOR)).nq == 1
    request = milvus_pb2.SearchRequest.FromString(search.encode([VECTOR, VECTOR + 1]))
    group = common_pb2.PlaceholderGroup.FromString(request.placeholder_group)
    assert request.nq == len(group.placeholders[0].values) == 2 and request.guarantee_timestamp == 0


def test_a_consistency_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Strong, Bounded, Eventually"):
        Search("docs", top_k=3, consistency="strong")


def reply_of(message: milvus_pb2.SearchResults) -> SearchReply:
    reply = SearchReply(message.SerializeToString(), None, "", 0, 0)
    reply.decode(milvus_pb2.SearchResults)
    return reply


def test_ids_and_scores_come_out_whether_numbers_or_words() -> None:
    results = schema_pb2.SearchResultData(scores=[0.5, 0.25], topks=[2])
    results.ids.int_id.data.extend([7, 9])
    reply = reply_of(milvus_pb2.SearchResults(results=results))
    assert (reply.ids, reply.scores, reply.topks, reply.ok) == ([7, 9], [0.5, 0.25], [2], True)
    results.ids.str_id.data.extend(["a", "b"])
    assert reply_of(milvus_pb2.SearchResults(results=results)).ids == ["a", "b"]


def test_a_status_of_the_servers_is_a_named_error() -> None:
    failed = milvus_pb2.SearchResults(status=common_pb2.Status(code=100, reason="no such collection"))
    reply = reply_of(failed)
    assert (reply.error, reply.detail, reply.ids) == ("milvus_100", "no such collection", [])
    status = MilvusReply(common_pb2.Status(error_code=1).SerializeToString(), None, "", 0, 0)
    status.decode(common_pb2.Status)
    assert status.error == "milvus_1"  # what servers before 2.3 say


def test_what_is_no_such_message_is_a_named_error_and_one_that_failed_before_stays_as_it_is() -> None:
    reply = SearchReply(b"\xff\xff\xff", None, "", 0, 0)
    reply.decode(milvus_pb2.SearchResults)
    assert reply.error == "bad_message" and reply.scores == reply.topks == []
    lost = SearchReply(b"", "closed", "", 0, 0)
    lost.decode(milvus_pb2.SearchResults)
    assert lost.error == "closed" and lost.message is None
