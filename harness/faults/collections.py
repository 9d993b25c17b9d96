"""Which collections of a Milvus answer: after a start it takes requests long before it has loaded what was loaded."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote

WAIT = 2.0  # seconds for one answer


def answering(address: str) -> frozenset[str]:
    """The names of the collections that a query for one row gets an answer from now. address: host:port of a Milvus
    with REST. Of a Milvus that does not answer there are none."""
    try:
        names = _ask(address, "GET", "collections") or []
        return frozenset(name for name in names if _answers(address, name))
    except (OSError, http.client.HTTPException, ValueError):
        return frozenset()


def _answers(address: str, name: str) -> bool:
    told = _ask(address, "GET", f"collections/describe?collectionName={quote(name)}") or {}
    for field in told.get("fields", ()):
        if field.get("primaryKey"):
            one = f'{field["name"]} != ""' if field["type"] == "VarChar" else f"{field['name']} >= 0"
            wanted = {"collectionName": name, "filter": one, "limit": 1, "outputFields": [field["name"]]}
            return _ask(address, "POST", "query", json.dumps(wanted)) is not None
    return False


def _ask(address: str, method: str, path: str, body: str | None = None) -> Any:
    """The data of an answer; None when it is an error."""
    connection = http.client.HTTPConnection(address, timeout=WAIT)
    try:
        connection.request(method, f"/v1/vector/{path}", body, {"Content-Type": "application/json"})
        told = json.loads(connection.getresponse().read())
        return told.get("data") if told.get("code") == 200 else None
    finally:
        connection.close()
