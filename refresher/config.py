"""The refresher's configuration: one frozen record, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.shared.environment import Address, Reader, Telemetry, address, dsn, url

SERVICE = "feature-refresher"


@dataclass(frozen=True, slots=True)
class RefresherConfig:
    """Everything `python -m refresher` needs. postgres: DSN. redis: URL."""

    listen: Address
    postgres: str
    redis: str
    telemetry: Telemetry

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> RefresherConfig:
        """Reads the APP_* variables. Raises ConfigError."""
        read = Reader(environment)
        return cls(
            listen=read("APP_LISTEN", address),
            postgres=read("APP_POSTGRES", dsn),
            redis=read("APP_REDIS", url("redis", "rediss", "unix")),
            telemetry=Telemetry.from_environment(environment),
        )
