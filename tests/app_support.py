"""What the tests of the app share: a small corpus, and a client that speaks ASGI to the app inside one event loop."""

from __future__ import annotations

import asyncio
import atexit
import json
import random
import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

from fastapi import FastAPI
from ruamel.yaml import YAML

from app.build_corpus import build
from app.config import AppConfig
from app.corpus import Corpus
from app.docstrings import Docstring
from app.shared.digits import Digits
from app.web import create_app
from tests.digits_support import built_digits

T = TypeVar("T")
PASSAGES, QUERIES = 300, 20
LOG_SCHEMA = Path(__file__).parents[1] / "monitoring/schema/logs.yaml"


@dataclass(frozen=True)
class Reply:
    """One answer of the app."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def docstrings(count: int) -> list[Docstring]:
    """Texts of 30 words each out of 400, the frequent ones more often; the same for each call."""
    words = [f"{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrst"]
    source = random.Random(7)
    weights = [1 / (rank + 3) for rank in range(len(words))]
    return [
        Docstring("made.up", f"made.up.f{number}", " ".join(source.choices(words, weights, k=30)))
        for number in range(count)
    ]


@cache
def small_corpus() -> Path:
    """A complete artefact of 300 passages and 20 queries, built once a session."""
    directory = Path(mkdtemp(prefix="small-corpus-"))
    atexit.register(shutil.rmtree, directory)
    build(directory, docstrings(PASSAGES + 600), PASSAGES, QUERIES, minimum=PASSAGES)
    return directory


def app_config(tmp_path: Path, **changes: str) -> AppConfig:
    """A configuration whose dependencies refuse: nothing listens on port 1."""
    values = {
        "APP_LISTEN": "127.0.0.1:0",
        "APP_POSTGRES": "postgresql://postgres@127.0.0.1:1/postgres",
        "APP_REDIS": "redis://127.0.0.1:1/0",
        "APP_MILVUS": "http://127.0.0.1:1",
        "APP_MODEL_SERVER": "http://127.0.0.1:1",
        "APP_DIGITS": str(built_digits()),
        "APP_CORPUS": str(small_corpus()),
        "APP_LOG_FILE": str(tmp_path / "app.jsonl"),
    }
    return AppConfig.from_environment({**values, **changes})


def open_small_corpus() -> Corpus:
    """The small corpus, checked."""
    return Corpus.open(small_corpus())


def make_app(config: AppConfig) -> FastAPI:
    """The app on the small corpus and the digits."""
    return create_app(config, Corpus.open(config.stores.corpus), Digits.open(config.digits))


Ask = Callable[..., Awaitable[Reply]]


def asker(app: FastAPI) -> Ask:
    """What asks the app, whose lifespan is up: method, path, body and headers to a Reply."""

    async def ask(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        sent: list[dict[str, Any]] = []
        given = {"content-type": "application/json", **(headers or {})}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(key.encode(), value.encode()) for key, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        first = True

        async def receive() -> dict[str, Any]:
            nonlocal first
            if not first:
                return {"type": "http.disconnect"}
            first = False
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return Reply(sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]))

    return ask


def serve(app: FastAPI, conversation: Callable[[Ask], Awaitable[T]]) -> T:
    """Run the app's lifespan around `conversation`, which gets a function to ask with."""

    async def run() -> T:
        async with app.router.lifespan_context(app):
            return await conversation(asker(app))

    return asyncio.run(run())


def value(metrics: str, series: str) -> float:
    """Of the one series that is written so in Prometheus' text format."""
    (found,) = re.findall(rf"^{re.escape(series)} (\S+)$", metrics, re.MULTILINE)
    return float(found)


@cache
def log_fields(component: str) -> dict[str, Any]:
    """What monitoring/schema/logs.yaml says of the component's lines."""
    fields: dict[str, Any] = YAML(typ="safe").load(LOG_SCHEMA.read_text())["components"][component]["fields"]
    return fields


def check_fields(line: dict[str, Any], fields: dict[str, Any]) -> None:
    """The line holds every required field, no other than the described ones, and each in its form."""
    assert set(line) <= set(fields)
    assert {name for name, field in fields.items() if field["required"]} <= set(line)
    kinds = {"string": str, "integer": int, "number": int | float, "boolean": bool}
    for name, content in line.items():
        field = fields[name]
        if content is None:
            assert field.get("nullable"), name
            continue
        assert isinstance(content, kinds[field["type"]]), name
        assert content in field.get("enum", [content]), name
        assert re.search(field.get("pattern", ""), str(content)), name
