"""Data that drift: the fault on a real generator, which sends as long as the test lasts."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.faults import drifted
from harness.faults.drifted import Drifted
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent


class Labels:
    """Sends 0 and 1 in turns to a list; `{"flip": 3}` changes each third."""

    name = "labels"

    def __init__(self) -> None:
        self.items: list[int] = []
        self._lock = threading.Lock()
        self._every = self._changed = 0
        self.deaf = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for number in itertools.count():
            with self._lock:
                flip = self._every and number % self._every == 0
                self.items.append(number % 2 if not flip else 1 - number % 2)
                self._changed += bool(flip)
            if self._over.wait(0.001):
                return

    def set(self, change: Mapping[str, Any]) -> None:
        if set(change) != {"flip"}:
            raise UsageError("fault-parameter", f"labels cannot change {sorted(change)}", "Write flip.")
        with self._lock:
            self._every = change["flip"]

    def clear(self) -> None:
        if not self.deaf:
            with self._lock:
                self._every = 0

    def sent(self) -> tuple[int, int]:
        with self._lock:
            return len(self.items), self._changed

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def labels() -> Iterator[Labels]:
    one = Labels()
    yield one
    one.close()


def goes_on_unchanged(labels: Labels) -> bool:
    sent, changed = labels.sent()
    return wait_for(lambda: labels.sent()[0] > sent + 5) and labels.sent()[1] == changed


def test_labels_are_changed_while_it_is_in_force_and_not_before_or_after(labels: Labels) -> None:
    told: list[Event] = []
    before = labels.sent()
    with Drifted(labels, {"flip": 3}, emit=told.append) as fault:
        assert wait_for(lambda: fault.counters()["changed"] >= 3)
    assert before[1] == 0 and goes_on_unchanged(labels)
    wrong = [number for number, label in enumerate(labels.items) if label != number % 2]
    assert wrong and all(number % 3 == 0 for number in wrong)
    assert fault.counters()["changed"] == len(wrong) < fault.counters()["sent"]
    begin, end = told
    assert isinstance(begin, FaultEvent) and isinstance(end, FaultEvent)
    assert (begin.touches, begin.parameters["change"]) == (("stream labels",), {"flip": 3})
    assert "first changed item" in begin.how and "none was changed any more" in end.how
    assert end.counters["changed"] == len(wrong)


def test_an_exception_undoes_it(labels: Labels) -> None:
    with pytest.raises(ZeroDivisionError), Drifted(labels, {"flip": 1}):
        _ = 1 // 0
    assert goes_on_unchanged(labels)


def test_it_ends_by_itself_after_its_time(labels: Labels) -> None:
    with Drifted(labels, {"flip": 1}, lasting="50ms"):
        assert wait_for(lambda: goes_on_unchanged(labels))


def test_a_change_that_meets_nothing_is_an_error_and_is_cleared(
    labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drifted, "PATIENCE", 0.1)
    with pytest.raises(HarnessError) as raised:
        Drifted(labels, {"flip": 10**9}).begin()
    assert raised.value.slug == "fault-without-effect"
    assert labels._every == 0


def test_a_change_that_stays_is_an_error(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Drifted(labels, {"flip": 1})
    fault.begin()
    labels.deaf = True
    monkeypatch.setattr(drifted, "PATIENCE", 0.1)
    with pytest.raises(HarnessError) as raised:
        fault.end()
    assert raised.value.slug == "fault-not-undone"


def test_a_stream_says_no_and_a_stack_has_none(labels: Labels) -> None:
    with pytest.raises(UsageError, match="flop"):
        Drifted(labels, {"flop": 1}).begin()
    assert Drifted.lacking() == "no stream in this stack"
