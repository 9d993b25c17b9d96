"""`harness run` and `harness verdict`. Heavy imports happen inside the commands, so that `--help` is there at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.options import APP, RUNTIME, parse_grace, parse_overrides
from harness.core.errors import HarnessError, UsageError
from harness.core.jsonio import canonical
from harness.core.outcome import Outcome, exit_code, worst

if TYPE_CHECKING:
    from harness.gate.run import Planned, RunResult


def run(
    files: list[Path] = typer.Argument(..., help="Validations, for example slos/vector_search.yaml", metavar="FILE..."),
    settings: list[str] = typer.Option([], "--set", help="Environment of a service: SERVICE.NAME=VALUE"),
    profile: str = typer.Option("pr", help="Length of the run: pr, nightly or release"),
    runtime: str = RUNTIME,
    app: str = APP,
    workers: int = typer.Option(0, min=0, max=64, help="Load worker processes; 0: as many as the validation says"),
    results: Path = typer.Option(Path("results"), help="Where run directories go"),
    reuse: bool = typer.Option(True, help="Take a stack that `harness stack up` left running"),
    allow_unvalidated: list[str] = typer.Option([], help="A validation that may end not-validated; recorded"),
    abort_on_breach: bool = typer.Option(False, "--abort-on-breach", help="End the load when a threshold is broken"),
    abort_grace: str = typer.Option("10s", help="How much of the steady phase is not looked at for a breach"),
) -> None:
    """Run validations and print the verdict of each.

    Examples:

      harness run slos/vector_search.yaml

      harness run slos/vector_search.yaml --set app.APP_SEARCH_EFFORT=1     # must fail the recall objective

      harness run slos/vector_search.yaml --runtime docker      # stores and watchers in containers

      harness run slos/vector_search.yaml --abort-on-breach --abort-grace 5s    # fail as soon as it is beyond doubt
    """
    from rich.console import Console

    from harness.gate.plan import with_workers
    from harness.gate.run import plan, refuse
    from harness.gate.run import run as run_planned
    from harness.gate.session import Session
    from harness.model.runtimes import wanted_runtime, with_app
    from harness.model.validation import PROFILES
    from harness.report.console import Progress, print_verdicts

    if profile not in PROFILES:
        raise UsageError("bad-option", f"--profile {profile}", f"Profiles: {', '.join(PROFILES)}.")
    wanted = with_app(app, wanted_runtime(runtime))
    console = Console(stderr=True, highlight=False)
    progress = Progress(lambda line: console.print(line, markup=False, soft_wrap=True))
    overrides, grace = parse_overrides(settings), parse_grace(abort_on_breach, abort_grace)
    session = Session(results, [progress], overrides, wanted, reuse, frozenset(allow_unvalidated), grace, app)
    planned: list[Planned] = []
    for file in files:
        try:
            planned += [with_workers(one, workers) for one in plan(file, profile)]
        except HarnessError as error:
            done = refuse(file, error, session)
            console.print(error.render(), markup=False, soft_wrap=True)
            print_verdicts([(done.verdict, str(done.run.path))], Console(highlight=False))
            raise typer.Exit(exit_code(error.outcome)) from None
    done_runs: list[RunResult] = []
    with session:
        for one in planned:
            done_runs.append(run_planned(one, session))
            if done_runs[-1].verdict.outcome is Outcome.INTERRUPTED:
                break
    print_verdicts([(one.verdict, str(one.run.path)) for one in done_runs], Console(highlight=False))
    outcomes = [one.verdict.outcome for one in done_runs if not one.verdict.accepted]
    raise typer.Exit(exit_code(worst(outcomes)) if outcomes else 0)


def verdict(directory: Path = typer.Argument(Path("results/latest"), help="A run directory", metavar="RUN")) -> None:
    """Make the verdict of a run again from its directory and say whether it is the one that is stored there."""
    from rich.console import Console

    from harness.report.console import print_verdicts
    from harness.results.rundir import RunDir
    from harness.slo.judge import judge

    if not (directory / "verdict.json").exists():
        raise UsageError("not-a-run", f"{directory} holds no verdict.json", "Name a directory under results/.")
    made = judge(RunDir(directory))
    print_verdicts([(made, str(directory))], Console(highlight=False))
    if canonical(made.as_dict()) != (directory / "verdict.json").read_bytes():
        raise HarnessError(
            "verdict-differs",
            f"{directory / 'verdict.json'} is not what its evidence gives",
            "The evidence or the verdict was changed, or another version of the harness wrote it.",
        )
    raise typer.Exit(exit_code(made.outcome))
