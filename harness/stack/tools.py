"""Where the programs of the stack are on this machine: override, PATH, well-known places, the user's cache."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.core.paths import cache_dir
from harness.stack.gomod import module_version
from harness.stack.toolspec import DebianSource, GoSource, Kit, ToolSpec, WheelSource, kit_tools, tool_table

INSTALL_COMMAND = "harness stack install --yes"
_VERSION_TIMEOUT_S = 30


@dataclass(frozen=True)
class Tool:
    """A program that is there. `env` is what must be added to its environment; nothing for programs of the system."""

    name: str
    path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    source: Literal["override", "path", "debian", "wheel", "go"] = "path"


def resolve_tool(name: str) -> Tool:
    """The program called `name` in tools.toml.

    Raises HarnessError `missing-binary` when it is nowhere and `cache-unreadable` when the cache may not be read,
    UsageError `bad-tool-override` when the environment names a file that cannot be run, UsageError `unknown-tool` for a
    name that is not in the table.
    """
    spec = _spec(name)
    tool = _overridden(spec) or find_on_machine(spec) or find_in_cache(spec)
    if tool is None:
        raise HarnessError(
            "missing-binary",
            f"{spec.binary} ({spec.kit.title}; {spec.package}) is neither on PATH nor in {tools_dir()}",
            f"run `{INSTALL_COMMAND}`, or point {spec.override} at a {spec.binary} of your own",
            outcome=Outcome.NOT_VALIDATED,
        )
    return tool


def missing_tools(names: Iterable[str] | None = None) -> list[ToolSpec]:
    """Which of `names` (default: the whole table) resolve_tool would not find. Other errors of it pass through."""
    specs = [_spec(name) for name in (tool_table() if names is None else names)]
    return [spec for spec in specs if not (_overridden(spec) or find_on_machine(spec) or find_in_cache(spec))]


def named_tools(names: Iterable[str]) -> list[ToolSpec]:
    """The tools of these names; that of a kit stands for all its programs; no names for the whole table.

    Raises UsageError `unknown-tool`.
    """
    wanted: dict[str, ToolSpec] = {}
    for name in names:
        of_kit = {spec.name: spec for spec in tool_table().values() if spec.kit.name == name}
        wanted |= {name: tool_table()[name]} if name in tool_table() else of_kit or {name: _spec(name)}
    return list((wanted or tool_table()).values())


def tools_dir() -> Path:
    """Where unpacked tools are kept."""
    return cache_dir() / "tools"


def debian_dir() -> Path:
    """Unpacked Debian packages, by distribution and machine: their libraries fit that one alone."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    system = f"{release.get('ID', 'linux')}-{release.get('VERSION_ID', 'rolling')}-{platform.machine()}"
    return tools_dir() / "debian" / system


def wheel_dir(source: WheelSource, version: str) -> Path:
    """Where the programs of one version of a wheel are unpacked."""
    return tools_dir() / f"{source.distribution}-{version}"


def wheel_root(source: WheelSource) -> Path | None:
    """Where the programs of the wheel installed now are, or would be, unpacked; None when it is not installed."""
    try:
        return wheel_dir(source, metadata.version(source.distribution))
    except metadata.PackageNotFoundError:
        return None


def go_dir(kit: Kit, source: GoSource) -> Path:
    """Where the commands of the version that go.mod pins are, or would be."""
    return tools_dir() / f"{kit.name}-{module_version(source.directory, source.packages[0])}"


def find_on_machine(spec: ToolSpec) -> Tool | None:
    """`spec` on PATH or in its well-known places; of a kit that belongs together, only where all of it is.

    One whose name other programs have too is asked what it is.
    """
    if not spec.on_path:
        return None
    on_path = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    known = [place for pattern in spec.places for place in newest_first(_glob_absolute(pattern))]
    for directory in (*on_path, *known):
        if (found := _in_directory(spec, directory)) is not None and _is_it(spec, found):
            return Tool(spec.name, found)
    return None


