"""Where things are kept on this machine: tools and artefacts in the cache, running stacks in the state directory."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/slo-harness` (default ~/.cache): downloaded tools and built artefacts; safe to delete."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slo-harness"


def state_dir() -> Path:
    """`$XDG_STATE_HOME/slo-harness` (default ~/.local/state): one directory per running stack."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "slo-harness"
