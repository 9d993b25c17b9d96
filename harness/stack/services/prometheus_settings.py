"""Settings of scrape jobs that not every Prometheus knows: it refuses the file, and says less than this."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness.model.source import load_documents
from harness.model.versions import VersionUnknown, parse_version, prometheus_of, version_table
from harness.stack.services.recipe import Tool

_ASKING_S = 30


def check_settings(path: Path | None, version: Callable[[], str]) -> None:
    """path: a Prometheus configuration that is read, or none; version: the server's, asked for only where it matters.

    Raises UsageError prometheus-config, located, for a setting that this version does not know. Of a version that the
    table does not cover nothing is said: the server itself will speak.
    """
    if path is None:
        return
    (document, *_) = load_documents(path)
    listed = {name for entry in version_table().prometheus for name in entry.scrape}
    used = [
        (at, name)
        for at, job in enumerate(document.data["scrape_configs"])
        if isinstance(job, dict)
        for name in job
        if name in listed
    ]
    if not used:
        return
    having = version()
    try:
        settings = prometheus_of(having).scrape
    except (VersionUnknown, ValueError):
        return
    for at, name in used:
        setting = settings.get(name)
        if setting is None or setting.known_to(parse_version(having)):
            continue
        until = f" to before {setting.until}" if setting.until else " on"
        cause = f"Prometheus knows {name} from {setting.since}{until}, and this stack's is {having}"
        instead = f"Write {setting.instead} instead" if setting.instead else "Take it out"
        remedy = f"{instead}, or name a Prometheus that knows it with SLO_HARNESS_TOOL_PROMETHEUS."
        raise document.error(("scrape_configs", at, name), "prometheus-config", cause, remedy, on="key")


def printed_version(tool: Tool) -> str:
    """The version that a prometheus or promtool prints, such as `2.42.0+ds`; '' where there is none to be read."""
    printed = subprocess.run(
        [tool.path, "--version"],
        env={**os.environ, **tool.env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_ASKING_S,
        check=False,
    )
    found = re.search(r"version (\S+)", printed.stdout + printed.stderr)
    return found[1] if found else ""
