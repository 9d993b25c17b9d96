"""`harness load`: the load of a validation on a target that is there already, from this machine or from many."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import typer

from harness.core.errors import UsageError
from harness.core.outcome import exit_code, worst

URL = re.compile(r"https?://[^\s/]+\S*")


def load(
    file: Path = typer.Argument(None, help="A validation, for example slos/vector_search.yaml", metavar="[FILE]"),
    host: str = typer.Option("", help="Base URL of the target, as the workers reach it"),
    workers: int = typer.Option(0, min=0, max=64, help="Worker processes; 0: as many as the validation says"),
    profile: str = typer.Option("pr", help="Length of the load: pr, nightly or release"),
    results: Path = typer.Option(Path("results"), help="Where run directories go"),
    master: bool = typer.Option(False, "--master", help="Take workers of other machines in place of own processes"),
    worker: bool = typer.Option(False, "--worker", help="Be such a worker; then only the options below count"),
    master_host: str = typer.Option("127.0.0.1", help="Worker: where the master is"),
    master_port: int = typer.Option(5557, min=1, max=65535, help="Worker: its port"),
    project: Path = typer.Option(Path(), help="Worker: the directory that holds scenarios/, as at the master"),
    master_bind_host: str = typer.Option("*", help="Master: the address to listen at; whoever can reach it can join"),
    master_bind_port: int = typer.Option(5557, min=0, max=65535, help="Master: the port; 0: any"),
    expect_workers: int = typer.Option(0, min=0, max=64, help="Master: the same as --workers"),
    expect_workers_max_wait: float = typer.Option(300.0, min=1, help="Seconds to wait for workers, or for the master"),
    enable_rebalancing: bool = typer.Option(False, "--enable-rebalancing", help="The same as load.rebalance: true"),
) -> None:
    """Make the load of a validation without a stack, and judge what the client saw: thresholds, but no objectives.

    Options that Locust has too are called as there, so Locust's operator for Kubernetes can start this.

    Examples:

      harness load slos/vector_search.yaml --host http://10.0.0.5:8000 --workers 2

      harness load slos/vector_search.yaml --host http://10.0.0.5:8000 --master --expect-workers 3

      harness load --worker --master-host 10.0.0.7
    """
    if worker:
        if master:
            raise UsageError("bad-option", "--master and --worker", "Be one of them.")
        from harness.load.agent import Link

        typer.echo(Link(master_host, master_port, project, expect_workers_max_wait).run())
        return
    if file is None or not URL.fullmatch(host):
        raise UsageError(
            "bad-option", f"FILE {file or 'is missing'}, --host {host or 'is missing'}",
            "Name a validation, and the target's base URL, for example --host http://127.0.0.1:8000.",
        )  # fmt: skip
    from rich.console import Console

    from harness.gate.load import run_load
    from harness.load.crew import Crew
    from harness.load.remote import RemoteCrew
    from harness.model.validation import load_validations
    from harness.report.console import Progress, print_verdicts
    from harness.results.rundir import RunDir

    def crew(run: RunDir) -> Crew:
        made = RemoteCrew(run, master_bind_host, master_bind_port, expect_workers_max_wait)
        console.print(f"master at {made.address}", markup=False, soft_wrap=True)
        return made

    console = Console(stderr=True, highlight=False)
    progress = Progress(lambda line: console.print(line, markup=False, soft_wrap=True))
    done = []
    for validation in load_validations(file, profile):
        own = validation.load
        if enable_rebalancing and own.plan().closed:
            raise UsageError("bad-option", f"--enable-rebalancing with {own.executor}", "It is for open executors.")
        validation.load = replace(
            own, workers=expect_workers or workers or own.workers, rebalance=own.rebalance or enable_rebalancing
        )
        done.append(run_load(validation, host.rstrip("/"), results, [progress], crew if master else None))
    print_verdicts([(verdict, str(run.path)) for run, verdict in done], Console(highlight=False))
    raise typer.Exit(exit_code(worst(verdict.outcome for _, verdict in done)))
