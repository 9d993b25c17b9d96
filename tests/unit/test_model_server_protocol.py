"""What the server takes for a request, what it says about anything else, and the replies to the letter."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.shared.features import COLUMNS
from model_server.protocol import (
    MAX_ROWS,
    InferRequest,
    Refusal,
    error_event,
    events,
    infer_reply,
    model_metadata,
    parse,
)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "features", "shape": [1, 80], "datatype": "FP32", "data": [0.5] * 80, **changes}


def body(*tensors: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"inputs": list(tensors), **members}).encode()


def spoilt(position: int, value: Any, count: int = 1) -> list[Any]:
    data: list[Any] = [0.0] * (80 * count)
    data[position] = value
    return data


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=1, max_value=3), st.booleans(), st.data())
def test_numbers_come_through_flat_or_nested(count: int, nested: bool, data: st.DataObject) -> None:
    numbers = st.floats(min_value=-1e6, max_value=1e6, width=32) | st.integers(min_value=-1_000, max_value=1_000)
    flat = data.draw(st.lists(numbers, min_size=count * COLUMNS, max_size=count * COLUMNS))
    sent = [flat[row * COLUMNS : (row + 1) * COLUMNS] for row in range(count)] if nested else flat
    request = parse(body(tensor(shape=[count, 80], data=sent), id="a"))
    assert request.id == "a"
    assert request.rows.dtype == np.float32 and request.rows.shape == (count, 80)
    assert request.rows.ravel().tolist() == flat


def test_the_id_may_be_left_out_and_parameters_given() -> None:
    assert parse(body(tensor(), parameters={"priority": 1})).id is None


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[]", "the body is a list, expected an object"),
        (b"null", "the body is null, expected an object"),
        (b"{}", "inputs must be a list of one tensor, 'features'"),
        (body(), "inputs must be a list of one tensor"),
        (body(tensor(), tensor()), "inputs must be a list of one tensor"),
        (b'{"inputs": [1]}', "inputs must be a list of one tensor"),
        (body(tensor(), outputs=[]), "'outputs' is not supported, expected id, inputs, parameters"),
        (body(tensor(), id=7), "id must be a string of at most 128 characters"),
        (body(tensor(), id="x" * 129), "id must be a string of at most 128 characters"),
        (body(tensor(name="pixels")), r"inputs\[0\]\.name must be 'features'"),
        (body(tensor(datatype="FP64")), r"inputs\[0\]\.datatype must be 'FP32'"),
        (body(tensor(shape=[1, 79])), r"inputs\[0\]\.shape is \[1,79\], expected \[n, 80\] with n from 1 to 512"),
        (body(tensor(shape=[80])), r"shape is \[80\], expected"),
        (body(tensor(shape=[1, 1, 80])), r"shape is \[1,1,80\], expected"),
        (body(tensor(shape=[0, 80], data=[])), r"shape is \[0,80\], expected"),
        (body(tensor(shape=[-1, 80])), r"shape is \[-1,80\], expected"),
        (body(tensor(shape=[MAX_ROWS + 1, 80])), r"shape is \[513,80\], expected"),
        (body(tensor(shape=[1.0, 80])), r"shape is \[1\.0,80\], expected"),
        (body(tensor(shape=[True, 80])), r"shape is \[true,80\], expected"),
        (body(tensor(shape="1x80")), "shape is a string, expected"),
        (body(tensor(shape=None)), "shape is null, expected"),
        (body(tensor(data=None)), r"data is null, expected 1 x 80 numbers, flat or as 1 lists of 80"),
        (body(tensor(data=[0.5] * 79)), "data holds 79 values, expected 1 x 80 numbers"),
        (body(tensor(data=[])), "data holds 0 values, expected 1 x 80 numbers"),
        (body(tensor(data=[[0.5] * 79])), "data holds other rows than its shape says, expected 1 x 80"),
        (body(tensor(data=[[0.5] * 80] * 2)), "data holds other rows than its shape says"),
        (body(tensor(shape=[2, 80], data=[[0.5] * 80, 1])), "data holds other rows than its shape says"),
        (body(tensor(data=spoilt(3, None))), r"data\[3\] is null, expected a finite number"),
        (body(tensor(data=spoilt(79, "1.0"))), r"data\[79\] is a string, expected a finite number"),
        (body(tensor(data=spoilt(0, True))), r"data\[0\] is a boolean, expected a finite number"),
        (body(tensor(data=spoilt(1, [1]))), r"data\[1\] is a list, expected a finite number"),
        (body(tensor(data=spoilt(2, float("nan")))), "the body is not JSON"),
        (body(tensor(data=spoilt(2, float("inf")))), "the body is not JSON"),
        (body(tensor(data=spoilt(5, -1.5e6))), r"data\[5\] is -1\.5e\+06, expected -1e\+06 to 1e\+06"),
        (body(tensor(shape=[2, 80], data=spoilt(85, 1e39, 2))), r"data\[85\] is 1e\+39, expected -1e\+06 to 1e\+06"),
        (body(tensor(data=spoilt(5, 10**18))), r"data\[5\] is 1e\+18"),
        (body(tensor(data=spoilt(5, 10**400))), "the body is not JSON|data"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(sent: bytes, problem: str) -> None:
    with pytest.raises(Refusal, match=problem) as refused:
        parse(sent)
    assert (refused.value.status, refused.value.slug) == (400, "invalid-request")
    assert json.loads(refused.value.body()) == {"error": "invalid-request", "detail": refused.value.detail}
    assert len(refused.value.detail) < 300  # whatever was sent is not sent back


def probabilities(*labels: int) -> Any:
    rows = np.full((len(labels), 10), 0.0625, dtype=np.float32)
    rows[range(len(labels)), labels] = 0.4375
    return rows


def test_a_reply_to_the_letter() -> None:
    request = InferRequest("seven", np.zeros((2, 80), dtype=np.float32))
    found = infer_reply(request, probabilities(7, 0), "digits", "digits-mlp-v1")
    assert json.loads(found) == {
        "model_name": "digits",
        "model_version": "digits-mlp-v1",
        "id": "seven",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "INT64", "data": [7, 0]},
            {
                "name": "probability",
                "shape": [2, 10],
                "datatype": "FP32",
                "data": [*[0.0625] * 7, 0.4375, 0.0625, 0.0625, 0.4375, *[0.0625] * 9],
            },
        ],
    }
    assert "id" not in json.loads(infer_reply(InferRequest(None, request.rows), probabilities(7, 0), "digits", "v"))


def test_events_to_the_letter() -> None:
    lines = events(5, probabilities(9, 1)).decode().split("\n\n")
    assert lines[2] == ""
    assert [json.loads(line.removeprefix("data: ")) for line in lines[:2]] == [
        {"index": 5, "label": 9, "probability": [*[0.0625] * 9, 0.4375]},
        {"index": 6, "label": 1, "probability": [0.0625, 0.4375, *[0.0625] * 8]},
    ]
    ended = error_event(Refusal(500, "inference-failed", "why"))
    assert ended == b'event: error\ndata: {"error":"inference-failed","detail":"why"}\n\n'


def test_the_metadata_names_what_goes_in_and_comes_out() -> None:
    found = json.loads(model_metadata("digits", "digits-mlp-v1"))
    assert (found["name"], found["versions"]) == ("digits", ["digits-mlp-v1"])
    assert found["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 80]}]
    assert [(one["name"], one["datatype"], one["shape"]) for one in found["outputs"]] == [
        ("label", "INT64", [-1]),
        ("probability", "FP32", [-1, 10]),
    ]
