"""What monitoring/schema/versions.yaml says of the versions at hand is so: the running Milvus, and this promtool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from app.config import COLLECTION
from app.embedding import DIMENSIONS
from harness.model.versions import milvus_of, version_table
from harness.stack.runtime import Stack
from harness.stack.tools import resolve_tool
from tests.integration.helpers import version_of
from tests.prometheus_settings import settings_told_and_known

NOT_OF_MILVUS = {"le"}


def ask(stack: Stack, method: str, path: str, body: dict[str, Any]) -> requests.Response:
    json = body if method == "POST" else None
    return requests.request(method, f"http://{stack.address('milvus.grpc')}{path}", json=json, timeout=10)


def search(stack: Stack, path: str = "") -> requests.Response:
    method, stated = milvus_of(version_of(stack, "milvus")).rest["search"]
    vector = [1.0] + [0.0] * (DIMENSIONS - 1)
    plain = path or stated
    # the second interface takes several vectors at once
    data = {"data": [vector], "annsField": "vector"} if plain.startswith("/v2/") else {"vector": vector}
    return ask(stack, method, plain, {"collectionName": COLLECTION, "limit": 3, **data})


def exported(stack: Stack, name: str) -> Iterator[set[str]]:
    """The labels of each series of a metric, a histogram's by its count."""
    text = requests.get(stack.metrics_url("milvus"), timeout=10).text
    for labels in re.findall(rf"^{name}(?:_count)?{{(.*)}} ", text, re.MULTILINE):
        yield set(re.findall(r'(\w+)="', labels)) - NOT_OF_MILVUS


@pytest.mark.stack
def test_milvus_answers_by_rest_where_the_table_says(reference_stack: Stack) -> None:
    method, path = milvus_of(version_of(reference_stack, "milvus")).rest["collections"]
    listed = ask(reference_stack, method, path, {}).json()
    assert (listed["code"] in (0, 200), listed["data"]) == (True, [COLLECTION]), listed
    found = search(reference_stack).json()
    assert (found["code"] in (0, 200), len(found["data"])) == (True, 3), found


@pytest.mark.stack
def test_the_paths_of_other_versions_are_not_there(reference_stack: Stack) -> None:
    """Else the table would hold a difference that is none. Later versions keep what earlier ones had."""
    having = milvus_of(version_of(reference_stack, "milvus"))
    entries = version_table().milvus
    for other in entries[entries.index(having) + 1 :]:
        assert search(reference_stack, other.rest["search"][1]).status_code == 404


@pytest.mark.stack
def test_milvus_series_have_the_labels_that_the_table_states(reference_stack: Stack) -> None:
    assert search(reference_stack).ok
    for name, labels in milvus_of(version_of(reference_stack, "milvus")).series.items():
        seen = list(exported(reference_stack, name))
        assert seen, f"Milvus exports no {name}"
        assert all(one == set(labels) for one in seen), (name, seen[0])


def test_promtool_knows_the_settings_that_the_table_says_it_knows(tmp_path: Path) -> None:
    found = settings_told_and_known(resolve_tool("promtool"), tmp_path)
    assert len(found) > 5
    assert {name for name, (told, known) in found.items() if told != known} == set()
