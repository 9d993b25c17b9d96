"""What can bring a stack's services up, and how that is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harness.core.errors import UsageError

RUNTIMES = ("auto", "local", "docker", "external")
VARIABLE = "SLO_HARNESS_RUNTIME"
APPS = ("process", "container")  # what the services of the stack file's own commands can be


def wanted_runtime(option: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """What an option asks for, else SLO_HARNESS_RUNTIME, else auto. Raises UsageError bad-option."""
    said = option or environ.get(VARIABLE) or "auto"
    if said not in RUNTIMES:
        source = f"--runtime {said}" if option else f"{VARIABLE}={said}"
        raise UsageError("bad-option", source, f"Runtimes: {', '.join(RUNTIMES)}.")
    return said


def with_app(app: str, runtime: str) -> str:
    """The runtime that what is asked for of the app leaves of what is asked for: containers only Docker has. Raises
    UsageError bad-option."""
    if app not in APPS:
        raise UsageError("bad-option", f"--app {app}", f"It can be {' or '.join(APPS)}.")
    if app == "process":
        return runtime
    if runtime not in ("auto", "docker"):
        raise UsageError(
            "bad-option",
            f"--app container with the {runtime} runtime, which has no containers",
            f"Add --runtime docker (--slo-runtime under pytest; it beats {VARIABLE}), or leave --app out.",
        )
    return "docker"
