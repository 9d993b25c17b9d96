"""This machine as if a server were not on it."""

from __future__ import annotations

from pathlib import Path

from harness.core.paths import cache_dir


def without_milvus(directory: Path) -> dict[str, str]:
    """An environment with this user's tools but Milvus (which is taken from the cache alone), and without stacks."""
    tools = directory / "cache/slo-harness/tools"
    tools.mkdir(parents=True)
    for one in (cache_dir() / "tools").glob("[a-z]*"):
        if not one.name.startswith("milvus"):
            (tools / one.name).symlink_to(one)
    return {"XDG_CACHE_HOME": str(directory / "cache"), "XDG_STATE_HOME": str(directory / "state")}
