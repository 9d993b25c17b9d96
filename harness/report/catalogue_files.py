"""The page of the fault catalogue and its pictures, from the files that hold what was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.jsonio import read_json
from harness.faults.registry import FAULTS
from harness.gate.catalogue import TIMEOUT
from harness.report.catalogue import page
from harness.report.catalogue_svg import timeline_svg


def write_page(out: Path) -> Path:
    """`<out>.md` and `<out>/<fault>.svg`, from `<out>/<fault>.json`, in the order of the registry; returns the page."""
    entries: list[dict[str, Any]] = []
    for name in FAULTS:
        if not (file := out / f"{name}.json").exists():
            continue
        told = read_json(file)
        entries.append(told)
        if "missing" not in told:
            since, until = told["windows"]["fault"]
            title = f"{name} on {', '.join(one.partition(' ')[2] or one for one in told['touches'])}"
            (out / f"{name}.svg").write_text(timeline_svg(title, told["timeline"], (since, until)))
    path = out.with_suffix(".md")
    path.write_text(page(entries, out.name, machine(entries), TIMEOUT))
    return path


def machine(entries: Sequence[Mapping[str, Any]]) -> str:
    """What it was measured on, and what that was busy with."""
    loads = [one["load_average"] for one in entries if "load_average" in one]
    busy = f" at a load average of {min(loads):g} to {max(loads):g}, the system's own included" if loads else ""
    return f"on {os.cpu_count()} shared cores{busy}."
