"""`harness doctor` on made-up readings: what each check says, what would come of validations."""

from __future__ import annotations

import re
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.gate.forecast import Lack, find_validations, forecast
from harness.gate.run import Planned, plan
from harness.model.builtins import BUILTINS
from harness.model.stackfile import load_stackfile
from harness.report.fitness import reasons, summary
from harness.stack.availability import Unavailable
from harness.stack.machine import capacity, moments, programs, rights, stacks, surroundings
from harness.stack.machine.capacity import Cores, Disk, Files, Memory, Shm
from harness.stack.machine.cgroups import cpu_quota, memory_left
from harness.stack.machine.check import MIB, NAMES, Check, size
from harness.stack.machine.examine import Examination
from harness.stack.machine.programs import Program, ServicePrograms
from harness.stack.machine.rights import Ports, Refused
from harness.stack.machine.sample import Sample, read_clocks, read_cpu, read_sample, shares
from harness.stack.machine.stacks import FoundStack
from harness.stack.machine.surroundings import Engine, Interpreter, read_engine

ROOT = Path(__file__).parent.parent.parent
GIB = 1024 * MIB
QUIET = Sample(1.0, 0.05, 0.0, 0.0, "yes", 1e-9, tuple(1e-4 for _ in range(900)), (0.1, 0.2, 0.3))
STACK = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: tiny}
spec:
  services:
    redis: {use: redis}
    redis-exporter: {use: redis-exporter}
    prometheus: {use: prometheus}
    web: {command: [sleep, "9"], ports: [http], needs: [redis]}
  scrape: {redis: redis-exporter.http}
  target: web.http
"""
VALIDATION = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: quick}
spec:
  scenario: scenario.py
  load: {executor: constant-arrival-rate, rate: 10, duration: 1s}
  thresholds: {"errors{name:search}": ["rate<1%"]}
  objectives: [quick.openslo.yaml]
"""
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: commands}
spec:
  service: redis
  indicator:
    metadata: {name: commands}
    spec:
      thresholdMetric:
        metricSource: {type: Prometheus, spec: {query: 'redis_up{job="redis"}'}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: up, op: gte, value: 1, target: 0.99}]
