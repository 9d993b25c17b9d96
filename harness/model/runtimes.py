"""What can bring a stack's services up, and how that is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harness.core.errors import UsageError

RUNTIMES = ("auto", "local", "docker", "external")
VARIABLE = "SLO_HARNESS_RUNTIME"


def wanted_runtime(option: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """What an option asks for, else SLO_HARNESS_RUNTIME, else auto. Raises UsageError bad-option."""
    said = option or environ.get(VARIABLE) or "auto"
    if said not in RUNTIMES:
        source = f"--runtime {said}" if option else f"{VARIABLE}={said}"
        raise UsageError("bad-option", source, f"Runtimes: {', '.join(RUNTIMES)}.")
    return said
