"""Replies in JSON."""

from __future__ import annotations

import orjson
from fastapi import Response


def json_response(content: object, status: int = 200) -> Response:
    """Numpy arrays become lists, aware times RFC 3339 in UTC."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z
    return Response(orjson.dumps(content, option=options), status_code=status, media_type="application/json")
