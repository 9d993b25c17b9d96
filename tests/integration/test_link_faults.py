"""Faults on links as a client of the link meets them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import random
import socket
import statistics
import threading
import time

import pytest

from harness.faults import (
    Bandwidth,
    Blackhole,
    ConnectionLimit,
    Corrupt,
    HalfOpen,
    Latency,
    Reset,
    SlowClose,
)
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent
from tests.integration.links_lab import EVERY, PATIENCE, A, Lab, ask, read, seconds_to_ask


def is_reset(client: socket.socket) -> bool:
    try:
        client.sendall(b"x")
        client.recv(1)
    except OSError as error:
        return error.errno in (errno.ECONNRESET, errno.EPIPE)
    return False


def is_turned_away(lab: Lab) -> bool:
    """Whether a new connection gets RST: while connect(2) still looks, or at the first byte."""
    try:
        with lab.connect() as client:
            return is_reset(client)
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("name", EVERY)
def test_each_is_confirmed_told_as_events_and_undone(lab: Lab, name: str) -> None:
    told: list[Event] = []
    fault = EVERY[name](lab.links)
    fault._emit = told.append
    with fault:
        assert lab.in_force() == [fault.name]
    begin, end = told
    assert isinstance(begin, FaultEvent) and isinstance(end, FaultEvent)
    assert (begin.fault, begin.edge, end.edge) == (fault.name, "begin", "end")
    assert begin.touches == ("link a->echo",)
    assert begin.how and end.how
    assert begin.confirmed_mono_ns < end.confirmed_mono_ns
    assert set(end.counters.values()) == {0}, "probes are not counted as traffic"


# what a user sees


def test_latency_shifts_the_median_and_only_while_it_lasts(lab: Lab) -> None:
    with lab.connect() as client:
        before = statistics.median(seconds_to_ask(client) for _ in range(15))
        with Latency(lab.links, A, "80ms") as fault:
            during = [seconds_to_ask(client) for _ in range(15)]
            assert fault.counters()["delayed"] == 15
        after = statistics.median(seconds_to_ask(client) for _ in range(15))
    assert min(during) >= 0.08
    assert statistics.median(during) - before > 0.07
    assert after < 0.08


def test_latency_in_both_directions_counts_twice(lab: Lab) -> None:
    with lab.connect() as client, Latency(lab.links, A, "40ms", direction="both"):
        assert seconds_to_ask(client) >= 0.08


def test_bandwidth_is_shared_by_the_connections_of_the_link(lab: Lab) -> None:
    took: list[float] = []

    def transfer() -> None:
        with lab.connect() as client:
            began = time.monotonic()
            assert ask(client, bytes(20_000)) == bytes(20_000)
            took.append(time.monotonic() - began)

    with Bandwidth(lab.links, A, 100_000, direction="down") as fault:
        threads = [threading.Thread(target=transfer) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        counters = fault.counters()
    assert len(took) == 2
    assert max(took) >= 0.38, "40,000 bytes at 100,000 a second"
    assert (counters["bytes"], counters["connections"]) == (40_000, 2)
    assert counters["throttled"] > 10


def test_reset_ends_open_connections_and_new_ones(lab: Lab) -> None:
    ends = len(lab.servers[A].ends)
    with lab.connect() as client:
        assert ask(client) == b"hello"
        with Reset(lab.links, A) as fault:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert is_turned_away(lab)
            assert wait_for(lambda: lab.servers[A].ends[ends:] == ["reset"]), "the server's end too, and no second one"
            assert (fault.counters()["reset"], fault.counters()["refused"]) == (1, 1)


def test_reset_of_open_connections_alone_lets_new_ones_in(lab: Lab) -> None:
    with lab.connect() as client:
        assert ask(client) == b"hello"
        with Reset(lab.links, A, new=False), lab.connect() as late:
            assert ask(late) == b"hello"
            assert is_reset(client)


def test_reset_of_new_connections_alone_leaves_open_ones(lab: Lab) -> None:
    with lab.connect() as client:
        assert ask(client) == b"hello"
        with Reset(lab.links, A, open=False):
            assert is_turned_away(lab)
            assert ask(client) == b"hello"


def test_a_blackhole_is_silence_and_then_a_reset_for_who_lost_something(lab: Lab) -> None:
    with lab.connect() as talker, lab.connect() as sleeper:
        assert ask(talker) == ask(sleeper) == b"hello"
        with Blackhole(lab.links, A) as fault:
            talker.sendall(b"anyone?")
            talker.settimeout(0.3)
            with pytest.raises(TimeoutError):
                talker.recv(1)
            with lab.connect() as late:  # connecting is possible, and that is all
                late.settimeout(0.3)
                late.sendall(b"?")
                with pytest.raises(TimeoutError):
                    late.recv(1)
            assert fault.counters()["swallowed"] == len(b"anyone?" + b"?")
        talker.settimeout(PATIENCE)
        with pytest.raises(ConnectionResetError):
            talker.recv(1)
        assert ask(sleeper) == b"hello", "its stream has no hole"


def test_a_blackhole_upwards_lets_the_server_speak(lab: Lab) -> None:
    with lab.connect() as client:
        with Blackhole(lab.links, A, direction="up") as fault:
            client.sendall(b"lost")
            assert wait_for(lambda: fault.counters()["swallowed"] == 4)
        assert is_reset(client)


def test_slow_close_delays_the_end_and_not_the_data(lab: Lab) -> None:
    with lab.connect() as client, SlowClose(lab.links, A, "300ms", direction="down") as fault:
        assert ask(client) == b"hello"
        began = time.monotonic()
        client.sendall(b"close\n")
        assert client.recv(1) == b""
        assert time.monotonic() - began >= 0.3
        assert fault.counters()["held"] == 1


def test_half_open_hides_that_the_server_has_gone_until_it_ends(lab: Lab) -> None:
    with lab.connect() as client:
        assert ask(client) == b"hello"
        with HalfOpen(lab.links, A, direction="down") as fault:
            client.sendall(b"close\n")
            assert wait_for(lambda: fault.counters()["held"] == 1)
            client.settimeout(0.3)
            for _ in range(2):  # the second is sent to a server that has answered the first with RST
                client.sendall(b"still there?")
                with pytest.raises(TimeoutError):
                    client.recv(1)
        client.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_half_open_hides_that_the_client_has_gone(lab: Lab) -> None:
    ends = len(lab.servers[A].ends)
    client = lab.connect()
    assert ask(client) == b"hello"
    with HalfOpen(lab.links, A, direction="up") as fault:
        client.close()
        assert wait_for(lambda: fault.counters()["held"] >= 1)
        assert len(lab.servers[A].ends) == ends
    assert wait_for(lambda: len(lab.servers[A].ends) == ends + 1)


def test_corruption_changes_about_the_share_and_the_same_places_with_one_seed(lab: Lab) -> None:
    data = random.Random(1).randbytes(200_000)

    def places(seed: int) -> set[int]:
        with Corrupt(lab.links, A, 1e-3, direction="down", seed=seed) as fault, lab.connect() as client:
            thread = threading.Thread(target=client.sendall, args=(data,))
            thread.start()
            got = read(client, len(data))
            thread.join()
            found = {at for at, (one, other) in enumerate(zip(data, got, strict=True)) if one != other}
            assert fault.counters()["corrupted"] == len(found)
        return found

    first = places(1)
    assert 100 < len(first) < 320
    assert places(1) == first != places(2)


def test_a_connection_limit_refuses_one_more_and_takes_it_when_one_has_left(lab: Lab) -> None:
    with ConnectionLimit(lab.links, A, 2) as fault:
        first, second = lab.connect(), lab.connect()
        assert ask(first) == ask(second) == b"hello"
        assert is_turned_away(lab)
        first.close()
        assert wait_for(lambda: lab.open_connections() == 1)
        with lab.connect() as fourth:
            assert ask(fourth) == b"hello"
        second.close()
        assert fault.counters()["refused"] == 1


# bytes, order, and faults side by side


@pytest.mark.parametrize("size", [1, 50_000])
def test_bytes_arrive_whole_and_in_order_under_latency_jitter_and_bandwidth(lab: Lab, size: int) -> None:
    pieces = [random.Random(n).randbytes(size) for n in range(60)]
    data = b"".join(pieces)
    slow = Latency(lab.links, A, "20ms", jitter="20ms", direction="both", seed=3)
    with slow, Bandwidth(lab.links, A, 8e6, expect_traffic=size > 1), lab.connect() as client:

        def send() -> None:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        got = read(client, len(data))
        thread.join(PATIENCE)
        assert client.recv(1) == b"", "and the end after the last byte"
    assert got == data


def test_what_latency_holds_arrives_at_once_and_in_order_when_it_ends(lab: Lab) -> None:
    with lab.connect() as client:
        assert ask(client) == b"hello"
        with Latency(lab.links, A, "10m") as fault:
            for number in range(50):
                client.sendall(b"%03d" % number)
            assert wait_for(lambda: fault.counters()["bytes"] == 150)
        client.sendall(b"end")
        assert read(client, 153) == b"".join(b"%03d" % number for number in range(50)) + b"end"


def test_what_is_under_way_is_bounded_and_all_of_it_arrives(lab: Lab) -> None:
    with lab.connect() as client:
        digest, sent = hashlib.sha256(), 0
        with Latency(lab.links, A, "10m", direction="up") as fault:
            client.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                while sent < 256 << 20:
                    piece = random.Random(sent).randbytes(1 << 16)
                    taken = client.send(piece)
                    digest.update(piece[:taken])
                    sent += taken
            assert sent < 64 << 20, "the sender was never slowed"
            assert fault.counters()["bytes"] < 8 << 20
        client.settimeout(PATIENCE)
        assert hashlib.sha256(read(client, sent)).digest() == digest.digest()


def test_two_faults_on_one_link_add_up_and_end_apart(lab: Lab) -> None:
    with lab.connect() as client:
        with Latency(lab.links, A, "60ms"):
            with Latency(lab.links, A, "50ms", direction="up"), Corrupt(lab.links, A, 1.0, direction="up") as changed:
                client.sendall(b"hello")
                began = time.monotonic()
                assert read(client, 5) != b"hello"
                assert time.monotonic() - began >= 0.1
                assert changed.counters()["corrupted"] == 5
                assert sorted(lab.in_force()) == ["corrupt", "latency", "latency"]
            assert seconds_to_ask(client) >= 0.06
        assert ask(client) == b"hello"


def test_a_fault_can_be_confirmed_and_undone_while_another_stops_everything(lab: Lab) -> None:
    with Blackhole(lab.links, A, expect_traffic=False), Latency(lab.links, A, "5ms", expect_traffic=False):
        pass


def test_a_fault_on_one_link_leaves_the_other_alone(lab: Lab) -> None:
    with lab.connect("b->echo") as other:
        for make in EVERY.values():
            with make(lab.links):
                assert ask(other) == b"hello"
                with lab.connect("b->echo") as late:
                    assert ask(late) == b"hello"
