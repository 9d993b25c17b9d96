"""The app's configuration: one frozen record, read from the environment once, with errors that name the variable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

COLLECTION = "documents"
SERVICE = "ai-database"
# What the index is built with, and how many of its lists a search reads unless APP_SEARCH_EFFORT says otherwise.
INDEX_LISTS = 256
DEFAULT_EFFORT = 96

_REQUIRED_VARIABLES = {
    "APP_LISTEN": "host:port to listen on",
    "APP_POSTGRES": "postgresql://user@host:port/database",
    "APP_MILVUS": "http://host:port of Milvus",
    "APP_CORPUS": "the directory that python -m app.build_corpus wrote",
}

T = TypeVar("T")


class ConfigError(Exception):
    """A variable of the environment is missing or cannot be used; the message names it and says what it should hold."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """What the loader and the app share: PostgreSQL (DSN), Milvus (host:port of its gRPC), the corpus directory."""

    postgres: str
    milvus: str
    corpus: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StoreConfig:
        """Reads APP_POSTGRES, APP_MILVUS, APP_CORPUS. Raises ConfigError."""
        read = _Reader(environment)
        return cls(
            postgres=read("APP_POSTGRES", _dsn),
            milvus=read("APP_MILVUS", _host_and_port),
            corpus=read("APP_CORPUS", Path),
        )


@dataclass(frozen=True, slots=True)
class AppConfig:
    """Everything `python -m app` needs.

    redis: URL, not used by search. otlp: URL of the traces endpoint, None for no tracing. log_file: JSON lines, None
    for standard output. time_scale: what the app's own periods are divided by. effort: lists of the index that a
    search reads, 1 to 256.
    """

    listen: Address
    stores: StoreConfig
    redis: str | None
    otlp: str | None
    log_file: Path | None
    time_scale: float
    effort: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AppConfig:
        """Reads the APP_* variables. Raises ConfigError."""
        read = _Reader(environment)
        return cls(
            listen=read("APP_LISTEN", _address),
            stores=StoreConfig.from_environment(environment),
            redis=read("APP_REDIS", _url("redis", "rediss", "unix"), None),
            otlp=read("APP_OTLP", _url("http", "https"), None),
            log_file=read("APP_LOG_FILE", Path, None),
            time_scale=read("APP_TIME_SCALE", _time_scale, 1.0),
            effort=read("APP_SEARCH_EFFORT", _effort, DEFAULT_EFFORT),
        )


class _Reader:
    """Reads one variable, and puts its name before whatever is wrong with it."""

    _REQUIRED: object = object()

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, name: str, parse: Callable[[str], T], default: object = _REQUIRED) -> T:
        text = self._environment.get(name, "").strip()
        if not text:
            if default is self._REQUIRED:
                raise ConfigError(f"config-missing: {name} is not set, expected {_REQUIRED_VARIABLES[name]}")
            return default  # type: ignore[return-value]
        try:
            return parse(text)
        except ValueError as error:
            raise ConfigError(f"config-invalid: {name}={text!r}: {error}") from None


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ValueError("expected host:port, such as 127.0.0.1:8080")
    return Address(host.strip("[]"), int(port))


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError(f"expected a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return text

    return parse


def _dsn(text: str) -> str:
    """A URL or libpq's key=value form; what is in it only the server can judge."""
    if not text.startswith(("postgresql://", "postgres://")) and "=" not in text:
        raise ValueError("expected postgresql://user@host:port/database, or key=value pairs")
    return text


def _host_and_port(text: str) -> str:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "tcp") or not parts.hostname or parts.port is None:
        raise ValueError("expected http://host:port")
    return f"{parts.hostname}:{parts.port}"


def _time_scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError("expected a number above 0, such as 15")
    return value


def _effort(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= INDEX_LISTS:
        raise ValueError(f"expected a whole number from 1 to {INDEX_LISTS}")
    return int(text)
