"""What the tests of the model server share: requests, and a client that speaks ASGI to it inside one event loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.applications import Starlette

from app.shared.digits import Digits
from app.shared.features import Matrix, model_input, profile
from model_server.config import ServerConfig
from model_server.model import Model
from model_server.web import create_app
from tests.app_support import Reply
from tests.digits_support import built_digits

T = TypeVar("T")
INFER, STREAM = "/v2/models/digits/infer", "/v2/models/digits/infer_stream"
NEVER_MS = "60000"  # how long a row waits for others where the test fills the batches itself


def entity_rows(first: int, count: int) -> Matrix:
    """The model's input (count, 80) for so many entities."""
    pixels = Digits.open(built_digits()).pixels()[first : first + count]
    return model_input(pixels, profile(pixels))


def infer_body(rows: Matrix, **members: Any) -> bytes:
    """The request about `rows`."""
    tensor = {"name": "features", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **members}).encode()


def rows_body(count: int, value: float = 0.0, **members: Any) -> bytes:
    """The request about `count` rows that are `value` all over."""
    return infer_body(np.full((count, 80), value, dtype=np.float32), **members)


def server_config(tmp_path: Path, **changes: str) -> ServerConfig:
    """A configuration that logs into `tmp_path`/model.jsonl."""
    values = {
        "APP_LISTEN": "127.0.0.1:0",
        "APP_DIGITS": str(built_digits()),
        "APP_LOG_FILE": str(tmp_path / "model.jsonl"),
    }
    return ServerConfig.from_environment({**values, **changes})


def model() -> Callable[[Matrix], Matrix]:
    """The real one."""
    return Model.load(Digits.open(built_digits())).predict_proba


def server(tmp_path: Path, compute: Callable[[Matrix], Matrix] | None = None, **changes: str) -> Starlette:
    """The application, not started."""
    return create_app(server_config(tmp_path, **changes), Digits.open(built_digits()), compute or model())


class Gate:
    """A model between whose batches the test decides: each computation waits until it is let."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._compute = model()
        self._through = threading.Semaphore(0)

    def __call__(self, rows: Matrix) -> Matrix:
        assert self._through.acquire(timeout=20)
        self.sizes.append(len(rows))
        return self._compute(rows)

    def let(self, batches: int = 1) -> None:
        for _ in range(batches):
            self._through.release()


class Exchange:
    """One request under way: read its reply piece by piece, or hang up."""

    def __init__(self, app: Starlette, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._over = asyncio.Event()
        self._body: bytes | None = body
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self.task: asyncio.Task[None] = asyncio.ensure_future(self._run(app, scope))

    async def _run(self, app: Starlette, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            self._over.set()
            self._sent.put_nowait({"type": "end"})

    async def _receive(self) -> dict[str, Any]:
        if self._body is None:
            await self._over.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Any) -> None:
        self._sent.put_nowait(message)

    def hang_up(self) -> None:
        self._over.set()

    async def next(self) -> dict[str, Any]:
        """The next message that the application sends; of type end when it has returned."""
        return await self._sent.get()

    async def reply(self) -> Reply:
        """All of it."""
        head, body = await self.next(), b""
        while (message := await self.next())["type"] != "end":
            body += message.get("body", b"")
        await self.task
        return Reply(head["status"], body)


class Client:
    """Asks the application, whose lifespan is up."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def open(self, path: str, body: bytes | None = None, **headers: str) -> Exchange:
        """A POST with `body`, a GET without."""
        return Exchange(self._app, "GET" if body is None else "POST", path, body or b"", headers)

    async def ask(self, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """The whole reply."""
        return await self.open(path, body, **headers).reply()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Let the loop and its thread work until `condition` holds; the conversation's own deadline bounds it."""
        while not await condition():
            await asyncio.sleep(0)

    async def until_ready(self) -> None:
        async def ready() -> bool:
            return (await self.ask("/v2/health/ready")).status == 200

        await self.until(ready)

    async def until_value(self, series: str, expected: float) -> None:
        async def reached() -> bool:
            return value((await self.ask("/metrics")).body.decode(), series) == expected

        await self.until(reached)


def value(metrics: str, series: str) -> float:
    """The value of one series, given as it stands in the exposition."""
    (found,) = [line.rpartition(" ")[2] for line in metrics.splitlines() if line.startswith(f"{series} ")]
    return float(found)


def converse(app: Starlette, conversation: Callable[[Client], Coroutine[Any, Any, T]], ready: bool = True) -> T:
    """Run the lifespan around `conversation`, which begins when the server is ready."""

    async def run() -> T:
        client = Client(app)
        async with asyncio.timeout(20), app.router.lifespan_context(app):
            if ready:
                await client.until_ready()
            return await conversation(client)

    return asyncio.run(run())
