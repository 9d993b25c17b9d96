"""The installer with the real apt: on a mirror of our own on loopback, and, marked `stack`, on the real one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.stack.install import install
from harness.stack.tools import Tool, debian_dir, find_in_cache, missing_tools, tool_version, tools_dir
from harness.stack.toolspec import DebianSource, kit_tools, tool_table

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="needs apt, as on Debian and Ubuntu"
)
PROMETHEUS = tool_table()["prometheus"]
NOBODY = 65534
# Imports everything, then becomes an ordinary user (who may not be able to read the interpreter's files).
AS_ORDINARY_USER = """
import json, lzma, os, sys
from pathlib import Path
from harness.stack.install import install
from harness.stack.tools import find_in_cache, tool_table
user, status, *names = sys.argv[1:]
tool_table()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(int(user)); os.setuid(int(user))
asked = []
specs = [tool_table()[name] for name in names]
failures = install(specs, confirm=lambda text: asked.append(text) or True,
                   progress=lambda line: print(line, file=sys.stderr), status=Path(status))
assert not failures, failures
found = {spec.name: find_in_cache(spec) for spec in specs}
print(json.dumps({"asked": asked, "tools": {name: [str(t.path), dict(t.env), t.source] for name, t in found.items()}}))
"""


class Mirror:
    """An apt repository in a directory: packages are built by dpkg-deb, and apt is told to know no other."""

    def __init__(self, directory: Path, served: Path, address: str) -> None:
        self._directory, self.served, self.address = directory, served, address
        self._edition = 0

    def publish(self, name: str, version: str, *, depends: str = "", binary: str = "/bin/true", arch: str = "") -> Path:
        """Build a package that holds prometheus and promtool, replace its older version, and sign nothing."""
        tree = self._directory / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/bin").mkdir(parents=True)
        for program in ("prometheus", "promtool"):
            shutil.copy(binary, tree / "usr/bin" / program)
        (tree / "usr/share/doc").mkdir(parents=True)
        arch = arch or subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
        control = f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: nobody\nDescription: test\n"
        (tree / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
        script = tree / "DEBIAN/postinst"
        script.write_text(f"#!/bin/sh\ntouch {self._directory}/daemon-started\n")
        script.chmod(0o755)
        for old in self.served.glob(f"{name}_*.deb"):
            old.unlink()
        archive = self.served / f"{name}_{version.rpartition(':')[2]}_{arch}.deb"
        subprocess.run(["dpkg-deb", "-Znone", "-b", tree, archive], check=True, capture_output=True)
        self._index()
        return archive

    @property
    def daemon_started(self) -> bool:
        return (self._directory / "daemon-started").exists()

    def _index(self) -> None:
        entries = []
        for archive in self.served.glob("*.deb"):
            control = subprocess.check_output(["dpkg-deb", "-f", archive], text=True).strip()
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            entries.append(f"{control}\nFilename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n")
        (self.served / "Packages").write_text("\n".join(entries))
        self._edition += 1  # apt asks for what is newer than its copy, in whole seconds
        os.utime(self.served / "Packages", (1e9 + self._edition, 1e9 + self._edition))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at what apt says."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    served = tmp_path / "mirror"
    served.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] {address} ./\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
        'Acquire::http::Proxy::127.0.0.1 "DIRECT";\nAcquire::Retries "0";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield Mirror(tmp_path, served, address)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def status(tmp_path: Path) -> Path:
    """A machine on which no package is installed."""
    path = tmp_path / "status"
    path.touch()
    return path


def fetch(status: Path) -> list[str]:
    """Install Prometheus from the mirror; what was said and asked. Raises what was in the way."""
    said: list[str] = []
    for failure in install(
        [PROMETHEUS], confirm=lambda text: not said.append(text), progress=said.append, status=status
    ):
        assert any(line.startswith("Prometheus c") and line.endswith(f"({failure.slug})") for line in said)
        raise failure
    return said


def cached() -> Tool:
    found = find_in_cache(PROMETHEUS)
    assert found is not None
    return found


def nothing_half_done() -> bool:
    return not list(tools_dir().glob(".unpacking-*")) and not list(debian_dir().glob("*"))


def test_the_program_is_unpacked_and_nothing_of_the_package_is_run(mirror: Mirror, status: Path) -> None:
    mirror.publish("libjs-jquery", "3", arch="all")
    mirror.publish("prometheus", "2:9.9-1", depends="libjs-jquery")
    said = fetch(status)
    assert cached().path == debian_dir() / "prometheus-9.9-1" / "usr/bin/prometheus"
    assert "coreutils" in tool_version(cached())
    assert any("fetching 1 Debian package for Prometheus" in line and "libjs" not in line for line in said)
    assert said[-1].startswith("done in ")
    assert not mirror.daemon_started
    assert not (debian_dir() / "prometheus-9.9-1" / "usr/share/doc").exists()


def test_the_lists_are_read_again_only_after_a_day(mirror: Mirror, status: Path) -> None:
    mirror.publish("prometheus", "9.9-1")
    assert any("package lists" in line for line in fetch(status))
    shutil.rmtree(tools_dir())
    assert not any("package lists" in line for line in fetch(status))
    shutil.rmtree(tools_dir())
    stamp = tools_dir().parent / "apt" / "updated"
    os.utime(stamp, (stamp.stat().st_atime, stamp.stat().st_mtime - 86_401))
    assert any("package lists" in line for line in fetch(status))


def test_a_mirror_that_moved_on_is_asked_again(mirror: Mirror, status: Path) -> None:
    mirror.publish("prometheus", "9.9-1")
    fetch(status)
    shutil.rmtree(tools_dir())
    mirror.publish("prometheus", "9.9-2")
    assert sum("package lists" in line for line in fetch(status)) == 1
    assert cached().path.is_relative_to(debian_dir() / "prometheus-9.9-2")


def test_an_archive_that_is_not_what_the_lists_promise_is_refused(mirror: Mirror, status: Path) -> None:
    archive = mirror.publish("prometheus", "9.9-1")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(HarnessError) as caught:
        fetch(status)
    assert caught.value.slug == "install-failed" and "Hash Sum mismatch" in caught.value.cause
    assert nothing_half_done()


def test_a_program_that_does_not_run_here_is_not_installed(mirror: Mirror, status: Path) -> None:
    mirror.publish("prometheus", "9.9-1", binary="/bin/false")
    with pytest.raises(HarnessError, match=r"install-failed: Prometheus was unpacked, but does not run"):
        fetch(status)
    assert nothing_half_done()


def test_a_package_that_nobody_has_ends_with_the_words_of_apt(mirror: Mirror, status: Path) -> None:
    mirror.publish("something-else", "1")
    with pytest.raises(HarnessError) as caught:
        fetch(status)
    assert caught.value.slug == "install-failed" and "E: Unable to locate package prometheus" in caught.value.cause
    assert nothing_half_done()


def test_without_a_mirror_the_error_names_it_and_the_remedy(mirror: Mirror, status: Path) -> None:
    (mirror.served / "Packages").unlink(missing_ok=True)
    with pytest.raises(HarnessError) as caught:
        fetch(status)
    assert caught.value.slug == "install-failed" and mirror.address in caught.value.cause
    assert "run the command again" in caught.value.remedy and "Prometheus project" in caught.value.remedy


def test_the_hooks_of_the_system_are_not_run(mirror: Mirror, status: Path, tmp_path: Path) -> None:
    mirror.publish("prometheus", "9.9-1")
    hook = f'APT::Update::Post-Invoke {{ "touch {tmp_path}/hook"; }};\n'
    (tmp_path / "apt.conf").write_text((tmp_path / "apt.conf").read_text() + hook)
    fetch(status)
    assert not (tmp_path / "hook").exists()


@pytest.fixture(scope="module")
def bare_machine() -> Iterator[tuple[Path, dict[str, Tool], list[str]]]:
    """All Debian kits, fetched from the real mirror by an ordinary user on a machine where nothing is installed."""
    home = Path(tempfile.mkdtemp(prefix="slo-harness-install-"))
    try:
        (home / "status").touch()
        home.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        names = [name for name, spec in tool_table().items() if isinstance(spec.kit.source, DebianSource)]
        done = subprocess.run(
            [sys.executable, "-c", AS_ORDINARY_USER, str(NOBODY), str(home / "status"), *names],
            env={"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
            | {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
            timeout=400,
            check=True,
        )
        answer = json.loads(done.stdout)
        found = {name: Tool(name, Path(path), env, how) for name, (path, env, how) in answer["tools"].items()}
        yield home, found, answer["asked"]
    finally:
        shutil.rmtree(home)


def run(tool: Tool, home: Path, *arguments: str, stdin: str = "") -> str:
    """What the program prints, run as whoever installed it, in an environment that holds nothing else."""
    who = NOBODY if os.geteuid() == 0 else None
    done = subprocess.run(
        [tool.path, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), **tool.env},
        cwd=home,
        user=who,
        group=who,
        extra_groups=[] if who else None,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.stack
def test_on_a_bare_machine_an_ordinary_user_gets_programs_that_run(
    bare_machine: tuple[Path, dict[str, Tool], list[str]],
) -> None:
    home, found, asked = bare_machine
    assert len(asked) == 1
    for title in ("PostgreSQL", "Redis", "Prometheus", "Alertmanager", "the PostgreSQL exporter", "the Redis exporter"):
        assert f" for {title} (" in asked[0]
    said = {name: run(tool, home, "--version") for name, tool in found.items()}
    assert "postgres (PostgreSQL)" in said["postgres"] and "initdb (PostgreSQL)" in said["initdb"]
    assert "Redis server v=" in said["redis-server"] and "prometheus, version" in said["prometheus"]
    assert "alertmanager, version" in said["alertmanager"] and "amtool, version" in said["amtool"]
    assert "postgres_exporter, version" in said["postgres-exporter"]
    assert "Redis Metrics Exporter" in said["redis-exporter"]
    assert {tool.source for tool in found.values()} == {"debian"}
    assert found["postgres"].path.parent == found["initdb"].path.parent
    assert all(tool.path.is_relative_to(home / "cache") for tool in found.values())


@pytest.mark.stack
def test_the_unpacked_postgres_makes_a_cluster_and_answers(
    bare_machine: tuple[Path, dict[str, Tool], list[str]],
) -> None:
    home, found, _ = bare_machine
    data = str(home / "cluster")
    run(found["initdb"], home, "-D", data, "-A", "trust", "-U", "postgres", "--locale=C", "--no-sync")
    sql = "set jit_above_cost = 0;\nselect pg_jit_available(), 6 * 7 as answer from pg_class limit 1;\n"
    said = run(found["postgres"], home, "--single", "-D", data, "postgres", stdin=sql)
    assert 'answer = "42"' in said and 'pg_jit_available = "f"' in said


@pytest.mark.stack
def test_the_unpacked_postgres_has_what_the_exporter_reads(
    bare_machine: tuple[Path, dict[str, Tool], list[str]],
) -> None:
    """pg_stat_statements: its library, which the server must load at the start, and its extension files."""
    home, found, _ = bare_machine
    data = str(home / "statements")
    run(found["initdb"], home, "-D", data, "-A", "trust", "-U", "postgres", "--locale=C", "--no-sync")
    sql = "create extension pg_stat_statements;\nselect count(*) >= 0 as counted from pg_stat_statements;\n"
    library = "shared_preload_libraries=pg_stat_statements"
    said = run(found["postgres"], home, "--single", "-c", library, "-D", data, "postgres", stdin=sql)
    assert 'counted = "t"' in said, said


@pytest.mark.stack
def test_every_library_but_those_of_the_c_library_is_in_the_cache(
    bare_machine: tuple[Path, dict[str, Tool], list[str]],
) -> None:
    """What this machine happens to have must not hide that a library was left out."""
    home, found, _ = bare_machine
    ours = ("linux-vdso", "linux-gate", "ld-linux", "libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so")
    for tool in found.values():
        linked = run(replace(tool, path=Path("/usr/bin/ldd")), home, str(tool.path))
        lines = [line.strip() for line in linked.splitlines() if line.strip() and "not a dynamic" not in line]
        strangers = [
            line
            for line in lines
            if str(home) not in line and not any(name in line for name in (*ours, "libresolv.so", "statically linked"))
        ]
        assert strangers == [], tool.name
    names = {path.name for path in (home / "cache").rglob("*")}
    assert not [name for name in names if name.startswith(("libLLVM", "llvmjit", "libperl"))]


@pytest.mark.stack
def test_milvus_is_unpacked_once_with_its_log_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    spec = tool_table()["milvus"]
    try:
        install([spec], confirm=lambda text: True, progress=said.append)
        assert missing_tools([other.name for other in kit_tools(spec.kit)]) == []
        tool = find_in_cache(spec)
        assert tool is not None and (tool.path.parent / "glog.conf").is_file()
        assert any(line.startswith(f"unpacking Milvus {tool_version(tool)} (") for line in said)
        usage = subprocess.run(
            [tool.path],
            env={**tool.env, "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "milvus run [server type]" in usage.stdout + usage.stderr
        install([spec], confirm=lambda text: pytest.fail("asked"), progress=said.append)
        assert said[-1] == "nothing to fetch: all of it is there"
    finally:
        shutil.rmtree(tmp_path / "slo-harness")
