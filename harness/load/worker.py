"""A load worker: Locust users driven through an absolute timetable, in a process of its own.

    python -m harness.load.worker PLAN.json INDEX OUT.jsonl

It talks JSON lines: says {"ready": users} or {"failed": {...}} on standard output, takes {"start": origin_ns} on
standard input, then says {"tick": {...}} once a second and {"end": reason}. It ends when its standard input does.
"""

from __future__ import annotations

import locust  # first: it patches the sockets that everything else uses

import ctypes  # isort: skip
import gc
import importlib.util
import json
import math
import os
import signal
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any

import gevent
from gevent.fileobject import FileObjectPosix
from gevent.hub import Waiter
from gevent.pool import Group
from locust import TaskSet
from locust.env import Environment
from locust.user.task import DefaultTaskSet

from harness.load.recorder import Recorder
from harness.load.users import SloUser
from harness.model.load import LoadPlan

PR_SET_PDEATHSIG = 1
DRAIN_GRACE_NS = 1_000_000_000


class Dispatcher:
    """Hands each arrival, when it is due, to the user that has been idle longest; keeps it when none is."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._idle: deque[Waiter] = deque()
        self._backlog: deque[int] = deque()
        self.busy = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._backlog)

    def take(self) -> int:
        """Block the calling user until an arrival is its own; returns the time it was due (ns)."""
        if self._backlog:
            due = self._backlog.popleft()
        else:
            waiter = Waiter()
            self._idle.append(waiter)
            due = waiter.get()
        self._recorder.started()
        return due

    def run(self, dues: list[int]) -> None:
        """Dispatch the timetable (ns, ascending). Late arrivals go out at once; none is skipped."""
        callback = gevent.get_hub().loop.run_callback
        for due in dues:
            wait = due - time.monotonic_ns()
            if wait > 0:
                gevent.sleep(wait / 1e9)
            self._recorder.arrival(max(0, time.monotonic_ns() - due))
            if self._idle:
                callback(self._idle.popleft().switch, due)
            else:
                self._recorder.starved()
                self._backlog.append(due)


def drive_by(dispatcher: Dispatcher, recorder: Recorder) -> None:
    """Make Locust's task loop run one task per arrival, in place of its own pauses."""
    original = TaskSet.execute_next_task
    reported: set[str] = set()

    def execute_next_task(self: TaskSet) -> None:
        upcoming = self._task_queue[0]
        if isinstance(upcoming, type) and issubclass(upcoming, TaskSet):
            original(self)  # a nested set takes its arrivals itself
            return
        due = dispatcher.take()
        self.user.begin_task(due)
        dispatcher.busy += 1
        start = time.monotonic_ns()
        try:
            original(self)
        except locust.exception.LocustError:
            raise
        except Exception as error:  # noqa: BLE001 - the scenario is the user's code; its errors are data
            recorder.finished_request(f"task {upcoming.__name__}", due, start, time.monotonic_ns(), "exception")
            text = traceback.format_exc()
            if (kind := f"{type(error).__name__} {error}") not in reported and len(reported) < 20:
                reported.add(kind)
                sys.stderr.write(text)
        finally:
            dispatcher.busy -= 1

    TaskSet.execute_next_task = execute_next_task
    TaskSet.wait = lambda self: None
    assert issubclass(DefaultTaskSet, TaskSet)


def import_scenario(path: Path) -> list[type[SloUser]]:
    """The concrete user classes that a scenario file defines."""
    sys.path.insert(0, str(path.parent.parent))
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, SloUser) and not found.abstract
        and found.__module__ == path.stem
    ]  # fmt: skip


