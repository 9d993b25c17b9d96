"""What a request costs the client: ours, Locust's FastHttpUser, wrk, k6 and k9-load on one core, against one nginx.

    python -m tests.proofs.load_http --trials 5 --into results/proofs/load.json      this part alone

nginx has core 0 and answers 1 kB at once; each client in turn has core 1 with 32 users who send one request after the
other. When it runs well, the CPU time of all its processes and nginx's own count of requests are read, and again some
seconds later: the differences are what is compared, so start and end cost nobody anything. A round has all clients, one
soon after the other; ratios are taken within rounds, and the medians of them are what counts.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from harness.faults.waiting import wait_for
from harness.stack.ports import PortBlock
from tests.proofs.load_peers import supply
from tests.proofs.machine import conditions, cpu_times
from tests.proofs.part import measure_part

SERVER_CORE, CLIENT_CORE = "0", "1"
USERS, WARM_SECONDS, SECONDS, START_SECONDS, END_SECONDS = 32, 2.0, 4.0, 60.0, 20.0
LEAST_BUSY = 0.85  # of its core that a client had; with less it was disturbed, or nginx was what held it up
ROOT, HERE = Path(__file__).parents[2], Path(supply.__file__).parent
CONF = """\
daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /status {{ stub_status; }}
    location / {{ return 200 '{reply}'; }}
  }}
}}
"""
REPLY = (
    '{"hits":[' + ",".join(f'{{"id":{100000 + at},"score":0.{at:02}5,"title":"passage"}}' for at in range(20)) + "]}"
)
MUST = {  # measure -> (peer, what, kind, at least)
    "FastHttpUser CPU, POST": ("locust", "cpu", "post", 7.0),
    "FastHttpUser CPU, GET": ("locust", "cpu", "get", 9.0),
    "wrk -t1 -c32, POST": ("wrk", "rate", "post", 0.35),
    "wrk -t1 -c32, GET": ("wrk", "rate", "get", 0.45),
    "k6, POST": ("k6", "rate", "post", 3.0),
    "k9-load, POST": ("k9", "rate", "post", 2.0),
}
AIM = {"FastHttpUser CPU, POST": 10.0, "FastHttpUser CPU, GET": 12.0, "wrk -t1 -c32, POST": 0.5,
       "wrk -t1 -c32, GET": 0.6, "k6, POST": 5.0, "k9-load, POST": 4.0}  # fmt: skip


@contextmanager
def nginx(program: str) -> Iterator[str]:
    """Its base URL, on core 0."""
    with tempfile.TemporaryDirectory() as directory:
        block = PortBlock.reserve(1)
        port = block.take()
        block.close()
        conf = Path(directory) / "nginx.conf"
        conf.write_text(CONF.format(dir=directory, port=port, reply=REPLY))
        command = ["taskset", "-c", SERVER_CORE, program, "-p", directory, "-c", str(conf), "-e", "stderr"]
        with subprocess.Popen(command) as process:
            try:
                if not wait_for(lambda: listens(port), 20):
                    raise RuntimeError("nginx did not start")
                yield f"http://127.0.0.1:{port}"
            finally:
                process.kill()


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def served(url: str) -> int:
    """Requests that nginx has had, this one not counted."""
    with urllib.request.urlopen(f"{url}/status", timeout=10) as reply:
        found = re.search(r"\n (\d+) (\d+) (\d+)", reply.read().decode())
    assert found is not None
    return int(found[3])


def command_of(client: str, program: str, kind: str, url: str) -> list[str]:
    if client == "wrk":
        more = ["-s", str(HERE / "script.lua"), f"{url}/post"] if kind == "post" else [f"{url}/get"]
        return [program, "-t1", f"-c{USERS}", "-d600", *more]
    if client == "k6":
        return [program, "run", "--quiet", str(HERE / "script.js")]
    if client == "k9":
        return [program, "run", str(HERE / "k9_script.py")]
    if client == "locust":
        file = str(HERE / "locust_user.py")
        return [program, "-m", "locust", "-f", file, "--headless", "-u", str(USERS), "-r", str(USERS), "-H", url,
                "--loglevel", "ERROR"]  # fmt: skip
    return [program, "-m", "tests.proofs.load_peers.own", url, str(USERS)]


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and all below it."""
    whole = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (whole, *whole.children(recursive=True)))


