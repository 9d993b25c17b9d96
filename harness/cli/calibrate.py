"""`harness calibrate`: what this machine measures when there is nothing to measure."""

from __future__ import annotations

import sys

import typer

from harness.core.errors import UsageError
from harness.core.jsonio import canonical
from harness.core.outcome import ExitCode

SECONDS, RATE = 10.0, 60.0  # the rate of the reference validation
MOST_SECONDS, MOST_RATE = 600.0, 100_000.0


def calibrate(
    seconds: float = typer.Option(SECONDS, help=f"How long to measure, 1 to {MOST_SECONDS:.0f}"),
    rate: float = typer.Option(RATE, help="Requests a second: that of the validations it is for"),
    as_json: bool = typer.Option(False, "--json", help="The same as data, with keys that stay"),
) -> None:
    """Measure the noise floor of this machine: our own load against a service that answers at once.

    Runs of this user on this machine use it until the machine is started anew: a promise on a client's time that is
    tighter than the floor is then not validated. What it means: docs/calibrate.md.

    Exits with 0, or 3 when something else kept the processors busy meanwhile, so that it says little.

    Examples:

      harness calibrate

      harness calibrate --rate 500 --seconds 30

      harness calibrate --json | jq .latency.p99
    """
    from rich.console import Console

    from harness.gate.calibrate import calibrate as measure
    from harness.gate.calibrations import calibration_path, keep
    from harness.report.calibration import disturbances, numbers, print_calibration
    from harness.report.console import Progress

    if not 1 <= seconds <= MOST_SECONDS or not 0 < rate <= MOST_RATE:
        raise UsageError(
            "bad-option",
            f"--seconds {seconds:g} --rate {rate:g}",
            f"Seconds from 1 to {MOST_SECONDS:.0f}, a rate above 0 and up to {MOST_RATE:,.0f} a second.",
        )
    if rate * seconds < 1:
        raise UsageError("bad-option", f"--rate {rate:g} sends nothing in {seconds:g} s", "Raise one of them.")
    errors = Console(stderr=True, highlight=False)
    progress = Progress(lambda line: errors.print(line, markup=False, soft_wrap=True))
    found = measure(seconds, rate, progress)
    try:
        path = keep(found)
    except OSError as error:
        raise UsageError(
            "file-unwritable",
            f"the calibration cannot be kept in {calibration_path()}: {error.strerror}",
            "Let XDG_CACHE_HOME name a directory that this user may write.",
        ) from None
    if as_json:
        sys.stdout.write(canonical(numbers(found)).decode())
    else:
        print_calibration(found, Console(highlight=False))
        typer.echo(f"kept in {path}")
    raise typer.Exit(ExitCode.UNDECIDED if disturbances(found) else ExitCode.PASS)