"""
GONE = Unavailable("missing-binary", "no such program", "get it")


def states(*checks: Check | None) -> list[str]:
    return [check.state for check in checks if check is not None]


def test_every_check_has_its_line_in_the_page_and_every_line_its_check() -> None:
    page = (ROOT / "docs/doctor.md").read_text()
    assert re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE) == list(NAMES)


def test_python() -> None:
    told = Interpreter((3, 11, 2), "/usr/bin/python3", "0.1.0", "Linux-6")
    assert "Python 3.11.2, slo-harness 0.1.0" in surroundings.check_python(told).found
    assert states(surroundings.check_python(told)) == ["ok"]
    assert states(surroundings.check_python(replace(told, version=(3, 10, 9)))) == ["problem"]


def test_programs() -> None:
    have = ServicePrograms("redis", "ready", (Program("redis-server", "7.0", "path", "/usr/bin/redis-server"),))
    lost = ServicePrograms("milvus", "unavailable", (), "missing-binary", "milvus is nowhere", "point X at it")
    follows = ServicePrograms("fill", "unavailable", (), "needs-unavailable", "fill needs milvus", "point X at it")
    broken = ServicePrograms("loki", "broken", (), "broken-binary", "loki does not run: no such file", "remove it")
    assert states(programs.check_programs([have], {"redis"})) == ["ok"]
    some = programs.check_programs([have, lost, follows], {"redis"})
    assert some.state == "warning"
    assert some.found == "2 of 3 services cannot be had here: milvus, fill"
    assert some.remedy == "run `harness stack install --yes`"
    fatal = programs.check_programs([have, lost, follows], {"redis", "milvus"})
    assert fatal.state == "problem" and "without milvus no stack comes up" in fatal.found
    worst = programs.check_programs([have, lost, broken], {"redis"})
    assert (worst.state, worst.found, worst.remedy) == ("problem", "loki: loki does not run: no such file", "remove it")


def test_a_program_that_does_not_run_is_told_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stack.yaml").write_text(STACK.replace("[sleep,", "[no-such-program,"))
    file = load_stackfile(tmp_path / "stack.yaml")[0]
    wreck = tmp_path / "wreck"
    wreck.write_bytes(b"\x7fELF, but no more of it")
    wreck.chmod(0o755)
    monkeypatch.setenv("SLO_HARNESS_TOOL_REDIS_SERVER", str(wreck))
    monkeypatch.setenv("SLO_HARNESS_TOOL_PROMETHEUS", str(wreck))
    found = {
        one.service: one for one in programs.read_programs(file, tmp_path, {"prometheus": GONE, "redis-exporter": GONE})
    }
    assert (found["redis"].state, found["redis"].slug) == ("broken", "broken-binary")
    assert (found["prometheus"].state, found["prometheus"].cause) == ("unavailable", "no such program")
    assert (found["web"].state, found["web"].slug) == ("broken", "missing-command")
    assert "no-such-program" in found["web"].cause


def test_isolation() -> None:
    assert states(*(rights.check_isolation(kind) for kind in ("pidns", "userns", "subreaper"))) == [
        "ok",
        "ok",
        "warning",
    ]
    refused = rights.check_isolation(Refused("tool-missing", "flock is not installed", "Install it"))
    assert (refused.state, refused.found, refused.remedy) == ("problem", "flock is not installed", "Install it")


def test_mounts() -> None:
    assert states(rights.check_mounts(True), rights.check_mounts(False)) == ["ok", "warning"]


def test_ports() -> None:
    free = Ports(30, 20_064, None, ())
    assert states(rights.check_ports(free, [])) == ["ok"]
    assert "20064" in rights.check_ports(free, []).found
    none = replace(free, first=None, refused=Refused("no-ports", "no block of 64 ports", "End stacks"))
    assert states(rights.check_ports(none, [])) == ["problem"]
    taken = replace(free, taken=(("web.http", 8080, Refused("port-taken", "8080 is taken by nginx", "End it")),))
    refused = rights.check_ports(taken, [])
    assert (refused.state, refused.found, refused.remedy) == ("problem", "8080 is taken by nginx", "End it")
    ours = FoundStack("abc", "up", "/x/stack.yaml", frozenset({8080}), usable=True)
    assert states(rights.check_ports(taken, [ours])) == ["ok"]
    stale = rights.check_ports(taken, [replace(ours, usable=False)])
    assert (stale.state, stale.remedy) == ("problem", "harness stack down abc")


def test_a_fixed_port_that_somebody_has_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        (tmp_path / "stack.yaml").write_text(STACK.replace("ports: [http]", f"ports: {{http: {number}}}"))
        read = rights.read_ports(load_stackfile(tmp_path / "stack.yaml")[0])
    assert [(place, port) for place, port, _ in read.taken] == [("web.http", number)]
    assert rights.check_ports(read, []).numbers["taken"] == {"web.http": number}


def test_files() -> None:
    assert states(capacity.check_files(Files(1024, 4096), None)) == ["ok"]
    assert states(capacity.check_files(Files(1024, 4096), 120)) == ["ok"]
    low = capacity.check_files(Files(1024, 4096), 1000)
    assert (low.state, low.remedy) == ("warning", "ulimit -n 2512 in the shell that starts it.")
    assert "hard limit to 2512" in capacity.check_files(Files(1024, 1024), 1000).remedy


def test_cores() -> None:
    assert states(capacity.check_cores(Cores(2, 2, None)), capacity.check_cores(Cores(8, 1, None))) == ["ok", "warning"]
    narrow = capacity.check_cores(Cores(8, 8, 1.5))
    assert (narrow.state, narrow.found) == ("warning", "1.5 usable of 8 (a quota of 1.5)")


def test_memory() -> None:
    need = GIB
    assert states(capacity.check_memory(Memory(4 * GIB, 2 * GIB, None), need)) == ["ok"]
    assert states(capacity.check_memory(Memory(4 * GIB, 900 * MIB, None), need)) == ["warning"]
    boxed = capacity.check_memory(Memory(64 * GIB, 60 * GIB, 400 * MIB), need)
    assert boxed.state == "problem" and "400 MiB available of 64.0 GiB (limited by its control group)" in boxed.found
    assert states(capacity.check_memory(Memory(GIB, 10 * MIB, None), None)) == ["ok"]
    assert capacity.MEMORY_MIB.keys() == BUILTINS.keys()


def test_the_memory_that_a_stack_needs_is_of_what_can_be_had(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK)
    file = load_stackfile(tmp_path / "stack.yaml")[0]
    whole, less = capacity.memory_needed(file, {}), capacity.memory_needed(file, {"prometheus": GONE})
    assert whole - less == capacity.MEMORY_MIB["prometheus"] * MIB
    assert size(whole) == "420 MiB" and size(1.5 * GIB) == "1.5 GiB"


def test_disk(tmp_path: Path) -> None:
    roomy = Disk("the cache", "/cache", 20 * GIB, True)
    assert states(capacity.check_disk((roomy,))) == ["ok"]
    assert states(capacity.check_disk((roomy, replace(roomy, what="state", free=GIB)))) == ["warning"]
    assert states(capacity.check_disk((roomy, replace(roomy, what="state", free=100 * MIB)))) == ["problem"]
    locked = capacity.check_disk((roomy, replace(roomy, what="state", path="/state", writable=False)))
    assert locked.state == "problem" and "may not write /state" in locked.found
    assert capacity.read_disk("it", tmp_path / "not/there/yet").free > 0
    assert capacity.read_disk("it", tmp_path / ("n" * 300) / "x").free > 0  # not even looking there is possible
    assert not (tmp_path / "not").exists()


def test_shm(tmp_path: Path) -> None:
    small = Shm(10 * MIB)
    assert states(capacity.check_shm(small, "pidns"), capacity.check_shm(small, "subreaper")) == ["ok", "warning"]
    assert states(capacity.check_shm(Shm(GIB), "subreaper"), capacity.check_shm(Shm(None), "")) == ["ok", "warning"]
    assert capacity.read_shm(tmp_path / "nowhere") == Shm(None)


def test_load() -> None:
    assert states(moments.check_load(QUIET, 2)) == ["ok"]
    assert states(moments.check_load(replace(QUIET, busy=0.9), 2)) == ["warning"]
    assert states(moments.check_load(replace(QUIET, load=(2.5, 1.0, 1.0)), 2)) == ["warning"]
    assert "90% busy" in moments.check_load(replace(QUIET, busy=0.9), 2).found


def test_steal() -> None:
    assert states(moments.check_steal(replace(QUIET, steal=0.05))) == ["ok"]
    stolen = moments.check_steal(replace(QUIET, steal=0.081))
    assert stolen.state == "warning" and "8.1%" in stolen.found and "not to be trusted" in stolen.remedy


def test_clock() -> None:
    assert states(moments.check_clock(QUIET), moments.check_clock(replace(QUIET, synchronised="no"))) == ["ok", "ok"]
    assert "is unknown" in moments.check_clock(replace(QUIET, synchronised="unknown")).found
    ahead, behind = (moments.check_clock(replace(QUIET, step=step)) for step in (0.25, -0.25))
    assert states(ahead, behind) == ["warning", "warning"]
    assert "250ms ahead of" in ahead.found and "250ms behind" in behind.found


def test_timer() -> None:
    late = replace(QUIET, oversleeps=tuple([1e-4] * 98 + [8e-3, 9e-3]))
    assert states(moments.check_timer(QUIET), moments.check_timer(late)) == ["ok", "warning"]
    assert states(moments.check_timer(late, 15_000_000)) == ["ok"]
    assert "p99 8ms" in moments.check_timer(late).found
    assert states(moments.check_timer(replace(QUIET, resolution=0.004))) == ["warning"]
    assert states(moments.check_timer(replace(QUIET, oversleeps=()))) == ["ok"]


def test_environment() -> None:
    assert surroundings.check_environment({"PATH": "/bin", "HTTPS_PROXY": ""}) is None
    harmless = surroundings.check_environment(
        {"https_proxy": "http://user:secret@p", "SLO_HARNESS_ISOLATION": "userns"}
    )
    assert harmless is not None and harmless.state == "ok" and "secret" not in str(harmless)
    assert "https_proxy: ignored" in harmless.found and "SLO_HARNESS_ISOLATION: obeyed" in harmless.found
    slow = surroundings.check_environment({"PYTHONDEVMODE": "1"})
    assert slow is not None and slow.state == "warning" and "unset PYTHONDEVMODE" in slow.remedy


def test_docker_is_information_and_never_a_problem() -> None:
    engines = [
        Engine("unix:///x", False, "24.0"),
        Engine("unix:///x", True, "", "it does not answer"),
        Engine("", False, "", "no engine is here"),
    ]
    checks = [surroundings.check_docker(engine) for engine in engines]
    assert states(*checks) == ["ok"] * 3
    assert "engine 24.0 at unix:///x" in checks[0].found and "(DOCKER_HOST)" in checks[1].found


@pytest.mark.parametrize(
    ("answer", "version", "why"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"Version":"24.0.7"}', "24.0.7", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "", "TypeError"),
        (b"SSH-2.0-something else\r\n", "", "BadStatusLine"),
        (b"", "", "RemoteDisconnected"),
    ],
)
def test_whatever_sits_on_the_socket_of_docker_is_told(tmp_path: Path, answer: bytes, version: str, why: str) -> None:
    place = tmp_path / "s"

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        engine = read_engine({"DOCKER_HOST": f"unix://{place}"})
        server.join()
    assert (engine.version, engine.named) == (version, True)
    assert why in engine.why


def test_an_engine_elsewhere_is_not_asked_and_its_address_not_shown() -> None:
    engine = read_engine({"DOCKER_HOST": "tcp://user:secret@builder:2376"})
    assert not engine.version and "not asked" in engine.why and "secret" not in str(engine)
    assert "No such file" in read_engine({"DOCKER_HOST": "unix:///no/such/socket"}).why


def test_stacks() -> None:
    assert states(stacks.check_stacks([])) == ["ok"]
    up = FoundStack("aaa", "up", "/x/stack.yaml", usable=True)
    assert states(stacks.check_stacks([up])) == ["ok"]
    other = stacks.check_stacks([replace(up, usable=False)])
    assert (other.state, other.remedy) == ("warning", "harness stack down aaa")
    assert "held by a run" in stacks.check_stacks([replace(up, kind="leased")]).found
    left = stacks.check_stacks([FoundStack("bbb", "left over")])
    assert left.state == "warning" and "next stack starts" in left.remedy


def test_a_directory_that_nobody_holds_is_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert stacks.read_stacks(None) == []
    (tmp_path / "slo-harness/stacks/dead").mkdir(parents=True)
    assert stacks.read_stacks(None) == [FoundStack("dead", "left over")]


def test_shares_of_the_processors_time_are_of_what_passed_between(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text("cpu  100 0 100 700 50 0 0 50 7 7\ncpu0 ...\n")
    before = read_cpu(path)
    path.write_text("cpu  130 0 110 740 60 0 0 60 7 7\n")
    assert shares(before, read_cpu(path)) == (0.4, 0.1)
    assert shares(before, before) == (0.0, 0.0)
    path.write_text("cpu  1 2 3 4\n")  # an old kernel
    assert read_cpu(path)["steal"] == 0


def test_two_clocks_are_compared_at_the_moment_when_they_were_read_closest_together() -> None:
    mono = iter([0, 9_000_000, 10_000_000, 10_000_002])  # the first pair was interrupted between its readings
    wall = iter([50_000_000, 110_000_001])
    assert read_clocks(lambda: next(mono), lambda: next(wall), tries=2) == (10_000_001, 110_000_001)


def test_a_sample_of_this_machine_is_sane() -> None:
    sample = read_sample(0.05)
    assert 0 <= sample.busy <= 1 and 0 <= sample.steal <= 1
    assert sample.oversleeps == tuple(sorted(sample.oversleeps)) and sample.oversleeps
    assert sample.seconds >= 0.05
    assert sample.synchronised in ("yes", "no", "unknown")


def test_limits_of_version_2_groups_are_the_narrowest_on_the_way_up(tmp_path: Path) -> None:
    inner = tmp_path / "cgroup/slice/unit"
    inner.mkdir(parents=True)
    groups = tmp_path / "groups"
    groups.write_text("0::/slice/unit\n")
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("150000 100000\n")
    (inner / "memory.max").write_text("1000\n")
    (inner / "memory.current").write_text("900\n")
    (inner / "memory.stat").write_text("anon 600\ninactive_file 200\n")
    (inner.parent / "memory.max").write_text("max\n")
    assert cpu_quota(tmp_path / "cgroup", groups) == 1.5
    assert memory_left(tmp_path / "cgroup", groups) == 300


def test_limits_of_version_1_groups_and_none_at_all(tmp_path: Path) -> None:
    root, groups = tmp_path / "cgroup", tmp_path / "groups"
    groups.write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n")
    for name in ("memory", "cpu,cpuacct"):  # as a container sees it: its own group is the mount
        (root / name).mkdir(parents=True)
    (root / "cpu,cpuacct/cpu.cfs_quota_us").write_text("50000\n")
    (root / "cpu,cpuacct/cpu.cfs_period_us").write_text("100000\n")
    (root / "memory/memory.limit_in_bytes").write_text(f"{1 << 30}\n")
    (root / "memory/memory.usage_in_bytes").write_text(f"{1 << 29}\n")
    assert cpu_quota(root, groups) == 0.5
    assert memory_left(root, groups) == 1 << 29
    (root / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (root / "cpu,cpuacct/cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_quota(root, groups) is None and memory_left(root, groups) is None
    assert cpu_quota(root, tmp_path / "nowhere") is None


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    (tmp_path / "stack.yaml").write_text(STACK)
    (tmp_path / "scenario.py").write_text("")
    (tmp_path / "quick.openslo.yaml").write_text(SLO)
    (tmp_path / "quick.yaml").write_text(VALIDATION)
    (one,) = plan(tmp_path / "quick.yaml")
    return one


def test_a_validation_runs_where_all_is_there(planned: Planned) -> None:
    found = forecast(planned, {}, [])
    assert (found.state, found.complete, reasons(found)) == ("runs", True, [])


def test_a_validation_whose_service_is_missing_is_not_validated_whatever_else_is_wrong(planned: Planned) -> None:
    missing = {"redis": GONE, "web": Unavailable("needs-unavailable", "web needs redis", "get it")}
    found = forecast(planned, missing, [Lack("disk", "full", "free some")])
    assert (found.state, found.complete) == ("not-validated", False)
    assert reasons(found) == ["not-validated: quick: redis: no such program; remedy: get it"]


def test_an_objective_that_lacks_its_exporter_is_named_and_the_rest_runs(planned: Planned) -> None:
    found = forecast(planned, {"redis-exporter": GONE}, [])
    assert (found.state, found.complete) == ("runs", False)
    (line,) = reasons(found)
    assert line.startswith("not-validated: quick: objective commands/up: it needs redis-exporter")
    assert line.endswith("no such program; remedy: get it")
    everything = forecast(planned, {"prometheus": GONE}, [])
    assert [one.name for one in everything.objectives] == ["commands/up"]


def test_a_problem_of_the_machine_keeps_a_validation_from_running(planned: Planned) -> None:
    found = forecast(planned, {}, [Lack("disk", "full", "free some")])
    assert (found.state, reasons(found)) == ("error", ["cannot run: quick: disk: full; remedy: free some"])


def test_the_last_line_counts_what_will_run_and_names_what_will_not(planned: Planned) -> None:
    quiet = Examination((Check("load", "ok", "quiet"),), (), {})
    runs, missing = forecast(planned, {}, []), forecast(planned, {"redis": GONE}, [])
    assert summary(quiet, [runs]) == "the validation will run"
    assert summary(quiet, [runs, runs]) == "all 2 validations will run"
    assert summary(quiet, [runs, runs, runs, missing]) == (
        "3 of 4 validations will run; 1 will be not-validated: quick (redis)"
    )
    partly = forecast(planned, {"redis-exporter": GONE}, [])
    assert summary(quiet, [partly]) == "the validation will run; 1 objective will be not-validated: commands/up"
    bad = Examination((Check("disk", "problem", "full"), Check("load", "warning", "busy")), (), {})
    assert summary(bad, [forecast(planned, {}, [Lack("disk", "full", "")])]) == (
        "0 of 1 validation will run; 1 cannot run: quick (disk); 1 problem: disk; 1 warning: load"
    )
    assert summary(quiet, []) == "no validation was looked at; the machine is fit"
    assert summary(bad, []).startswith("no validation was looked at; the machine is not fit; 1 problem: disk")


def test_validations_are_found_in_files_and_directories(planned: Planned, tmp_path: Path) -> None:
    file = tmp_path / "quick.yaml"
    assert find_validations([tmp_path, file]) == [file]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError) as refused:
        find_validations([tmp_path / "empty"])
    assert refused.value.slug == "no-validations"
    assert find_validations([tmp_path / "empty"], required=False) == []
    with pytest.raises(UsageError) as nowhere:
        find_validations([tmp_path / "nowhere"])
    assert nowhere.value.slug == "file-unreadable"