class Worker:
    """One process' share of a plan."""

    def __init__(self, plan: LoadPlan, index: int, out: Path, say: Any) -> None:
        self._plan = plan
        self._index = index
        self._say = say
        self._name = out.stem
        self._recorder = Recorder(out, plan)
        self._dispatcher = Dispatcher(self._recorder)
        self._users = Group()

    def prepare(self, classes: list[type[SloUser]]) -> int:
        """Create and start the users, each waiting for its first arrival."""
        plan = self._plan
        wanted = plan.users or max(50, min(1000, math.ceil(plan.rate * 2 / plan.workers)))
        environment = Environment(user_classes=classes, host=plan.host)
        SloUser.sink = self._recorder
        drive_by(self._dispatcher, self._recorder)
        weights = [max(1, cls.weight) for cls in classes]
        for number in range(wanted):
            cls = _share(classes, weights, number)
            cls.timeout = plan.timeout_ns / 1e9
            cls(environment).start(self._users)
        while self._dispatcher.idle < wanted:
            gevent.sleep(0.001)
        return wanted

    def run(self, origin: int) -> str:
        """Work through the timetable; returns how it ended."""
        plan = self._plan
        self._recorder.begin(origin, self._name)
        dues = [origin + plan.offset_ns(number) for number in range(self._index, plan.arrivals, plan.workers)]
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 1000)
        dispatching = gevent.spawn(self._dispatcher.run, dues)
        end = origin + plan.warmup_ns + plan.duration_ns
        deadline = end + plan.timeout_ns + DRAIN_GRACE_NS
        second = 0
        while True:
            second += 1
            finished = self._wait_until(min(origin + second * 1_000_000_000, deadline), dispatching, end)
            self._recorder.flush()
            now = time.monotonic_ns()
            self._tick(now - origin, len(dues))
            if finished or now >= deadline:
                break
        dispatching.kill()
        left = self._dispatcher.busy + self._dispatcher.waiting
        reason = "done" if not left else f"{left} requests still under way at the deadline"
        self._recorder.end(reason)
        return reason

    def interrupt(self) -> None:
        """Write what there is and end the process."""
        self._recorder.end("interrupted")
        os._exit(0)

    def _wait_until(self, moment: int, dispatching: gevent.Greenlet, end: int) -> bool:
        """Sleep until `moment`; True as soon as all is dispatched and answered and the phase is over."""
        while (now := time.monotonic_ns()) < moment:
            if now >= end and dispatching.ready() and not self._dispatcher.busy and not self._dispatcher.waiting:
                return True
            gevent.sleep(min(0.02, (moment - now) / 1e9))
        return False

    def _tick(self, elapsed: int, scheduled: int) -> None:
        plan, recorder = self._plan, self._recorder
        middle = elapsed - 500_000_000  # a tick tells of the second before it
        over = middle >= plan.warmup_ns + plan.duration_ns
        recent = recorder.last_second
        self._say({"tick": {
            "phase": "drain" if over else plan.phase_at(middle), "elapsed": elapsed / 1e9,
            "remaining": max(0, plan.warmup_ns + plan.duration_ns - elapsed) / 1e9, "scheduled": scheduled,
            "done": recorder.done, "errors": recorder.failed, "in_flight": self._dispatcher.busy,
            "p99_ms": recent.quantile(0.99) / 1e6 if recent.count else None,
        }})  # fmt: skip


def _share(classes: list[type[SloUser]], weights: list[int], number: int) -> type[SloUser]:
    at = number % sum(weights)
    for cls, weight in zip(classes, weights, strict=True):
        if at < weight:
            return cls
        at -= weight
    return classes[-1]


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    output = os.dup(1)
    os.dup2(2, 1)  # what a scenario prints goes to the log

    def say(message: dict[str, Any]) -> None:
        os.write(output, json.dumps(message).encode() + b"\n")

    plan = LoadPlan(**json.loads(Path(sys.argv[1]).read_text()))
    os.environ.update(plan.env)
    worker = Worker(plan, int(sys.argv[2]), Path(sys.argv[3]), say)
    try:
        classes = import_scenario(Path(plan.scenario))
    except BaseException as error:  # noqa: BLE001 - whatever the user's file raises is reported to the parent
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == plan.scenario]
        say({"failed": {"kind": "import", "error": f"{type(error).__name__}: {error}",
                        "line": frames[-1].lineno if frames else None}})  # fmt: skip
        sys.stderr.write(traceback.format_exc())
        sys.exit(1)
    if not classes:
        say({"failed": {"kind": "empty", "error": "", "line": None}})
        sys.exit(1)
    commands = FileObjectPosix(0, "rb")
    say({"ready": worker.prepare(classes)})
    line = commands.readline()
    if not line:
        return

    def watch() -> None:
        commands.read(1)
        os._exit(3)  # the parent is gone

    gevent.spawn(watch)
    gevent.signal_handler(signal.SIGTERM, worker.interrupt)
    say({"end": worker.run(json.loads(line)["start"])})
    os._exit(0)


if __name__ == "__main__":
    main()
