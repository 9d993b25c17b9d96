"""A load worker: Locust users driven through an absolute timetable, in a process of its own.

    python -m harness.load.worker PLAN.json INDEX OUT.jsonl [--die-with-parent]

It talks JSON lines. It says {"imported": [classes]} or {"failed": {...}} on standard output, takes {"host": url} on
standard input, says {"ready": users}, takes {"start": origin_ns} (CLOCK_MONOTONIC), then says {"tick": {...}} once a
second and {"end": reason, "length": ns}. Meanwhile it takes {"end_at": moment_ns}: nothing that is due later is sent,
what is under way is answered; and {"take_over": [claims]}: arrivals that a worker which died had still to send. It ends
when its standard input does, and on SIGTERM with what it has.
"""

from __future__ import annotations

import locust  # first: it patches the sockets that everything else uses

import ctypes  # isort: skip
import gc
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import gevent
from gevent.fileobject import FileObjectPosix
from gevent.pool import Group
from locust import TaskSet
from locust.env import Environment
from locust.exception import (
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    StopTest,
    StopUser,
)
from locust.user.task import DefaultTaskSet

from harness.load.arrivals import ArrivalLog
from harness.load.dispatcher import Dispatcher
from harness.load.recorder import Recorder
from harness.load.scenario import ScenarioFailure, import_scenario
from harness.load.user_pool import UserPool, seats_by_weight
from harness.load.users import RecordingUser, runtime
from harness.model.load import LoadPlan
from harness.model.takeover import Claim

PR_SET_PDEATHSIG = 1
DRAIN_GRACE_NS = 1_000_000_000
READY_SECONDS, STOP_SECONDS = 30.0, 2.0
_SECOND = 1_000_000_000
_CONTROL_FLOW = (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser)

Say = Callable[[dict[str, Any]], None]


