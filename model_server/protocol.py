"""The Open Inference Protocol (KServe v2) in JSON: requests checked, replies written. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson

from app.shared.digits import CLASSES
from app.shared.features import COLUMNS, Matrix

MAX_ROWS = 512  # in one request
MAX_BODY = 2 * 1_024 * 1_024  # bytes; 512 rows of 80 numbers of 25 characters are half of it
MAX_SIZE = 1e6  # of a number; no digit has more than 16, and more than this would overflow inside the model
INPUT, LABEL, PROBABILITY = "features", "label", "probability"
_MEMBERS = frozenset({"id", "inputs", "parameters"})
_NUMBERS = frozenset({int, float})


class Refusal(Exception):
    """The request is not answered. `status` of HTTP, a `slug`, and a `detail` for people."""

    def __init__(self, status: int, slug: str, detail: str) -> None:
        super().__init__(f"{slug}: {detail}")
        self.status = status
        self.slug = slug
        self.detail = detail

    def body(self) -> bytes:
        """The reply's JSON."""
        return orjson.dumps({"error": self.slug, "detail": self.detail})


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What was asked: `rows` (n, 80) float32, all finite; the caller's `id` comes back in the reply."""

    id: str | None
    rows: Matrix


def parse(body: bytes) -> InferRequest:
    """The request in `body`. Raises Refusal (400) that says where it is wrong and what was expected."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(f"the body is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise _invalid(f"the body is {_kind(request)}, expected an object")
    if unknown := sorted(request.keys() - _MEMBERS):
        raise _invalid(f"{unknown[0][:40]!r} is not supported, expected {', '.join(sorted(_MEMBERS))}")
    name = request.get("id")
    if name is not None and (not isinstance(name, str) or len(name) > 128):
        raise _invalid("id must be a string of at most 128 characters")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _invalid(f"inputs must be a list of one tensor, {INPUT!r}")
    tensor = inputs[0]
    if tensor.get("name") != INPUT:
        raise _invalid(f"inputs[0].name must be {INPUT!r}")
    if tensor.get("datatype") != "FP32":
        raise _invalid("inputs[0].datatype must be 'FP32'")
    count = _rows_of(tensor.get("shape"))
    return InferRequest(name, _values(tensor.get("data"), count))


def infer_reply(request: InferRequest, probabilities: Matrix, model: str, version: str) -> bytes:
    """The JSON reply for all rows; `probabilities` (n, 10)."""
    reply: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        reply["id"] = request.id
    count = len(probabilities)
    reply["outputs"] = [
        {"name": LABEL, "shape": [count], "datatype": "INT64", "data": probabilities.argmax(axis=1)},
        {"name": PROBABILITY, "shape": [count, CLASSES], "datatype": "FP32", "data": probabilities.reshape(-1)},
    ]
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def events(first: int, probabilities: Matrix) -> bytes:
    """Server-sent events, one a row; `first` is the index of the first row of `probabilities` (m, 10)."""
    return b"".join(
        b"data: %b\n\n"
        % orjson.dumps(
            {"index": first + row, "label": label, "probability": probabilities[row]},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        for row, label in enumerate(probabilities.argmax(axis=1).tolist())
    )


def error_event(refusal: Refusal) -> bytes:
    """What ends a stream that cannot go on."""
    return b"event: error\ndata: %b\n\n" % refusal.body()


def model_metadata(model: str, version: str) -> bytes:
    """The reply to GET /v2/models/NAME."""
    return orjson.dumps(
        {
            "name": model,
            "versions": [version],
            "platform": "numpy",
            "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, COLUMNS]}],
            "outputs": [
                {"name": LABEL, "datatype": "INT64", "shape": [-1]},
                {"name": PROBABILITY, "datatype": "FP32", "shape": [-1, CLASSES]},
            ],
        }
    )


def _invalid(detail: str) -> Refusal:
    return Refusal(400, "invalid-request", detail)


def _rows_of(shape: object) -> int:
    """n, out of a shape [n, 80]."""
    match shape:
        case [int(count), int(columns)] if columns == COLUMNS and 1 <= count <= MAX_ROWS and count is not True:
            return count
    raise _invalid(f"inputs[0].shape is {_shown(shape)}, expected [n, {COLUMNS}] with n from 1 to {MAX_ROWS}")


def _values(data: object, count: int) -> Matrix:
    """(count, 80) out of a flat list or a list of rows."""
    wanted = f"expected {count} x {COLUMNS} numbers, flat or as {count} lists of {COLUMNS}"
    if not isinstance(data, list):
        raise _invalid(f"inputs[0].data is {_kind(data)}, {wanted}")
    flat: Sequence[Any] = data
    if data and isinstance(data[0], list):
        if len(data) != count or not all(isinstance(row, list) and len(row) == COLUMNS for row in data):
            raise _invalid(f"inputs[0].data holds other rows than its shape says, {wanted}")
        flat = list(chain.from_iterable(data))
    if len(flat) != count * COLUMNS:
        raise _invalid(f"inputs[0].data holds {len(flat)} values, {wanted}")
    if not _NUMBERS.issuperset(map(type, flat)):
        position, value = next((place, value) for place, value in enumerate(flat) if type(value) not in _NUMBERS)
        raise _invalid(f"inputs[0].data[{position}] is {_kind(value)}, expected a finite number")
    values = np.array(flat, dtype=np.float64)
    far = np.abs(values) > MAX_SIZE
    if far.any():
        position = int(far.argmax())
        raise _invalid(f"inputs[0].data[{position}] is {values[position]:g}, expected -{MAX_SIZE:g} to {MAX_SIZE:g}")
    return values.astype(np.float32).reshape(count, COLUMNS)


def _kind(value: object) -> str:
    """How JSON calls it."""
    names = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def _shown(shape: object) -> str:
    return orjson.dumps(shape).decode() if isinstance(shape, list) and len(shape) <= 4 else _kind(shape)
