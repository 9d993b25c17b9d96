"""Faults on links are undone, whatever happens to who set them; and what cannot be is told."""

from __future__ import annotations

import errno
import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.faults import (
    Bandwidth,
    ConnectionLimit,
    Corrupt,
    Latency,
    LinkFault,
    Reset,
    SlowClose,
)
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent
from harness.stack.links import Links
from tests.integration.forked import forked_child
from tests.integration.links_lab import EVERY, PATIENCE, A, Lab, ask, seconds_to_ask
from tests.integration.relay import Relay


def test_an_exception_undoes_it_and_is_what_is_raised(lab: Lab) -> None:
    with pytest.raises(ZeroDivisionError), Latency(lab.links, A, "1m"):
        _ = 1 // 0
    assert lab.in_force() == []


def test_an_event_that_cannot_be_written_leaves_no_fault(lab: Lab) -> None:
    def full(event: Event) -> None:
        raise OSError(errno.ENOSPC, "no space")

    fault = Latency(lab.links, A, "5ms", emit=full)  # held on to, so that nothing is closed because it is forgotten
    with pytest.raises(OSError, match="no space"):
        fault.begin()
    assert wait_for(lambda: lab.in_force() == [])


CLIENT = """
import signal, sys
from pathlib import Path
from harness.faults import {kind}
from harness.stack.links import Links
with {kind}(Links(Path({control!r}), {near!r}), {link!r}, {arguments} expect_traffic=False):
    print("in force", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
@pytest.mark.parametrize(("kind", "arguments"), [("Latency", "'10m',"), ("Blackhole", ""), ("Reset", "")])
def test_the_end_of_the_client_ends_the_fault(lab: Lab, kind: str, arguments: str, signum: signal.Signals) -> None:
    text = CLIENT.format(kind=kind, arguments=arguments, control=str(lab.links.control), near=dict(lab.near), link=A)
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"in force\n"
        assert lab.in_force() == [kind.lower()]
        client.send_signal(signum)
        client.wait(PATIENCE)
    assert wait_for(lambda: lab.in_force() == [])
    with lab.connect() as after:
        assert ask(after) == b"hello"


def test_a_forked_child_does_not_keep_it_alive(lab: Lab) -> None:
    fault = Latency(lab.links, A, "10m", expect_traffic=False)
    fault.begin()
    with forked_child():
        fault._abandon()  # as the kernel does when this process ends
        assert wait_for(lambda: lab.in_force() == [])


def test_it_ends_by_itself_after_its_time_and_that_is_no_error(lab: Lab) -> None:
    told: list[Event] = []
    with lab.connect() as client, Latency(lab.links, A, "20ms", lasting="400ms", emit=told.append):
        assert seconds_to_ask(client) >= 0.02
        assert wait_for(lambda: lab.in_force() == [])
        assert ask(client) == b"hello"
    end = told[-1]
    assert isinstance(end, FaultEvent) and end.how.startswith("it had ended by itself")


# errors


def test_a_fault_that_nothing_met_is_an_error_though_it_is_undone(lab: Lab) -> None:
    with pytest.raises(HarnessError) as raised, Latency(lab.links, A, "5ms"):
        pass
    assert raised.value.slug == "fault-without-effect"
    assert "nothing met it" in raised.value.cause


@pytest.mark.parametrize(("make", "slug", "word"), [
    (lambda links: Latency(links, "a->ecko", "5ms"), "link-unknown", "'a->echo'"),
    (lambda links: Latency(links, A, "5 parsecs"), "fault-parameter", "5 parsecs"),
    (lambda links: Latency(links, A, "5ms", jitter="6ms"), "fault-parameter", "jitter"),
    (lambda links: Latency(links, A, "5ms", direction="sideways"), "fault-parameter", "sideways"),
    (lambda links: Latency(links, A, "0s"), "fault-parameter", "no fault"),
    (lambda links: Bandwidth(links, A, 0), "fault-parameter", "rate"),
    (lambda links: Corrupt(links, A, 1.5), "fault-parameter", "1.5"),
    (lambda links: ConnectionLimit(links, A, 5000), "fault-parameter", "5000"),
    (lambda links: Reset(links, A, open=False, new=False), "fault-parameter", "neither"),
    (lambda links: SlowClose(links, A, "0s"), "fault-parameter", "delay"),
])  # fmt: skip
def test_what_cannot_be_is_refused(lab: Lab, make: Callable[[Links], LinkFault], slug: str, word: str) -> None:
    with pytest.raises(UsageError) as raised:
        make(lab.links).begin()
    assert raised.value.slug == slug
    assert word in raised.value.cause


def test_a_fault_that_a_probe_does_not_see_is_an_error_and_nothing_is_left(lab: Lab, tmp_path: Path) -> None:
    def set_next_to_nothing(request: dict[str, Any]) -> dict[str, Any]:
        nothing = {"fault": "latency", "parameters": {"delay": 1e-6}, "direction": "down"}
        return request | nothing if request["op"] == "set" else request

    near = tmp_path / "control"
    with Relay(str(near), str(lab.links.control), set_next_to_nothing):
        for make in EVERY.values():
            with pytest.raises(HarnessError) as raised:
                make(Links(near, lab.near)).begin()
            assert raised.value.slug == "fault-without-effect"
            assert wait_for(lambda: lab.in_force() == [])


@pytest.mark.parametrize("name", ["latency", "connection-limit"])  # an echo shows the one, the proxy's list the other
def test_a_fault_that_stays_is_an_error(lab: Lab, tmp_path: Path, name: str) -> None:
    def never_end(request: dict[str, Any]) -> dict[str, Any]:
        return request | {"op": "counters"} if request["op"] == "end" else request

    near = tmp_path / "control"
    with Relay(str(near), str(lab.links.control), never_end):
        fault = EVERY[name](Links(near, lab.near))
        fault.begin()
        with pytest.raises(HarnessError) as raised:
            fault.end()
        assert raised.value.slug == "fault-not-undone"
        assert wait_for(lambda: lab.in_force() == []), "the connection has ended, and the fault with it"


def test_a_proxy_that_is_gone_is_told(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    fault = Latency(lab.links, A, "5ms")
    fault.begin()
    lab.close()
    for call in (fault.end, Latency(lab.links, A, "5ms").begin):
        with pytest.raises(HarnessError) as raised:
            call()
        assert raised.value.slug == "links-lost"


def test_the_control_channel_survives_whatever_is_sent(lab: Lab) -> None:
    for line in (b"\n", b"[]\n", b"{}\n", b'{"op": 1}\n', b"\xff\n", b"x" * 100_000, b'{"op": "end", "id": "?"}\n'):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(PATIENCE)
            raw.connect(str(lab.links.control))
            raw.sendall(line)
            raw.shutdown(socket.SHUT_WR)
            answer = b"".join(itertools.takewhile(bool, iter(lambda raw=raw: raw.recv(4096), None)))
            assert answer == b"" or b'"ok":false' in answer
    assert lab.in_force() == []
