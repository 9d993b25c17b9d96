"""The model server's client: Open Inference Protocol over HTTP, one row a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from app.shared.dependency import MODEL_SERVER, ConnectionLost, DependencyError
from app.shared.features import Matrix
from app.shared.tracing import write_parent

# Less than the model server keeps an idle connection, so that it is rarely gone when we want to use it.
KEEP_ALIVE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one row; `probability` is that of `label`."""

    label: int
    probability: float
    model_name: str
    model_version: str


class ModelClient:
    """Make it inside the event loop that uses it. Deadlines are the caller's, by cancellation."""

    def __init__(self, base_url: str, model_name: str) -> None:
        """`base_url` such as http://host:port."""
        self._infer = f"{base_url}/v2/models/{model_name}/infer"
        self._ready = f"{base_url}/v2/health/ready"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )

    async def predict(self, row: Matrix) -> Prediction:
        """`row` (1, columns) float32. Raises DependencyError."""
        tensor = {"name": "features", "shape": list(row.shape), "datatype": "FP32", "data": row.ravel()}
        body = orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {"content-type": "application/json"}
        write_parent(headers)
        status, text = await self._ask("POST", self._infer, data=body, headers=headers)
        if status != 200:
            raise _refusal(status, text)
        return _prediction(text)

    async def check(self) -> None:
        """Raises DependencyError unless the server says that it is ready."""
        status, text = await self._ask("GET", self._ready)
        if status != 200:
            raise _refusal(status, text)

    async def close(self) -> None:
        """Drop the connections."""
        await self._session.close()

    async def _ask(self, method: str, url: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as reply:
                return reply.status, await reply.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise ConnectionLost(MODEL_SERVER, str(error) or type(error).__name__) from None
        except aiohttp.ClientError as error:
            raise DependencyError(MODEL_SERVER, "invalid", str(error) or type(error).__name__) from None


def _refusal(status: int, text: bytes) -> DependencyError:
    """What a status other than 200 amounts to: overloaded or not-ready where it says so, else refused."""
    try:
        slug = orjson.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        slug = "no reason given"
    reason = slug if slug in ("overloaded", "not-ready") else "refused"
    return DependencyError(MODEL_SERVER, reason, f"status {status}: {slug}")


def _prediction(text: bytes) -> Prediction:
    try:
        reply = orjson.loads(text)
        outputs = {output["name"]: output["data"] for output in reply["outputs"]}
        (label,) = outputs["label"]
        probability = dict(enumerate(outputs["probability"]))[label]  # a label that is no class has none
        return Prediction(
            label=int(label),
            probability=float(probability),
            model_name=str(reply["model_name"]),
            model_version=str(reply["model_version"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DependencyError(MODEL_SERVER, "invalid", f"unusable reply: {type(error).__name__} {error}") from None
