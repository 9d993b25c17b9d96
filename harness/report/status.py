"""The services of a stack that is up, as a table, and those that this machine cannot run."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from harness.stack.handle import Stack

_COLUMNS = ("service", "state", "version", "pid", "MiB", "address")
_MIB = 1 << 20


def print_status(stack: Stack, console: Console) -> None:
    """State, version, memory and address of each service; below, why some are unavailable. Only versions may wrap."""
    services, resident = stack.services(), stack.rss_bytes()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.title = f"stack {stack.id} ({stack.runtime}, {stack.isolation})"
    table.title_justify = "left"
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in ("pid", "MiB") else "left", overflow="fold", no_wrap=True)
    table.columns[0].min_width = max(len(one.name) for one in services)
    table.columns[2].no_wrap = False
    for one in services:
        memory = f"{resident[one.name] / _MIB:.0f}" if one.name in resident else "-"
        addresses = "\n".join(one.addresses)
        table.add_row(one.name, one.state, one.version or "-", str(one.pid or "-"), memory, addresses)
    console.print(table, crop=False)
    for name, why in stack.unavailable.items():
        console.print(f"{name}: {why.cause}; remedy: {why.remedy}", markup=False, soft_wrap=True)