class Worker:
    """One process' share of the plan."""

    def __init__(self, plan: LoadPlan, index: int, out: Path, classes: list[type[RecordingUser]]) -> None:
        self._plan, self._index, self._classes = plan, index, classes
        self._recorder = Recorder(out, plan)
        self._arrivals = ArrivalLog(plan, self._recorder.tally)
        weights = [float(cls.weight) for cls in classes]
        self._dispatcher: Dispatcher | UserPool
        if plan.closed:
            self._dispatcher = UserPool(runtime(), self._arrivals)
            self._seats = seats_by_weight(weights, plan.users_of(index))
        else:
            self._dispatcher = Dispatcher(runtime(), self._arrivals, weights, plan.queue_limit)
        self._share = plan.share(index)  # counted before time matters: it may take a while
        self._environment = Environment(user_classes=classes, events=locust.events, catch_exceptions=True)
        self._users = Group()
        self._lanes: dict[Any, int] = {}  # greenlet -> the lane of its user, or its seat if the load is closed
        self._reported: set[str] = set()
        self._failure = ""
        self._running = False
        gevent.get_hub().handle_error = self._on_hub_error

    def prepare(self, host: str) -> int:
        """Start the users and wait until they stand idle; returns how many. Raises RuntimeError when none does."""
        self._environment.host = host
        RecordingUser.sink = self._recorder
        RecordingUser.timeout = self._plan.timeout_ns / 1e9  # a class that has its own keeps it
        self._take_over_task_loop()
        self._environment.events.init.fire(environment=self._environment, runner=None, web_ui=None)
        self._environment.events.test_start.fire(environment=self._environment)
        for place in self._places(self._plan.users_of(self._index)):
            self._spawn(place)
        deadline = time.monotonic() + READY_SECONDS
        while self._dispatcher.idle < len(self._users) and not self._failure and time.monotonic() < deadline:
            gevent.sleep(0.001)
        if self._failure or not self._dispatcher.idle:
            raise RuntimeError(self._failure or f"no user is ready after {READY_SECONDS:.0f} s: see its on_start")
        return self._dispatcher.idle

    def run(self, origin: int, say: Say) -> str:
        """Work through the timetable; returns how it ended: done | interrupted | error."""
        plan = self._plan
        self._arrivals.origin_ns = origin
        self._recorder.begin(origin, f"load-{self._index}")
        self._running = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 1000)
        if isinstance(self._dispatcher, UserPool):
            levels = [(origin + offset, users) for offset, users in plan.levels(self._index)]
            self._dispatcher.start(levels, origin + plan.length_ns)
        else:
            self._dispatcher.start(origin + offset for offset in plan.timetable(self._index))
        second = 0
        while True:
            second += 1
            over = self._wait_until(origin + second * _SECOND)
            settled = self._settled()  # before it is written, so that no record of it comes later
            self._flush()
            now = time.monotonic_ns()
            say({"tick": {**self._tick(now - origin), "settled": settled}})
            if over or now >= self._deadline:
                break
            if now >= self._last_call:
                self._dispatcher.give_up()
        if not self._failure and not self._dispatcher.finished:
            self._failure = "arrivals of the timetable were not dispatched by the deadline: this process stood still"
        if not self._failure and self._dispatcher.busy:
            self._failure = f"{self._dispatcher.busy} arrivals were still under way at the deadline"
        self._dispatcher.stop()
        self._users.kill(timeout=STOP_SECONDS)  # runs their on_stop
        return self.finish("error" if self._failure else "done", self._failure)

    def end_at(self, moment: int) -> None:
        """End the steady phase at `moment`, unless it is over or has not begun."""
        origin = self._arrivals.origin_ns
        if self._running and not self._dispatcher.finished and moment > origin + self._plan.warmup_ns:
            self._plan = self._plan.cut(self._dispatcher.end_at(moment) - origin)
            self._share = self._plan.share(self._index)
            self._recorder.cut(self._plan)

    def take_over(self, claims: Sequence[Claim]) -> None:
        """Send these arrivals of another worker too, with as many more users as it had for them."""
        self._recorder.tally.taken(len(claims), min(claim.steps[-1].after_ns for claim in claims))
        for claim in claims:
            heirs = prod(step.of for step in claim.steps)
            for place in self._places(-(-self._plan.users_of(claim.index) // heirs)):
                self._spawn(place)
            offsets = claim.offsets(self._plan.timetable)
            assert isinstance(self._dispatcher, Dispatcher), "a closed load has no timetable that could be taken over"
            self._dispatcher.add(self._arrivals.origin_ns + offset for offset in offsets)

    @property
    def length_ns(self) -> int:
        """From the origin to the end of the steady phase, as planned or as it was ended."""
        return self._plan.length_ns

    def finish(self, reason: str, detail: str = "") -> str:
        """Write what there is, and the last line; returns `reason`."""
        if self._running:
            self._running = False
            self._dispatcher.stop()
            self._environment.events.test_stop.fire(environment=self._environment)
            self._arrivals.flush(self._recorder.file)
            self._recorder.end(reason, detail)
        return reason

    def _places(self, users: int) -> list[int]:
        """Where so many users stand. An open load: the lane of each, by the weights of the classes, at least one in
        each; a closed one: their seats."""
        if self._plan.closed:
            return list(range(users))
        total = sum(cls.weight for cls in self._classes)
        return [
            lane for lane, cls in enumerate(self._classes) for _ in range(max(1, round(users * cls.weight / total)))
        ]

    def _spawn(self, place: int) -> None:
        made = self._classes[self._seats[place] if self._plan.closed else place]
        try:
            user = made(self._environment)
        except StopTest as error:
            raise RuntimeError(str(error)) from None
        user.slo_lane = place
        greenlet = user.start(self._users)
        self._lanes[greenlet] = place
        greenlet.link_value(self._on_user_end)

    def _on_user_end(self, greenlet: Any) -> None:
        """A user stopped itself: another takes its place, since arrivals do not get fewer."""
        lane = self._lanes.pop(greenlet)
        if self._running and not self._failure and (self._dispatcher.waiting or not self._dispatcher.finished):
            self._spawn(lane)

    def _take_over_task_loop(self) -> None:
        """Make Locust's task loop run one task per arrival, in place of its own pauses."""
        original, dispatcher = TaskSet.execute_next_task, self._dispatcher

        def execute_next_task(task_set: TaskSet) -> None:
            task = task_set._task_queue[0]
            if isinstance(task, type):  # a nested set: its tasks take their own arrivals
                original(task_set)
                return
            user = task_set.user
            due = dispatcher.take(user.slo_lane)
            try:
                user.begin_task(due)
                if type(task_set) is DefaultTaskSet:  # a plain function: Locust's way there asks twice what it is
                    task_set._task_queue.popleft()(user)
                else:
                    original(task_set)
            except StopTest as error:
                self._failure = f"the scenario stopped the test: {error or 'StopTest'}"
                raise
            except _CONTROL_FLOW:
                raise
            except Exception as error:  # noqa: BLE001 - the scenario is the user's code; its errors are data
                self._recorder.exception(getattr(task, "__name__", str(task)), due)
                self._report(error)
            finally:
                user.end_task()
                dispatcher.give_back(due)

        def on_user_error(user_instance: Any, exception: BaseException, tb: Any) -> None:
            """Raised outside of a task, such as by a task set's on_start: Locust would try again for ever."""
            user = getattr(user_instance, "user", user_instance)
            self._fail(f"{type(user).__name__} cannot go on", exception)

        TaskSet.execute_next_task = execute_next_task
        TaskSet.wait = lambda task_set: self._wait(task_set)
        self._environment.events.user_error.add_listener(on_user_error)

    def _wait(self, task_set: Any) -> None:
        """Between two tasks of a user. The timetable of an open load knows no pauses; in a closed one they are those
        that the scenario says, by Locust's own wait_time."""
        if self._failure:
            gevent.sleep(0.1)
        elif isinstance(self._dispatcher, UserPool):
            seconds = max(0.0, task_set.wait_time())
            self._dispatcher.pause(task_set.user.slo_lane, time.monotonic_ns() + round(seconds * _SECOND))
            gevent.sleep(seconds)  # with 0 too: a task that asks nobody must let others run

    def _report(self, error: BaseException) -> None:
        """Each kind of error once, with its traceback, in the worker's log."""
        kind = f"{type(error).__name__} {error}"
        if kind not in self._reported and len(self._reported) < 20:
            self._reported.add(kind)
            traceback.print_exception(error, file=sys.stderr)

    def _on_hub_error(self, context: Any, kind: Any, value: Any, trace: Any) -> None:
        """What was raised where nobody can catch it: by a user outside of its tasks, or by the machinery itself."""
        error = value if isinstance(value, BaseException) else kind(value)
        if isinstance(error, gevent.GreenletExit | StopUser | StopTest):
            return
        traceback.print_exception(kind, error, trace, file=sys.stderr)
        self._fail("a user ended" if context in self._lanes else "internal error", error)

    def _fail(self, what: str, error: BaseException) -> None:
        """End the run; the first reason is the one that is told."""
        if not self._failure:
            self._failure = f"{what}: {type(error).__name__}: {error}"

    def _flush(self) -> None:
        self._arrivals.flush(self._recorder.file)
        self._recorder.flush(lambda: gevent.sleep(0))

    @property
    def _patience(self) -> int:
        """How long a task that is under way may take."""
        return round(max(cls.timeout for cls in self._classes) * _SECOND) + DRAIN_GRACE_NS

    @property
    def _last_call(self) -> int:
        """When arrivals that still wait for a user are given up (CLOCK_MONOTONIC)."""
        return self._arrivals.origin_ns + self._plan.length_ns + self._patience

    @property
    def _deadline(self) -> int:
        """When what was under way then must be answered (CLOCK_MONOTONIC)."""
        return self._last_call + self._patience

    def _wait_until(self, moment: int) -> bool:
        """Sleep until `moment`, the deadline at the latest; True as soon as all is dispatched and answered and the
        phase is over, or it failed."""
        while (now := time.monotonic_ns()) < (until := min(moment, self._deadline)):
            idle = self._dispatcher.finished and not self._dispatcher.busy and not self._dispatcher.waiting
            over = now >= self._arrivals.origin_ns + self._plan.length_ns
            if self._failure or (over and idle):
                return True
            gevent.sleep(min(0.05, (until - now) / 1e9))
        return False

    def _settled(self) -> int:
        """How many whole seconds since the origin there are of which nothing is to come any more."""
        open_from = self._dispatcher.open_from
        if open_from is None:
            return -(-self._plan.length_ns // _SECOND)
        return max(0, open_from - self._arrivals.origin_ns) // _SECOND

    def _tick(self, elapsed: int) -> dict[str, Any]:
        plan, recent = self._plan, self._recorder.last_second
        middle = elapsed - _SECOND // 2  # a tick tells of the second before it
        _, done, failed = self._recorder.totals()
        return {
            "phase": "drain" if middle >= plan.length_ns else plan.phase_at(middle),
            "elapsed": elapsed / 1e9,
            "remaining": max(0, plan.length_ns - elapsed) / 1e9,
            "scheduled": self._arrivals.started_total if plan.closed else self._share,
            "done": done,
            "errors": failed,
            "in_flight": self._dispatcher.busy,
            "p99_ms": recent.quantile(0.99) / 1e6 if recent.count else None,
        }


def serve(plan: LoadPlan, index: int, out: Path, commands: Any, say: Say) -> int:
    """The conversation with the parent; returns the exit code."""
    try:
        classes = import_scenario(Path(plan.scenario))
    except ScenarioFailure as failure:
        sys.stderr.write(failure.trace)
        say({"failed": failure.as_dict()})
        return 1
    say({"imported": [cls.__name__ for cls in classes]})
    worker = Worker(plan, index, out, classes)
    if not (line := commands.readline()):
        return 0
    try:
        say({"ready": worker.prepare(json.loads(line)["host"])})
    except RuntimeError as error:
        say({"failed": {"kind": "prepare", "error": str(error)}})
        return 1
    gevent.signal_handler(signal.SIGTERM, lambda: (worker.finish("interrupted"), os._exit(0)))
    if not (line := commands.readline()):
        return 0
    gevent.spawn(listen, worker, commands)
    reason = worker.run(json.loads(line)["start"], say)
    say({"end": reason, "length": worker.length_ns})
    return 0


def listen(worker: Worker, commands: Any) -> None:
    """Take what the parent says while the load runs; at end of file it is gone, and so is this process."""
    while line := commands.readline():
        command = json.loads(line)
        if "end_at" in command:
            worker.end_at(command["end_at"])
        if "take_over" in command:
            worker.take_over([Claim.from_dict(claim) for claim in command["take_over"]])
    os._exit(3)


def main() -> None:
    if "--die-with-parent" in sys.argv:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    output = os.dup(1)
    os.dup2(2, 1)  # what a scenario prints goes to the log

    def say(message: dict[str, Any]) -> None:
        os.write(output, json.dumps(message).encode() + b"\n")

    plan, index = LoadPlan.from_dict(json.loads(Path(sys.argv[1]).read_text())), int(sys.argv[2])
    os.environ.update(plan.env)
    random.seed(plan.seed + index)
    code = serve(plan, index, Path(sys.argv[3]), FileObjectPosix(0, "rb"), say)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without waiting for threads that a scenario may have left


if __name__ == "__main__":
    main()
