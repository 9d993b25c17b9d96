"""`harness check`: what a run would do and could decide, without one."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from harness.cli.options import RUNTIME
from harness.core.errors import UsageError
from harness.core.jsonio import canonical
from harness.core.outcome import ExitCode

SCHEMA = 1  # of what --json prints


def check(
    places: list[Path] = typer.Argument(
        None, help="Validations, OpenSLO and stack files, or directories; by default slos", metavar="[PATH...]"
    ),
    profile: str = typer.Option("pr", help="Length of the run: pr, nightly or release"),
    results: Path = typer.Option(Path("results"), help="Where earlier runs are, for how long things take"),
    runtime: str = RUNTIME,
    as_json: bool = typer.Option(False, "--json", help="The same as data, with keys that stay"),
) -> None:
    """Read everything a run would read, and print its plan. Nothing is started, sent or written.

    Exits with 0 when all would be validated and can be decided, 3 when not, 2 for a file that is wrong: all files are
    read, and all errors shown.

    Examples:

      harness check                                       # all validations in slos/

      harness check slos/inference.yaml --profile nightly

      harness check --json | jq '.validations[].decidable'
    """
    from rich.console import Console

    from harness.gate.calibrations import find_calibration
    from harness.gate.forecast import Lack, forecast
    from harness.gate.preview import preview, total_seconds
    from harness.gate.reading import read_all, scrapes_of
    from harness.model.runtimes import wanted_runtime
    from harness.model.validation import PROFILES
    from harness.report.plan import print_preview, print_summary
    from harness.results.earlier import EarlierRuns
    from harness.stack.docker.choice import look

    if profile not in PROFILES:
        raise UsageError("bad-option", f"--profile {profile}", f"Profiles: {', '.join(PROFILES)}.")
    reading = read_all(places or [Path("slos")], profile)
    earlier = EarlierRuns(results)
    calibration = find_calibration().calibration
    too_tight: dict[str, str] = {}
    if calibration is not None:
        from harness.slo.machine import refusals  # brings the statistics along, which take their time to import

        thresholds = [threshold for one in reading.planned for threshold in one.validation.thresholds]
        too_tight = {threshold.id: why for threshold, why in refusals(thresholds, calibration)}
    wanted = wanted_runtime(runtime)
    chosen = {one.validation.stack_path: look(wanted, one.stack) for one in reading.planned}
    previews = []
    for one in reading.planned:
        choice, lack = chosen[one.validation.stack_path]
        obstacles = [] if lack is None else [Lack("runtime", lack.cause, lack.remedy)]
        foreseen = forecast(one, choice.missing, obstacles)
        previews.append(preview(one, foreseen, earlier, scrapes_of(one), too_tight))
    seconds = total_seconds(previews, earlier) if previews else None
    if as_json:
        data = {
            "schema": SCHEMA,
            "profile": profile,
            "runtimes": {
                str(path): {"asked": wanted, "taken": choice.runtime if lack is None else None, "why": choice.why}
                for path, (choice, lack) in chosen.items()
            },
            "validations": [one.as_dict() for one in previews],
            "seconds": seconds,
            "errors": [
                {
                    "slug": error.slug,
                    "cause": error.cause,
                    "remedy": error.remedy,
                    "location": str(error.location) if error.location else None,
                }
                for error in reading.errors
            ],
        }
        sys.stdout.write(canonical(data).decode())
    else:
        console = Console(highlight=False)
        for line in dict.fromkeys(f"runtime {one.runtime}: {one.why}" for one, _ in chosen.values() if one.why):
            console.print(line, markup=False, soft_wrap=True)
        for shown in previews:
            print_preview(shown, console)
        for error in reading.errors:
            typer.echo(error.render(), err=True)
        print_summary(previews, seconds, len(reading.errors), console)
    if reading.errors:
        raise typer.Exit(ExitCode.USAGE)
    raise typer.Exit(ExitCode.PASS if all(one.decidable for one in previews) else ExitCode.UNDECIDED)
