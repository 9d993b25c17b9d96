"""The model server's configuration: one frozen record, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.shared.environment import Address, Reader, Telemetry, address, number, whole_number

SERVICE = "model-server"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything `python -m model_server` needs.

    digits: directory of the artefact. batch_size: rows in one computation, at most. batch_wait: seconds that a row
    waits for others to share its computation, at most.
    """

    listen: Address
    digits: Path
    telemetry: Telemetry
    batch_size: int
    batch_wait: float

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServerConfig:
        """Reads the APP_* variables. Raises ConfigError."""
        read = Reader(environment)
        return cls(
            listen=read("APP_LISTEN", address),
            digits=read("APP_DIGITS", Path),
            telemetry=Telemetry.from_environment(environment),
            batch_size=read("APP_BATCH_SIZE", whole_number(1, 1_024), 32),
            batch_wait=read("APP_BATCH_WAIT_MS", number(0, 60_000), 2.0) / 1_000,
        )