def find_in_cache(spec: ToolSpec) -> Tool | None:
    """`spec` where the installer puts it, newest version first. Raises HarnessError `cache-unreadable`."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.scandir(tools_dir()).close()  # a glob would call it empty
        return _in_cache(spec)
    except PermissionError as error:
        raise HarnessError(
            "cache-unreadable",
            f"{spec.binary} was looked for in {tools_dir()}, but this user may not read {error.filename}",
            "give this user the right to read it, or let XDG_CACHE_HOME name another directory",
            outcome=Outcome.NOT_VALIDATED,
        ) from error


def _in_cache(spec: ToolSpec) -> Tool | None:
    source = spec.kit.source
    if isinstance(source, WheelSource):
        root = wheel_root(source)
        found = _in_directory(spec, root) if root else None
        return Tool(spec.name, found, {"LD_LIBRARY_PATH": str(found.parent)}, "wheel") if found else None
    if isinstance(source, GoSource):
        return find_built(spec, go_dir(spec.kit, source))
    roots = newest_first(debian_dir().glob(f"{spec.kit.name}-[0-9]*"))
    return next((tool for root in roots if (tool := find_in_root(spec, source, root))), None)


def find_in_root(spec: ToolSpec, source: DebianSource, root: Path) -> Tool | None:
    """`spec` below `root`, where packages of `source` were unpacked."""
    for directory in newest_first(root.glob(source.bin)):
        if (found := _in_directory(spec, directory)) is not None:
            return Tool(spec.name, found, _library_env(root, source), "debian")
    return None


def find_built(spec: ToolSpec, root: Path) -> Tool | None:
    """`spec` in `root`, where the commands of a Go module were compiled into."""
    found = _in_directory(spec, root)
    return Tool(spec.name, found, source="go") if found else None


def tool_version(tool: Tool) -> str:
    """What the program prints when asked, in one line; of one that cannot be asked, its package's version.

    Raises HarnessError `broken-binary` when it is there but does not run.
    """
    spec = _spec(tool.name)
    if not spec.version:
        source = spec.kit.source
        return metadata.version(source.distribution) if isinstance(source, WheelSource) else tool.path.parent.name
    try:
        return _printed(spec, tool).strip().partition("\n")[0]
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "output", None) or ""  # of one that timed out they are bytes
        said = (output.decode(errors="replace") if isinstance(output, bytes) else output).strip() or str(error)
        raise HarnessError(
            "broken-binary",
            f"{tool.path} does not run: {said.splitlines()[-1]}",
            f"remove {tools_dir()} and run `{INSTALL_COMMAND}`"
            if tool.source in ("debian", "go")
            else f"repair it, or point {spec.override} at another",
        ) from error


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """Paths with the highest version number in them first: 15 before 9.6."""

    def version(path: Path) -> list[tuple[int, str]]:
        return [(int(number or -1), text) for number, text in re.findall(r"(\d+)|(\D+)", str(path))]

    return sorted(paths, key=version, reverse=True)


def _spec(name: str) -> ToolSpec:
    try:
        return tool_table()[name]
    except KeyError:
        raise UsageError("unknown-tool", f"no tool is called {name!r}", f"one of: {', '.join(tool_table())}") from None


def _overridden(spec: ToolSpec) -> Tool | None:
    """What the environment names. A kit that belongs together follows the one program that is named."""
    for named in (spec, *(kit_tools(spec.kit) if spec.kit.together else ())):
        if not (value := os.environ.get(named.override)):
            continue
        path = Path(value).expanduser().absolute()
        if named is not spec:
            path = _sibling(path, spec) or path.with_name(spec.binary)
        if not _executable(path):
            raise UsageError(
                "bad-tool-override",
                f"{named.override}={value}: {path} is not an executable file",
                f"name a {spec.binary} that can be run, or unset {named.override}",
            )
        return Tool(spec.name, path, source="override")
    return None


def _in_directory(spec: ToolSpec, directory: Path) -> Path | None:
    for binary in spec.binaries:
        candidate = directory / binary
        if not _executable(candidate) or _is_script(candidate):
            continue
        # A link on PATH leads to the directory with the siblings (Debian's postgres), but a program that looks at the
        # name it was called by (Debian's redis-server is a link to redis-check-rdb) keeps that name.
        real = candidate.resolve()
        path = real if real.name in spec.binaries else candidate.absolute()
        needed = kit_tools(spec.kit) if spec.kit.together else ()
        if all(_sibling(path, other) for other in needed):
            return path
    return None


def _is_it(spec: ToolSpec, path: Path) -> bool:
    if not spec.says:
        return True
    try:
        return spec.says in _printed(spec, Tool(spec.name, path))
    except (OSError, subprocess.SubprocessError):
        return False


def _printed(spec: ToolSpec, tool: Tool) -> str:
    """What the program prints when it is asked for its version. OSError, SubprocessError: it does not run."""
    return subprocess.run(
        [tool.path, *spec.version],
        env={**os.environ, **tool.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_VERSION_TIMEOUT_S,
        check=True,
    ).stdout


def _sibling(path: Path, spec: ToolSpec) -> Path | None:
    """`spec` under one of its names in the directory of `path`."""
    return next((other for name in spec.binaries if _executable(other := path.with_name(name))), None)


def _executable(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - false, not an error, where we may not look


def _is_script(path: Path) -> bool:
    """Wrappers (version managers, container shims) start something else than the pid they are given."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except PermissionError:  # executable but not readable: certainly no script
        return False


def _glob_absolute(pattern: str) -> Iterator[Path]:
    return Path("/").glob(pattern.removeprefix("/"))


def _library_env(root: Path, source: DebianSource) -> dict[str, str]:
    patterns = (*source.private_libs, "usr/lib/*-linux-*", "lib/*-linux-*")
    found = [str(path) for pattern in patterns for path in newest_first(root.glob(pattern)) if path.is_dir()]
    return {"LD_LIBRARY_PATH": os.pathsep.join(found)} if found else {}
