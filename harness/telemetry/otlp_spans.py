"""Spans as JSON lines.

A line: trace_id, span_id, parent_span_id (hexadecimal; "" for a root), name, kind (server, client, ...), start_ns,
end_ns (unix), status ({"code": unset | ok | error, "message"}), attributes, resource (its attributes), scope (name of
the instrumentation), received_ns. Events and links of spans are not kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_CODES = ("unset", "ok", "error")
_MAX_DEPTH = 8  # of lists and maps in an attribute


def span_lines(request: Any, received_ns: int) -> list[bytes]:
    """One JSON line for each span of an ExportTraceServiceRequest, in its order."""
    lines = []
    for of_resource in request.resource_spans:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                line = {
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": _name(_KINDS, span.kind),
                    "start_ns": span.start_time_unix_nano,
                    "end_ns": span.end_time_unix_nano,
                    "status": {"code": _name(_CODES, span.status.code), "message": span.status.message},
                    "attributes": attributes(span.attributes),
                    "resource": resource,
                    "scope": of_scope.scope.name,
                    "received_ns": received_ns,
                }
                lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return lines


def attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """KeyValues as JSON values: bytes in hexadecimal, numbers that JSON cannot hold as text."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "bytes_value":
        return value.bytes_value.hex()
    if kind == "double_value" and not math.isfinite(value.double_value):
        return str(value.double_value)
    if kind in ("array_value", "kvlist_value"):
        if depth >= _MAX_DEPTH:
            return None
        if kind == "array_value":
            return [_value(item, depth + 1) for item in value.array_value.values]
        return {pair.key: _value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    return getattr(value, kind)


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)
