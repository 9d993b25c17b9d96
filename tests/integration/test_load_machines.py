"""Two machines: a network namespace each, with a wire between them. Master and target in one, workers in the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.core.jsonio import read_json
from harness.load.remote import CLOCKS_EVIDENCE
from harness.results.samples import load_samples
from tests.integration.load_target import eventually
from tests.integration.test_load_deaths import SCENARIO

PATIENCE = 120.0
PORT = 5557
ADDRESSES = ("192.0.2.1", "192.0.2.2")
HARNESS = [sys.executable, "-m", "harness.cli.main", "load"]
VALIDATION = """\
apiVersion: harness/v1
kind: Validation
metadata: {name: two-machines}
spec:
  scenario: scenarios/scenario.py
  load:
    {executor: constant-arrival-rate, rate: 100, warmup: 1s, duration: 9s, users: 400, workers: 2, maxLateness: 60s}
  thresholds:
    errors: ["rate<1%"]
"""
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter", "unshare"))),
    reason="network namespaces need root, ip, nsenter and unshare",
)


class Machines:
    """Each is held by a process that ends with this one. `inside` begins a command in one of them."""

    def __init__(self) -> None:
        self.held = [
            subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in ADDRESSES
        ]
        for one in self.held:  # its answer comes from within
            assert one.stdin is not None and one.stdout is not None
            one.stdin.write(b"there\n")
            one.stdin.flush()
            one.stdout.readline()
        first, second = (str(one.pid) for one in self.held)
        self._do("ip", "link", "add", "wire", "netns", first, "type", "veth", "peer", "name", "wire", "netns", second)
        for at, address in enumerate(ADDRESSES):
            self._do(*self.inside(at, "ip", "address", "add", f"{address}/24", "dev", "wire"))
            self._do(*self.inside(at, "ip", "link", "set", "wire", "up"))
            self._do(*self.inside(at, "ip", "link", "set", "lo", "up"))

    def inside(self, at: int, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self.held[at].pid), "--net", *command]

    def start(self, at: int, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.inside(at, *command),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        for one in self.held:
            one.kill()
            one.communicate()

    @staticmethod
    def _do(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[Machines]:
    try:
        found = Machines()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel gives no network namespaces with a wire: {error.stderr.strip()}")
    yield found
    found.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in (("scenarios/scenario.py", SCENARIO), ("slos/two.yaml", VALIDATION), ("stack.yaml", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("kill", "rebalance", "outcome"), [(False, False, "pass"), (True, False, "error"), (True, True, "pass")]
)
def test_load_from_another_machine(
    machines: Machines, project: Path, kill: bool, rebalance: bool, outcome: str
) -> None:
    target = machines.start(0, sys.executable, "-m", "tests.integration.load_target", ADDRESSES[0])
    assert target.stdout is not None
    host = f"http://{ADDRESSES[0]}:{target.stdout.readline().strip()}"
    more = ["--enable-rebalancing"] if rebalance else []
    # as Locust's operator gives them to both: its own words first, then the same arguments
    both = [str(project / "slos" / "two.yaml"), "--host", host, "--results", str(project / "results"), *more]
    master = machines.start(0, *HARNESS, "--master", *both)
    workers = [
        machines.start(1, *HARNESS, "--worker", "--master-host", ADDRESSES[0], "--project", str(project), *both)
        for _ in range(2)
    ]
    try:
        if kill:
            victim = workers[0].pid
            assert eventually(lambda: bool(psutil.Process(victim).children()), PATIENCE)
            assert eventually(lambda: counts(machines, host).get("/ok", 0) > 150, PATIENCE)
            os.kill(psutil.Process(victim).children()[0].pid, signal.SIGKILL)
        printed, told = master.communicate(timeout=PATIENCE)
        # 3: latencies that had not settled, as on a busy machine
        assert master.returncode in ((4,) if outcome == "error" else (0, 3)), printed + told
        assert [one.wait(PATIENCE) for one in workers] == [0, 0]
        (run,) = (path for path in (project / "results").iterdir() if not path.is_symlink())
        samples = load_samples(run / "load")
        served = counts(machines, host)["/ok"]
        assert 0 <= served - samples.counts("call").sent <= kill
        assert [worker.complete for worker in samples.workers].count(True) == (2 if not kill else int(rebalance))
        if not kill:
            assert served == samples.arrivals.started == 1000
        clocks = read_json(run / CLOCKS_EVIDENCE)
        assert all(abs(one["offset_ns"]) <= one["error_ns"] for one in clocks.values()) and len(clocks) == 2
        findings = read_json(run / "verdict.json")["findings"]
        (generator,) = (one for one in findings if one["id"] == "generator/arrivals")
        assert generator["outcome"] == outcome
        reasons = " ".join(one["reason"] for one in findings)
        assert ("killed by SIGKILL" in reasons and "requests that it sent are in no record" in reasons) == kill
    finally:
        for one in (master, *workers, target):
            one.kill()
            one.communicate()


def counts(machines: Machines, host: str) -> dict[str, int]:
    """As Target.counts, asked from within."""
    text = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
    asked = subprocess.run(
        machines.inside(1, sys.executable, "-c", text, f"{host}/counts"), capture_output=True, text=True, check=True
    )
    found: dict[str, int] = json.loads(asked.stdout)
    return found
