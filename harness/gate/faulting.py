"""Faults while a run's load runs: each begins and ends on its time in a thread of its own, so that the load waits for
none of them; all have ended before evidence is gathered, however the load ends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.core.clock import mono_ns, wall_ns
from harness.core.errors import HarnessError
from harness.faults.fault import Fault
from harness.gate.faults import PlannedFault, touched
from harness.model.events import Event, FaultEvent, LogEvent
from harness.model.load_spec import Load
from harness.results.events import EventWriter
from harness.results.rundir import RunDir
from harness.slo.faults import FAULTS_EVIDENCE, SCHEMA
from harness.stack.runtime import Stack


@dataclass
class _Course:
    """One fault in the course of a run. Times are CLOCK_MONOTONIC, but for `begun` and `ended`, which have both.

    after: those that break the same thing before it; cut: it was ended, or kept from beginning, before its time.
    """

    planned: PlannedFault
    fault: Fault
    after: tuple[_Course, ...]
    asked_begin_ns: int | None = None
    asked_end_ns: int | None = None
    begun: FaultEvent | None = None
    ended: FaultEvent | None = None
    error: HarnessError | None = None
    cut: bool = False
    done: threading.Event = field(default_factory=threading.Event)


class FaultRun:
    """The faults of one run: `during` its load, with `tell` as often as wanted. False without any."""

    def __init__(self, faults: Sequence[PlannedFault], stack: Stack, run: RunDir, load: Load) -> None:
        """Makes all of them; nothing is broken yet. Raises HarnessError, as `Fault.on` does."""
        self._run, self._warmup_ns, self._steady_ns = run, load.warmup, load.duration
        self._origin_ns = self._origin_wall_ns = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._untold: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._writer: EventWriter | None = None
        self._futures: list[Future[None]] = []
        self._courses: list[_Course] = []
        for one in sorted(faults, key=lambda one: one.at_ns):
            self._courses.append(self._made(one, stack))

    def __bool__(self) -> bool:
        return bool(self._courses)

    def _made(self, planned: PlannedFault, stack: Stack) -> _Course:
        shared = touched(planned, stack.file)
        after = tuple(one for one in self._courses if touched(one.planned, stack.file) & shared)

        def emit(event: Event) -> None:
            assert isinstance(event, FaultEvent)
            if event.edge == "begin":
                course.begun = event
            else:
                course.ended = event
            self._emit(event)

        course = _Course(planned, planned.made.on(stack, planned.parameters, emit), after)
        return course

    @contextmanager
    def during(self, origin_ns: int, writer: EventWriter) -> Iterator[None]:
        """Follows the timetable during the block; at its end, by whatever that is, all have been ended and told."""
        self._start(origin_ns)
        try:
            yield
        finally:
            try:
                self._finish()
            finally:
                self.tell(writer)

    def _start(self, origin_ns: int) -> None:
        self._origin_ns, self._origin_wall_ns = origin_ns, origin_ns - mono_ns() + wall_ns()
        self._writer = self._run.writer("faults")
        self._write()
        pool = ThreadPoolExecutor(len(self._courses), "fault")
        self._futures = [pool.submit(self._follow, one) for one in self._courses]
        pool.shutdown(wait=False)

    def tell(self, writer: EventWriter) -> None:
        """Let the handlers of `writer` hear what has happened since, in the thread that calls this."""
        while not self._untold.empty():
            event = self._untold.get()
            for handler in writer.handlers:
                handler(event)

    def end_early(self) -> None:
        """End those that are in force, and begin no other; does not wait for it."""
        self._stop.set()

    def _finish(self) -> None:
        """End all, and wait until they are seen to be undone. What is no HarnessError is raised."""
        self._stop.set()
        wait(self._futures)
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._futures:
            future.result()

    def _follow(self, one: _Course) -> None:
        begin = self._origin_ns + self._warmup_ns + one.planned.at_ns
        try:
            if self._waits_until(begin):
                for other in one.after:
                    other.done.wait()
                if not self._stop.is_set():
                    self._hold(one)
                    return
            one.cut = True
        finally:
            one.done.set()
            self._write()

    def _hold(self, one: _Course) -> None:
        """`for` counts from when it was seen in force; the end of the steady phase is the end of all."""
        try:
            one.asked_begin_ns = mono_ns()
            one.fault.begin()
            self._write()
            seen = mono_ns() if one.begun is None else one.begun.confirmed_mono_ns
            end = self._origin_ns + self._warmup_ns + self._steady_ns
            one.cut = not self._waits_until(min(seen + one.planned.for_ns, end))
            one.asked_end_ns = mono_ns()
            one.fault.end()
        except HarnessError as error:
            one.error = error
            self._emit(LogEvent("warning", f"fault {one.planned.id}: {error.cause} [{error.slug}]"))

    def _waits_until(self, moment_ns: int) -> bool:
        """Whether that moment came before all were to end."""
        return not self._stop.wait(max(0, moment_ns - mono_ns()) / 1e9)

    def _emit(self, event: Event) -> None:
        with self._lock:
            if self._writer is not None:
                self._writer.emit(event)
        self._untold.put(event)

    def _write(self) -> None:
        """What is known by now, for a run that does not get to its end."""
        with self._lock:
            self._run.write(FAULTS_EVIDENCE, {"schema": SCHEMA, "faults": [self._told(one) for one in self._courses]})

    def _told(self, one: _Course) -> dict[str, Any]:
        begin = self._warmup_ns + one.planned.at_ns
        counters = (one.ended or one.begun).counters if one.begun is not None else {}
        error = one.error
        return {
            "id": one.planned.id,
            "fault": one.planned.made.name,
            "target": one.planned.target,
            "touches": sorted(one.fault.touches),
            "parameters": one.fault.parameters(),
            "planned": {"begin": self._time(begin), "end": self._time(begin + one.planned.for_ns)},
            "asked": {"begin": self._moment(one.asked_begin_ns), "end": self._moment(one.asked_end_ns)},
            "in_force": self._seen(one.begun),
            "undone": self._seen(one.ended),
            "cut": one.cut,
            "counters": dict(counters),
            "error": None
            if error is None
            else {"slug": error.slug, "cause": error.cause, "remedy": error.remedy, "outcome": error.outcome},
        }

    def _time(self, offset_ns: int) -> dict[str, int]:
        """ns after the origin, and on the wall clock."""
        return {"offset_ns": offset_ns, "wall_ns": self._origin_wall_ns + offset_ns}

    def _moment(self, moment_ns: int | None) -> dict[str, int] | None:
        return None if moment_ns is None else self._time(moment_ns - self._origin_ns)

    def _seen(self, event: FaultEvent | None) -> dict[str, Any] | None:
        if event is None:
            return None
        offset = event.confirmed_mono_ns - self._origin_ns
        return {"offset_ns": offset, "wall_ns": event.confirmed_wall_ns, "how": event.how}
