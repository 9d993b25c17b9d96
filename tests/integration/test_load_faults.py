"""What goes wrong with load itself: scenarios that cannot be used, workers and parents that are killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir
from harness.results.samples import load_samples
from tests.integration.load_target import Target, load_target

pytestmark = pytest.mark.stack
SECOND = 1_000_000_000
NOWHERE = "http://127.0.0.1:1"

SIMPLE = """\
from locust import task
from harness.load.users import SloUser

class Searcher(SloUser):
    @task
    def search(self):
        self.client.get("/late", name="search")
"""


@pytest.fixture
def target() -> Iterator[Target]:
    with load_target() as found:
        yield found


def engine_for(tmp_path: Path, text: str, host: str = NOWHERE, workers: int = 1, seconds: int = 1) -> LoadEngine:
    path = tmp_path / "scenario.py"
    path.write_text(text)
    plan = LoadPlan(str(path), 100.0, 0, seconds * SECOND, host, workers=workers, users=20)
    return LoadEngine(plan, RunDir.create(tmp_path / "results", "faults"))


def run_of(tmp_path: Path) -> RunDir:
    return RunDir((tmp_path / "results" / "latest").resolve())


def refused(engine: LoadEngine) -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        engine.prepare()
    assert engine.pids == []  # nothing is left running
    return caught.value


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("import os\n\ndef read():\n    return os.environ['NO_SUCH']\n\nX = read()\n", 4, 5, "KeyError: 'NO_SUCH'"),
        ("x = 1\nclass A:\n    def f(self)\n        pass\n", 3, 16, "SyntaxError: expected ':'"),
        ("import sys\nsys.exit('bye')\n", 2, 1, "SystemExit: bye"),
        ("\n\n  import nothing_like_it\n", 3, None, "IndentationError"),
        ("import nothing_like_it\n", 1, 1, "ModuleNotFoundError: No module named 'nothing_like_it'"),
    ],
)
def test_a_scenario_that_raises_at_import_is_located(
    tmp_path: Path, text: str, line: int, column: int | None, said: str
) -> None:
    error = refused(engine_for(tmp_path, text))
    assert isinstance(error, UsageError) and error.slug == "scenario-import-failed"
    assert error.outcome is Outcome.USAGE and said in error.cause
    assert error.location is not None
    assert (error.location.path, error.location.line) == (tmp_path / "scenario.py", line)
    assert column is None or error.location.column == column
    assert error.location.caret().splitlines()[0].strip() == text.splitlines()[line - 1].strip()
    assert "Traceback" in (run_of(tmp_path).logs / "load-0.log").read_text()


HTTP_USER = "from locust import HttpUser, task\nclass A(HttpUser):\n    @task\n    def t(self): pass\n"
NO_TASK = "from harness.load.users import SloUser\nclass Idle(SloUser):\n    pass\n"
ABSTRACT = SIMPLE.replace("    @task", "    abstract = True\n    @task")


@pytest.mark.parametrize(
    ("text", "why"),
    [("x = 1\n", "defines no user class"), (ABSTRACT, "defines no user class"), (NO_TASK, "Idle has no task"),
     (HTTP_USER, "A is no RecordingUser"), (SIMPLE + HTTP_USER, "A is no RecordingUser")],
)  # fmt: skip
def test_a_scenario_without_a_user_to_record_is_refused(tmp_path: Path, text: str, why: str) -> None:
    error = refused(engine_for(tmp_path, text))
    assert isinstance(error, UsageError) and error.slug == "scenario-empty" and why in error.cause


STARTS_BADLY = SIMPLE + "    def on_start(self): raise ValueError('no token')\n"
DIES = "import os\n" + SIMPLE + "    def on_start(self): os._exit(7)\n"


@pytest.mark.parametrize(
    ("text", "host", "why"),
    [(STARTS_BADLY, NOWHERE, "ValueError: no token"), (SIMPLE, "ftp://127.0.0.1:1", "not ftp://"),
     (DIES, NOWHERE, "it ended with 7")],
)  # fmt: skip
def test_users_that_cannot_start_fail_the_worker(tmp_path: Path, text: str, host: str, why: str) -> None:
    error = refused(engine_for(tmp_path, text, host))
    assert error.slug == "worker-failed" and error.outcome is Outcome.ERROR and why in error.cause


def test_without_a_target_there_is_no_start(tmp_path: Path) -> None:
    engine = engine_for(tmp_path, SIMPLE, host="")
    try:
        engine.prepare()
        with pytest.raises(HarnessError, match="no target"):
            engine.start()
    finally:
        engine.stop()
    assert load_samples(run_of(tmp_path).load).workers == []


BAD_SET = """\
from locust import task, TaskSet
from harness.load.users import SloUser

class Steps(TaskSet):
    def on_start(self): raise LookupError("no basket")
    @task
    def one(self): pass

class Buyer(SloUser):
    tasks = [Steps]
