"""The pytest face: every validation in a YAML file is a test, and fixtures give tests the running stack.

    pytest -m slo                 the validations of this project, on a stack that comes up for the session
    pytest slos/search.yaml       one of them

What a validation found stands in its run directory; any outcome but pass is a failed test.
Heavy imports happen inside, so that a pytest run without validations costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.model.runtimes import APPS, RUNTIMES, VARIABLE

if TYPE_CHECKING:
    from harness.faults.fault import Fault
    from harness.gate.run import Planned, RunResult
    from harness.gate.session import Session
    from harness.stack.runtime import Stack
    from harness.telemetry.metrics import PrometheusStore

_SESSION = pytest.StashKey["Session"]()
_RESULTS = pytest.StashKey[list["RunResult"]]()
_MARK = b"kind: Validation"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("slo", "service level objectives")
    group.addoption("--slo-profile", choices=("pr", "nightly", "release"), default="pr", help="length of the runs")
    group.addoption("--slo-runtime", choices=RUNTIMES, default="",
                    help="what brings the services up (default: SLO_HARNESS_RUNTIME, else auto)")  # fmt: skip
    group.addoption("--slo-app", choices=APPS, default="process",
                    help="what the commands in the stack file's image run as; container: docker alone")  # fmt: skip
    group.addoption("--slo-results", default="results", help="where run directories go (default: results)")
    group.addoption("--slo-stack", default="stack.yaml", help="stack file for the fixtures (default: stack.yaml)")
    group.addoption(
        "--slo-set", action="append", default=[], metavar="SERVICE.NAME=VALUE", help="environment of a service"
    )
    group.addoption("--slo-no-reuse", action="store_true", help="do not use a stack that is already up")
    group.addoption("--slo-allow-unvalidated", action="append", default=[], metavar="NAME",
                    help="a validation that may end not-validated; the verdict records it")  # fmt: skip
    group.addoption("--slo-abort-on-breach", action="store_true", help="end the load when a threshold is broken")
    group.addoption("--slo-abort-grace", default="10s", metavar="DURATION",
                    help="how much of the steady phase is not looked at for a breach (default: 10s)")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slo: a validation, run against a real stack")
    config.stash[_RESULTS] = []


def pytest_report_header(config: pytest.Config) -> str | None:
    """The runtime that is asked for, where somebody asked."""
    asked = config.getoption("slo_runtime")
    if not asked and VARIABLE not in os.environ:
        return None
    return f"slo-runtime: {asked}" if asked else f"slo-runtime: {os.environ[VARIABLE]} ({VARIABLE})"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ValidationFile | None:
    if file_path.suffix in (".yaml", ".yml") and _MARK in file_path.read_bytes():
        return ValidationFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Validations run when they are asked for: by `-m` or by path, not in a plain `pytest`."""
    if config.getoption("markexpr") or config.args_source is pytest.Config.ArgsSource.ARGS:
        return
    left_out = [item for item in items if isinstance(item, ValidationItem)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not isinstance(item, ValidationItem)]


class ValidationFile(pytest.File):
    """A YAML file that holds validations; one that cannot be read is one failing test, with the reason."""

    def collect(self) -> Iterable[pytest.Item]:
        from harness.core.errors import HarnessError
        from harness.gate.run import plan

        try:
            planned = plan(self.path, self.config.getoption("slo_profile"))
        except HarnessError as error:
            yield ValidationItem.from_parent(self, name=self.path.stem, planned=None, refused=error)
            return
        for one in planned:
            yield ValidationItem.from_parent(self, name=one.validation.name, planned=one, refused=None)


class NotPassed(Exception):
    """A validation ended in anything but pass."""


