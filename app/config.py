"""The app's configuration: one frozen record, read from the environment once, with errors that name the variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.shared.environment import Address, Reader, Telemetry, address, base_url, dsn, host_and_port, url, whole_number

COLLECTION = "documents"
SERVICE = "ai-database"
# What the index is built with, and how many of its lists a search reads unless APP_SEARCH_EFFORT says otherwise.
INDEX_LISTS = 256
DEFAULT_EFFORT = 96


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """What the loader of the corpus and the app share: PostgreSQL (DSN), Milvus (host:port of its gRPC), the corpus."""

    postgres: str
    milvus: str
    corpus: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StoreConfig:
        """Reads APP_POSTGRES, APP_MILVUS, APP_CORPUS. Raises ConfigError."""
        read = Reader(environment)
        return cls(
            postgres=read("APP_POSTGRES", dsn),
            milvus=read("APP_MILVUS", host_and_port),
            corpus=read("APP_CORPUS", Path),
        )


@dataclass(frozen=True, slots=True)
class AppConfig:
    """Everything `python -m app` needs.

    redis: URL. model_server: base URL. digits: directory of the artefact. effort: lists of the index that a search
    reads, 1 to 256.
    """

    listen: Address
    stores: StoreConfig
    redis: str
    model_server: str
    digits: Path
    effort: int
    telemetry: Telemetry

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AppConfig:
        """Reads the APP_* variables. Raises ConfigError."""
        read = Reader(environment)
        return cls(
            listen=read("APP_LISTEN", address),
            stores=StoreConfig.from_environment(environment),
            redis=read("APP_REDIS", url("redis", "rediss", "unix")),
            model_server=read("APP_MODEL_SERVER", base_url),
            digits=read("APP_DIGITS", Path),
            effort=read("APP_SEARCH_EFFORT", whole_number(1, INDEX_LISTS), DEFAULT_EFFORT),
            telemetry=Telemetry.from_environment(environment),
        )
