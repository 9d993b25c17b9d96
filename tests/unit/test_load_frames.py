"""Messages between machines: Locust reads ours, we read Locust's, and nonsense is nobody's; clocks by round trips."""

from __future__ import annotations

import subprocess
import sys

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.clock_offset import ClockOffset
from harness.load.frames import Message, pack, unpack

MESSAGE = Message("heartbeat", {"seq": 3, "samples": b"\x00\xff", "tick": None}, "node_1")
LOCUST = """\
import sys
from locust.rpc.protocol import Message
read = Message.unserialize(sys.stdin.buffer.read())
assert (read.type, read.data, read.node_id) == ("heartbeat", {"seq": 3, "samples": b"\\0\\xff", "tick": None}, "node_1")
sys.stdout.buffer.write(Message(read.type, read.data, read.node_id).serialize())
"""


def test_locust_reads_what_we_send_and_we_what_it_sends() -> None:
    said = subprocess.run([sys.executable, "-c", LOCUST], input=pack(MESSAGE), capture_output=True, check=True).stdout
    assert unpack(said) == MESSAGE


@given(st.binary(max_size=200))
def test_nonsense_is_no_message(frame: bytes) -> None:
    found = unpack(frame)
    assert found is None or isinstance(found, Message)


@pytest.mark.parametrize("value", [1, [], ["a", 1], ["a", 1, 2], [1, None, "n"], {"a": 1}, ["a", 1, "n", 4]])
def test_other_values_are_no_message(value: object) -> None:
    assert unpack(msgpack.packb(value)) is None


SMALL = st.integers(0, 10**9)


@given(st.integers(-(10**15), 10**15), st.lists(st.tuples(SMALL, SMALL, SMALL), min_size=1))
def test_an_offset_is_wrong_by_no_more_than_it_says(ahead: int, trips: list[tuple[int, int, int]]) -> None:
    clock, now = ClockOffset(), 10**18
    for wait, there, back in trips:
        now += wait
        clock.add(now, now + there + ahead, now + there + back)
        now += there + back
    assert clock.error_ns is not None and clock.trips == len(trips)
    assert clock.error_ns == min((there + back + 1) // 2 for _, there, back in trips)
    assert abs(clock.offset_ns - ahead) <= clock.error_ns
    assert clock.to_local(now + ahead + clock.offset_ns - ahead) == now
