"""All faults by name: what YAML, the command line, the fixture and the catalogue choose from."""

from __future__ import annotations

import difflib

from harness.core.errors import UsageError
from harness.faults.bandwidth import Bandwidth
from harness.faults.blackhole import Blackhole
from harness.faults.connection_limit import ConnectionLimit
from harness.faults.corrupt import Corrupt
from harness.faults.disk_full import DiskFull
from harness.faults.fault import Fault
from harness.faults.file_limit import FileLimit
from harness.faults.half_open import HalfOpen
from harness.faults.kill import Kill
from harness.faults.latency import Latency
from harness.faults.loki_refusing import LokiRefusing
from harness.faults.milvus_released import MilvusReleased
from harness.faults.pause import Pause
from harness.faults.postgres_connections import PostgresConnections
from harness.faults.postgres_lock import PostgresLock
from harness.faults.postgres_transaction import PostgresLongTransaction
from harness.faults.redis_memory import RedisMemory
from harness.faults.redis_slow import RedisSlow
from harness.faults.reset import Reset
from harness.faults.restart import Restart
from harness.faults.scrape_dropped import ScrapeDropped
from harness.faults.sink_stalled import SinkStalled
from harness.faults.slow_close import SlowClose
from harness.faults.slow_cpu import SlowCpu

_ALL: tuple[type[Fault], ...] = (
    Latency,
    Bandwidth,
    Reset,
    Blackhole,
    SlowClose,
    HalfOpen,
    Corrupt,
    ConnectionLimit,
    Pause,
    Kill,
    Restart,
    SlowCpu,
    FileLimit,
    DiskFull,
    PostgresLock,
    PostgresLongTransaction,
    PostgresConnections,
    RedisMemory,
    RedisSlow,
    MilvusReleased,
    ScrapeDropped,
    LokiRefusing,
    SinkStalled,
)
FAULTS: dict[str, type[Fault]] = {one.name: one for one in _ALL}


def fault_called(name: str) -> type[Fault]:
    """Raises UsageError fault-unknown, with the nearest name."""
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, 1, 0.5)
        meant = f"; is {near[0]!r} meant?" if near else ""
        raise UsageError("fault-unknown", f"no fault {name!r}{meant}", "`harness fault list` shows all.")
    return FAULTS[name]
