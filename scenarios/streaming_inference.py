"""Inference whose results come one by one: server-sent events straight from the model server.

Under the harness: `harness run examples/streaming_inference.yaml`. By hand, against a model server:

    SLO_ARTEFACT_DIGITS=<directory of the digits> SLO_ADDRESS_MODEL_SERVER_HTTP=127.0.0.1:8081 \\
        locust -f scenarios/streaming_inference.py

Each request asks for SLO_STREAM_ROWS results (default 64), which are to this model what tokens are to a language model.
`first_chunk_seconds`: from the scheduled time to the first result; `between_chunks_seconds`: from one part of the reply
to the next; `tokens_per_second`: results after the first chunk in the time after it; `goodput`: 1 where every result
came, the first within SLO_STREAM_FIRST seconds (default 0.5) and none SLO_STREAM_BETWEEN seconds (default 0.5) after
the one before, else 0; `correct`: the share of right labels among those that came.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from locust import task

from app.shared.features import COLUMNS, model_input, profile
from harness.load.users import SloUser, address, artefact

NAME = "infer-stream"
ROWS = int(os.environ.get("SLO_STREAM_ROWS", "64"))
FIRST = float(os.environ.get("SLO_STREAM_FIRST", "0.5"))
BETWEEN = float(os.environ.get("SLO_STREAM_BETWEEN", "0.5"))
_PATH = "/v2/models/digits/infer_stream"
_STRIDE = 31  # users start this far apart
_users = itertools.count()


def read_inputs() -> tuple[Any, Any]:
    """(n, COLUMNS) float32, what the model takes of each entity, and (n,) the labels."""
    directory = Path(artefact("digits"))
    pixels = np.load(directory / "pixels.npy")
    return model_input(pixels, profile(pixels)), np.load(directory / "labels.npy")


INPUTS, LABELS = read_inputs()


class StreamingInference(SloUser):
    """Asks for the labels of some pictures and reads them as they come."""

    host = f"http://{address('model-server', 'http')}"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    @task  # type: ignore[untyped-decorator]
    def infer(self) -> None:
        rows = np.arange(self._next, self._next + ROWS) % len(INPUTS)
        self._next += 1
        tensor = {"name": "features", "datatype": "FP32", "shape": [ROWS, COLUMNS], "data": INPUTS[rows].ravel()}
        arrived: list[int] = []
        right = 0
        with self.client.stream("POST", _PATH, json={"inputs": [tensor]}, name=NAME) as reply:
            for event in reply.events():
                if event.event != "error":
                    arrived.append(event.after_ns)
                    result = orjson.loads(event.data)
                    right += result["label"] == LABELS[rows[result["index"]]]
        chunks = np.unique(np.array(arrived)) / 1e9
        gaps = np.diff(chunks).tolist()
        if arrived:
            self.record("first_chunk_seconds", chunks[0], name=NAME)
            self.record("correct", right / len(arrived), name=NAME)
        for gap in gaps:
            self.record("between_chunks_seconds", gap, name=NAME)
        if gaps:
            later = sum(one > arrived[0] for one in arrived)
            self.record("tokens_per_second", later / (chunks[-1] - chunks[0]), name=NAME)
        good = reply.ok and len(arrived) == ROWS and chunks[0] <= FIRST and max(gaps, default=0.0) <= BETWEEN
        self.record("goodput", good, name=NAME)
