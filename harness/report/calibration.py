"""A calibration as a person and as a program reads it."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from harness.core.duration import format_duration
from harness.model.calibration import Calibration
from harness.model.histogram import Histogram
from harness.model.machine import MAX_STEAL

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
MAX_LATENESS_NS = 5_000_000  # `maxLateness` of a validation that says nothing
LONG_NS = 10_000_000  # a wake that is later is counted by itself
SCHEMA = 1


def numbers(calibration: Calibration) -> dict[str, Any]:
    """What --json prints, with keys that stay; times are seconds."""
    told = {"latency": calibration.latency, "service_time": calibration.service_time}
    told |= {"lateness": calibration.lateness, "stalls": calibration.stalls}
    return {
        "schema": SCHEMA,
        "disturbances": disturbances(calibration),
        "harness": calibration.harness,
        "wall_ns": calibration.wall_ns,
        "machine": calibration.as_dict()["machine"],
        "rate": calibration.rate,
        "seconds": calibration.seconds,
        "steal": calibration.steal,
        **{name: _seconds(seen) for name, seen in told.items()},
        "stalls_over_10ms": calibration.stalls.count - calibration.stalls.count_below(LONG_NS),
    }


def print_calibration(calibration: Calibration, console: Console) -> None:
    """The noise floor, and what the machine did meanwhile."""
    machine = calibration.machine
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for name in (*QUANTILES, "max", "samples"):
        table.add_column(name, justify="right")
    rows = {
        "latency": calibration.latency,
        "service time": calibration.service_time,
        "generator late": calibration.lateness,
        "1 ms sleeps late": calibration.stalls,
    }
    for name, seen in rows.items():
        cells = [format_duration(seen.quantile(q)) for q in QUANTILES.values()]
        table.add_row(name, *cells, format_duration(seen.max), f"{seen.count}")
    console.print(
        f"noise floor of {machine.cpus:g} x {machine.cpu or 'unknown processor'}, at {calibration.rate:g} requests/s\n",
        markup=False,
        soft_wrap=True,
    )
    console.print(table)
    over = numbers(calibration)["stalls_over_10ms"]
    steal = "unknown, this kernel does not say" if calibration.steal is None else f"{calibration.steal:.1%}"
    console.print(f"\nstalls over 10 ms: {over}", markup=False)
    console.print(f"stolen by other machines: {steal}", markup=False)
    for why in disturbances(calibration):
        console.print(
            f"{why}: the floor is higher than the machine's own; calibrate again", markup=False, soft_wrap=True
        )


def disturbances(calibration: Calibration) -> list[str]:
    """Why the floor says little of this machine when it is quiet."""
    found = []
    if calibration.steal is not None and calibration.steal > MAX_STEAL:
        found.append(f"other machines took more than {MAX_STEAL:.0%} of the processors' time")
    if (late := calibration.lateness.quantile(0.99)) > MAX_LATENESS_NS:
        allowed = format_duration(MAX_LATENESS_NS)
        found.append(
            f"the generator was late by {format_duration(late)} at p99, more than {allowed}: end what else runs"
        )
    return found


def _seconds(seen: Histogram) -> dict[str, float]:
    found = {name: seen.quantile(q) / 1e9 for name, q in QUANTILES.items()}
    return {**found, "max": seen.max / 1e9, "samples": seen.count}