def measure(client: str, program: str, kind: str, url: str) -> dict[str, float]:
    """Requests a second, and CPU microseconds a request. Raises RuntimeError when it makes no load."""
    env = os.environ | {"KIND": kind, "URL": url, "USERS": str(USERS), "GOMAXPROCS": "1", "K6_NO_USAGE_REPORT": "true"}
    before = served(url)
    process = subprocess.Popen(
        ["taskset", "-c", CLIENT_CORE, *command_of(client, program, kind, url)],
        env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while served(url) - before < 1000:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                assert process.stderr is not None
                raise RuntimeError(f"{client} makes no load: {process.stderr.read().decode()[-500:]}")
            time.sleep(0.1)
        time.sleep(WARM_SECONDS)
        count, cpu, began = served(url), cpu_of(process.pid), time.monotonic()
        time.sleep(SECONDS)
        spent, count = time.monotonic() - began, served(url) - count - 1
        cpu = cpu_of(process.pid) - cpu
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return {"rate": round(count / spent, 1), "cpu_us": round(cpu / count * 1e6, 3), "busy": round(cpu / spent, 3)}


def measure_http(rounds: int) -> dict[str, Any]:
    """What results/proofs/load.json holds of this."""
    before = cpu_times()
    have, missing = supply.have({
        "nginx": partial(supply.debian, "nginx", "nginx-light"), "wrk": partial(supply.debian, "wrk", "wrk"),
        "k6": supply.k6, "k9": supply.k9, "own": lambda: sys.executable, "locust": lambda: sys.executable,
    })  # fmt: skip
    found: dict[str, Any] = {"missing": missing, "rounds": [], "users": USERS, "seconds": SECONDS}
    if "nginx" in have:
        with nginx(have.pop("nginx")) as url:
            for number in range(rounds):
                for kind in ("post", "get"):
                    one: dict[str, Any] = {"kind": kind}
                    for client, program in have.items():
                        one[client] = measure(client, program, kind, url)
                    found["rounds"].append(one)
                    print(f"http round {number + 1}/{rounds} {one}", flush=True)
    found["rows"] = [_row(name, found["rounds"], missing) for name in MUST]
    return found | {"held": all(row["held"] is True for row in found["rows"]), "conditions": conditions(before)}


def _row(name: str, rounds: list[dict[str, Any]], missing: dict[str, str]) -> dict[str, Any]:
    """One row of the table: both sides, and the ratio that must be reached."""
    peer, what, kind, least = MUST[name]
    row: dict[str, Any] = {"measure": name, "must": least, "aim": AIM[name]}
    pairs = [(one["own"], one[peer]) for one in rounds if one["kind"] == kind and peer in one]
    if not pairs:
        why = missing.get(peer) or missing.get("nginx", "no round was made")
        return row | {"held": None, "not_measured": why}
    if what == "rate":
        alone = [pair for pair in pairs if all(side["busy"] >= LEAST_BUSY for side in pair)]
        if 2 * len(alone) < len(pairs):
            why = f"in {len(pairs) - len(alone)} of {len(pairs)} rounds a client did not have its core to itself"
            return row | {"held": None, "not_measured": why}
        pairs = alone
    if what == "cpu":
        ratios, unit = [theirs["cpu_us"] / ours["cpu_us"] for ours, theirs in pairs], "cpu_us"
    else:
        ratios, unit = [ours["rate"] / theirs["rate"] for ours, theirs in pairs], "rate"
    sides = {"ours": median(ours[unit] for ours, _ in pairs), "theirs": median(theirs[unit] for _, theirs in pairs)}
    ratio = median(ratios)
    spread = [round(min(ratios), 3), round(max(ratios), 3)]
    return row | sides | {"unit": unit, "ratio": round(ratio, 3), "spread": spread, "held": ratio >= least}


if __name__ == "__main__":
    sys.exit(measure_part("http", measure_http))
