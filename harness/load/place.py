"""Where things are, as the harness tells a scenario through its environment."""

from __future__ import annotations

import os


def artefact(name: str) -> str:
    """The directory of a built artefact. Raises LookupError."""
    return _named(f"SLO_ARTEFACT_{_upper(name)}", "the artefact's directory")


def address(service: str, port: str) -> str:
    """host:port of a service's port, as the stack file calls both. Raises LookupError."""
    return _named(f"SLO_ADDRESS_{_upper(service)}_{_upper(port)}", "its host:port")


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


def _named(variable: str, meaning: str) -> str:
    if variable not in os.environ:
        raise LookupError(f"{variable} is not set: run this through `harness run`, or set it to {meaning}")
    return os.environ[variable]
