"""Reading the environment, once and at the start, with errors that name the variable and what it should hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

_EXPECTED = {
    "APP_LISTEN": "host:port to listen on",
    "APP_POSTGRES": "postgresql://user@host:port/database",
    "APP_REDIS": "redis://host:port/0",
    "APP_MILVUS": "http://host:port of Milvus",
    "APP_MODEL_SERVER": "http://host:port of the model server",
    "APP_CORPUS": "the directory that python -m app.build_corpus wrote",
    "APP_DIGITS": "the directory that python -m model_server.build_model wrote",
}

T = TypeVar("T")


class ConfigError(Exception):
    """A variable of the environment is missing or cannot be used; the message names it and says what it should hold."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int


class Reader:
    """Reads one variable, and puts its name before whatever is wrong with it. An empty variable counts as unset."""

    _REQUIRED: object = object()

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, name: str, parse: Callable[[str], T], default: object = _REQUIRED) -> T:
        """`parse` of the variable's text, `default` where it is unset. Raises ConfigError."""
        text = self._environment.get(name, "").strip()
        if not text:
            if default is self._REQUIRED:
                raise ConfigError(f"config-missing: {name} is not set, expected {_EXPECTED[name]}")
            return default  # type: ignore[return-value]
        try:
            return parse(text)
        except ValueError as error:
            raise ConfigError(f"config-invalid: {name}={text!r}: {error}") from None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where a process sends what it has to say about itself.

    otlp: URL of the traces endpoint, None for no tracing. loki: base URL, None for no shipping. log_file: JSON lines,
    None for standard output. time_scale: what every period of the process's own is divided by.
    """

    otlp: str | None = None
    loki: str | None = None
    log_file: Path | None = None
    time_scale: float = 1.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Telemetry:
        """Reads APP_OTLP, APP_LOKI, APP_LOG_FILE, APP_TIME_SCALE. Raises ConfigError."""
        read = Reader(environment)
        return cls(
            otlp=read("APP_OTLP", url("http", "https"), None),
            loki=read("APP_LOKI", base_url, None),
            log_file=read("APP_LOG_FILE", Path, None),
            time_scale=read("APP_TIME_SCALE", time_scale, 1.0),
        )


def address(text: str) -> Address:
    """host:port; an IPv6 host in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ValueError("expected host:port, such as 127.0.0.1:8080")
    return Address(host.strip("[]"), int(port))


def url(*schemes: str) -> Callable[[str], str]:
    """A parser of URLs with one of `schemes`."""

    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError(f"expected a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return text

    return parse


def base_url(text: str) -> str:
    """http://host:port with nothing after it, without its last slash."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("expected http://host:port without a path")
    return f"{parts.scheme}://{parts.netloc}"


def dsn(text: str) -> str:
    """A URL or libpq's key=value form; what is in it only the server can judge."""
    if not text.startswith(("postgresql://", "postgres://")) and "=" not in text:
        raise ValueError("expected postgresql://user@host:port/database, or key=value pairs")
    return text


def host_and_port(text: str) -> str:
    """host:port, out of http://host:port or as it is."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "tcp") or not parts.hostname or parts.port is None:
        raise ValueError("expected http://host:port")
    return f"{parts.hostname}:{parts.port}"


def time_scale(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError("expected a number above 0, such as 15")
    return value


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers from `low` to `high`, both included."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A parser of numbers from `low` to `high`, both included."""

    def parse(text: str) -> float:
        value = _number(text)
        if not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return value

    return parse


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