class ValidationItem(pytest.Item):
    """One validation."""

    def __init__(self, *, planned: Planned | None, refused: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._planned = planned
        self._refused = refused
        self.add_marker("slo")

    def runtest(self) -> None:
        from harness.core.outcome import Outcome
        from harness.gate.run import refuse, run

        session = _session(self.config)
        if self._planned is None:
            self.config.stash[_RESULTS].append(refuse(self.path, self._refused, session))
            raise NotPassed(self._refused.render())
        done = run(self._planned, session)
        self.config.stash[_RESULTS].append(done)
        outcome = done.verdict.outcome
        if outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt
        if not done.verdict.accepted:
            reasons = [
                f"{f.outcome}: {f.id}: {f.reason}" for f in done.verdict.findings if f.outcome is not Outcome.PASS
            ]
            raise NotPassed("\n".join([f"{done.verdict.name}: {outcome}", *reasons, f"run: {done.run.path}"]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, NotPassed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"validation: {self.name}"


def _session(config: pytest.Config) -> Session:
    """The session's one Session; stacks in it come up when first wanted and go down in pytest_unconfigure."""
    from harness.cli.options import parse_grace, parse_overrides
    from harness.gate.session import Session
    from harness.model.runtimes import wanted_runtime, with_app
    from harness.report.console import Progress

    if _SESSION not in config.stash:
        config.stash[_SESSION] = Session(
            results=Path(config.rootpath) / config.getoption("slo_results"),
            handlers=[Progress(_writer(config))],
            overrides=parse_overrides(config.getoption("slo_set")),
            runtime=with_app(config.getoption("slo_app"), wanted_runtime(config.getoption("slo_runtime"))),
            app=config.getoption("slo_app"),
            reuse=not config.getoption("slo_no_reuse"),
            allow_unvalidated=frozenset(config.getoption("slo_allow_unvalidated")),
            abort_grace_ns=parse_grace(config.getoption("slo_abort_on_breach"), config.getoption("slo_abort_grace")),
        )
    return config.stash[_SESSION]


def _writer(config: pytest.Config) -> Callable[[str], None]:
    """Writes a line to the terminal while a test runs, past pytest's capturing."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def write(line: str) -> None:
        if reporter is None:
            return
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(line)
            reporter.flush()  # into a pipe it would come when the run is over

    return write


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _SESSION in session.config.stash:
        session.config.stash[_SESSION].close()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results = config.stash[_RESULTS]
    if not results:
        return
    from rich.console import Console

    from harness.report.console import print_verdicts

    terminalreporter.section("service level objectives")
    console = Console(file=terminalreporter._tw._file, highlight=False)
    print_verdicts([(done.verdict, str(done.run.path)) for done in results], console)


@pytest.fixture(scope="session")
def slo_stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    """The running stack of `--slo-stack`, brought up for this session unless one is already up."""
    session = _session(pytestconfig)
    yield session.stack(Path(pytestconfig.rootpath) / pytestconfig.getoption("slo_stack"), session.tell)


@pytest.fixture
def slo_faults(slo_stack: Stack, pytestconfig: pytest.Config) -> Iterator[Callable[..., Fault]]:
    """Makes a fault on the stack, by its name and parameters: `with slo_faults("latency", link="app->milvus",
    delay="200ms"):`. One that is still in force when the test is over is ended then, and is an error of the test.

    Raises UsageError fault-unknown, fault-parameter, link-unknown, service-unknown; HarnessError fault-unavailable.
    """
    from harness.core.errors import HarnessError
    from harness.faults.making import make

    made: list[Fault] = []

    def fault(name: str, **parameters: Any) -> Fault:
        made.append(make(slo_stack, name, parameters, _session(pytestconfig).tell))
        return made[-1]

    yield fault
    left = [one for one in made if one.in_force]
    said = [f"{one.name} on {', '.join(sorted(one.touches))} was still in force when the test was over" for one in left]
    for one in reversed(left):
        try:
            one.end()
        except HarnessError as error:
            said.append(error.render())
    if said:
        pytest.fail("\n".join([*said, "Use it in a `with` block, or call its end()."]), pytrace=False)


@pytest.fixture(scope="session")
def slo_metrics(slo_stack: Stack) -> PrometheusStore:
    """PromQL on the stack's Prometheus."""
    from harness.telemetry.metrics import PrometheusStore

    return PrometheusStore(f"http://{slo_stack.address('prometheus.http')}")