"""
STOPS = SIMPLE.replace(
    "        self.client", "        from locust.exception import StopTest\n        raise StopTest('x')\n#"
)


@pytest.mark.parametrize(
    ("text", "why"),
    [(BAD_SET, "Buyer cannot go on: LookupError: no basket"), (STOPS, "the scenario stopped the test: x")],
)
def test_a_scenario_that_cannot_go_on_ends_as_an_error(tmp_path: Path, text: str, why: str) -> None:
    """Locust would try again for ever, without a pause."""
    engine = engine_for(tmp_path, text, seconds=30)
    try:
        try:
            engine.prepare()
            engine.start()
            assert len(list(engine.ticks())) < 10
        except HarnessError as error:
            assert error.slug == "worker-failed" and why in error.cause
            return
    finally:
        engine.stop()
    (worker,) = load_samples(run_of(tmp_path).load).workers
    assert worker.reason == f"error: {why}"


def test_a_killed_worker_ends_the_run_and_its_samples_are_incomplete(target: Target, tmp_path: Path) -> None:
    engine = engine_for(tmp_path, SIMPLE, target.host, workers=2, seconds=30)
    engine.prepare()
    engine.start()
    pids = engine.pids
    with pytest.raises(HarnessError) as caught:
        for tick in engine.ticks():
            if tick.elapsed > 1.5:
                os.kill(pids[1], signal.SIGKILL)
    assert caught.value.slug == "worker-died" and "load-1: killed by SIGKILL" in caught.value.cause
    assert all(gone(pid) for pid in pids)
    samples = load_samples(run_of(tmp_path).load)
    # what it had sent and not yet written down, if anything, is told behind the semicolon
    assert [(worker.name, worker.complete, worker.reason.partition(";")[0]) for worker in samples.workers] == [
        ("load-0", False, "interrupted"),
        ("load-1", False, "it ended without its last record"),
    ]
    assert 0 < samples.counts("search").sent < 3000  # what was flushed before is there
    engine.stop()


def remove(engine: LoadEngine, directory: Path) -> None:
    (directory / "load-0.jsonl").unlink()


def fill(engine: LoadEngine, directory: Path) -> None:
    """No file of the worker may grow any more, as on a full disk."""
    (pid,) = engine.pids
    size = (directory / "load-0.jsonl").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(("spoil", "why"), [(remove, "is gone"), (fill, "File too large")])
def test_a_worker_that_cannot_record_ends_the_run(
    target: Target, tmp_path: Path, spoil: Callable[[LoadEngine, Path], None], why: str
) -> None:
    engine = engine_for(tmp_path, SIMPLE, target.host, seconds=60)
    engine.prepare()
    engine.start()
    pids, seconds = engine.pids, 0.0
    with pytest.raises(HarnessError) as caught:
        for tick in engine.ticks():
            if not seconds:
                spoil(engine, run_of(tmp_path).load)
            seconds = tick.elapsed
    assert caught.value.slug == "worker-died" and why in caught.value.cause and seconds < 30
    assert all(gone(pid) for pid in pids)


def test_a_stopped_run_keeps_what_it_has(target: Target, tmp_path: Path) -> None:
    engine = engine_for(tmp_path, SIMPLE, target.host, workers=2, seconds=30)
    engine.prepare()
    pids = engine.pids
    engine.start()
    next(engine.ticks())
    engine.stop()
    engine.stop()
    assert all(gone(pid) for pid in pids)
    samples = load_samples(run_of(tmp_path).load)
    assert [worker.reason for worker in samples.workers] == ["interrupted"] * 2
    counts = samples.counts("search")
    assert counts.sent >= counts.outcomes["ok"] > 50
    assert eventually(lambda: target.counts()["/late"] == counts.sent)


PARENT = """\
import sys, threading
from pathlib import Path
from harness.load.engine import LoadEngine
from harness.model.load import LoadPlan
from harness.results.rundir import RunDir

plan = LoadPlan(sys.argv[1], 50.0, 0, 60 * 10**9, sys.argv[2], workers=2)
engine = LoadEngine(plan, RunDir.create(Path(sys.argv[3]), "x"))
if sys.argv[4] == "from a thread":
    (preparing := threading.Thread(target=engine.prepare)).start()
    preparing.join()
else:
    engine.prepare()
print(*engine.pids, flush=True)
if sys.argv[4] != "ready":
    engine.start()
    for tick in engine.ticks():
        print(tick.elapsed, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("moment", ["ready", "running", "from a thread"])
def test_workers_do_not_outlive_a_killed_parent(target: Target, tmp_path: Path, moment: str) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(SIMPLE)
    command = [sys.executable, "-c", PARENT, str(path), target.host, str(tmp_path / "results"), moment]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and not any(gone(pid) for pid in pids)
        if moment != "ready":
            parent.stdout.readline()
        parent.kill()
    assert eventually(lambda: all(gone(pid) for pid in pids), 5.0)


BUSY = SIMPLE.replace("self.client", "open(__file__ + '.busy', 'w'); all(True for _ in iter(int, 1))  #")


def test_a_worker_stuck_in_the_scenarios_own_code_is_killed(target: Target, tmp_path: Path) -> None:
    engine = engine_for(tmp_path, BUSY, target.host)
    engine.prepare()
    pids = engine.pids
    engine.start()
    assert eventually((tmp_path / "scenario.py.busy").exists)
    engine.stop()
    assert all(gone(pid) for pid in pids)
    (worker,) = load_samples(run_of(tmp_path).load).workers
    assert not worker.complete
