"""Checks of what a sample saw: is it quiet here, and can times be trusted?"""

from __future__ import annotations

from harness.core.duration import format_duration
from harness.model.machine import MAX_STEAL
from harness.stack.machine.check import Check
from harness.stack.machine.sample import Sample

MAX_BUSY = 0.30  # of all cores, before anything of ours runs
MAX_STEP_S = 0.001
MAX_RESOLUTION_S = 0.001
DEFAULT_LATENESS_NS = 5_000_000  # `maxLateness` of a validation that says nothing


def check_load(sample: Sample, cores: float) -> Check:
    """Whether others leave the processors alone. cores: those that are usable here."""
    averages = " ".join(f"{value:.2f}" for value in sample.load)
    found = f"{sample.busy:.0%} busy during {sample.seconds:.1f} s; load average {averages} on {cores:g} cores"
    numbers = {"busy": round(sample.busy, 4), "load_average": sample.load, "seconds": round(sample.seconds, 3)}
    if sample.busy > MAX_BUSY or sample.load[0] > cores:
        remedy = "End what else runs, or wait for it: it takes the processors from the system and from the load."
        return Check("load", "warning", found, remedy, numbers)
    return Check("load", "ok", found, numbers=numbers)


def check_steal(sample: Sample) -> Check:
    """Whether the hypervisor gives this machine its processors."""
    found = f"{sample.steal:.1%} of the processors' time went to other machines during {sample.seconds:.1f} s"
    numbers = {"steal": round(sample.steal, 4), "limit": MAX_STEAL}
    if sample.steal > MAX_STEAL:
        remedy = "Latencies are not to be trusted now: run again later, or on a machine that is not shared."
        return Check("steal", "warning", found, remedy, numbers)
    return Check("steal", "ok", found, numbers=numbers)


def check_clock(sample: Sample) -> Check:
    """Whether the wall clock, which events and servers use, goes as CLOCK_MONOTONIC, which measures."""
    step = format_duration(max(1000, abs(sample.step) * 1e9))
    kept = {
        "yes": "synchronised with a source of time",
        "no": "not synchronised with any source of time",
        "unknown": "whether it is synchronised is unknown",
    }[sample.synchronised]
    numbers = {"step": round(sample.step, 9), "synchronised": sample.synchronised, "limit": MAX_STEP_S}
    if abs(sample.step) > MAX_STEP_S:
        way = "ahead of" if sample.step > 0 else "behind"
        found = f"the wall clock went {step} {way} the monotonic clock in {sample.seconds:.1f} s; {kept}"
        remedy = "Something sets the clock; wait until it has settled, or windows of time will miss their samples."
        return Check("clock", "warning", found, remedy, numbers)
    found = f"wall and monotonic clock agree within {step} over {sample.seconds:.1f} s; {kept}"
    return Check("clock", "ok", found, numbers=numbers)


def check_timer(sample: Sample, lateness_ns: int = DEFAULT_LATENESS_NS) -> Check:
    """Whether a load generator could be on time here. lateness_ns: the p99 that validations allow it."""
    late = sample.oversleeps
    median, p99 = (late[int(share * (len(late) - 1))] if late else 0.0 for share in (0.5, 0.99))
    found = (
        f"sleeps of 1 ms end {format_duration(median * 1e9)} late (p99 {format_duration(p99 * 1e9)}, {len(late)} of "
        f"them); the resolution is {format_duration(sample.resolution * 1e9)}"
    )
    numbers = {
        "median": round(median, 9),
        "p99": round(p99, 9),
        "sleeps": len(late),
        "resolution": sample.resolution,
        "limit": lateness_ns / 1e9,
    }
    if sample.resolution > MAX_RESOLUTION_S:
        remedy = "This kernel has no high-resolution timers: load cannot be sent on time. Use another machine."
        return Check("timer", "warning", found, remedy, numbers)
    if p99 * 1e9 > lateness_ns:
        remedy = (
            f"The generator may be {format_duration(lateness_ns)} late at p99 and would not be: runs would end in "
            "generator-saturated. Free the machine, or raise maxLateness where the bounds allow it."
        )
        return Check("timer", "warning", found, remedy, numbers)
    return Check("timer", "ok", found, numbers=numbers)
