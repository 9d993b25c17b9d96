"""What the installer has to do for each kit: what it costs, and how it is got."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.stack.install_apt import DebianPlan, PrivateApt
from harness.stack.install_errors import install_failed
from harness.stack.install_go import GoPlan, build, plan_go
from harness.stack.install_place import into
from harness.stack.install_wheel import WheelPlan, plan_wheel, unpack_wheel
from harness.stack.tools import (
    Tool,
    debian_dir,
    find_built,
    find_in_root,
    go_dir,
    tool_version,
    tools_dir,
    wheel_dir,
)
from harness.stack.toolspec import DebianSource, GoSource, Kit, ToolSpec, WheelSource, kit_tools

Say = Callable[[str], None]
_ORDER = (WheelSource, DebianSource, GoSource)  # by the time that one takes


@dataclass(frozen=True, slots=True)
class Job:
    """One kit: what it costs, for the question, and what gets it."""

    kit: Kit
    offer: str
    fetch: Callable[[], None]
    compiles: bool = False


def plan_jobs(kits: Iterable[Kit], progress: Say, status: Path | None) -> tuple[list[Job], list[HarnessError]]:
    """What is to be done, the quickest first, and why the rest cannot be."""
    jobs: list[Job] = []
    failures: list[HarnessError] = []
    apt: PrivateApt | None = None
    for kit in sorted(kits, key=lambda kit: _ORDER.index(type(kit.source))):
        try:
            match kit.source:
                case WheelSource() as source:
                    jobs.append(_wheel_job(plan_wheel(kit, source), progress))
                case DebianSource() as source:
                    apt = apt or PrivateApt(tools_dir().parent / "apt", progress, status=status)
                    jobs.append(debian_job(apt, apt.plan(kit, source), progress))
                case GoSource() as source:
                    jobs.append(_go_job(plan_go(kit, source), progress))
        except HarnessError as error:
            if error.render() not in {other.render() for other in failures}:  # without apt, all say the same
                failures.append(error)
            progress(f"{kit.title} cannot be had ({error.slug})")
    return jobs, failures


def _wheel_job(plan: WheelPlan, progress: Say) -> Job:
    what = f"{plan.kit.title} {plan.version} ({_size(plan.size)} compressed)"

    def fetch() -> None:
        progress(f"unpacking {what}")
        with into(wheel_dir(plan.source, plan.version)) as root:
            unpack_wheel(plan, root)

    return Job(plan.kit, f"unpack {what}", fetch)


def debian_job(apt: PrivateApt, plan: DebianPlan, progress: Say) -> Job:
    """Fetch and unpack the plan's packages; once more, with new lists, when the mirror has moved on."""

    def fetch() -> None:
        progress(f"fetching {_packages(plan)}")
        try:
            _unpack_debian(apt, plan)
        except HarnessError:
            if apt.updated:
                raise
            apt.update()
            _unpack_debian(apt, apt.plan(plan.kit, plan.source))

    return Job(plan.kit, f"fetch {_packages(plan)}", fetch)


def _unpack_debian(apt: PrivateApt, plan: DebianPlan) -> None:
    with into(debian_dir() / f"{plan.kit.name}-{plan.version}") as root:
        apt.unpack(plan, root)
        _try_out(plan.kit, lambda spec: find_in_root(spec, plan.source, root))


def _go_job(plan: GoPlan, progress: Say) -> Job:
    def fetch() -> None:
        with into(go_dir(plan.kit, plan.source)) as root:
            build(plan, root, progress)
            _try_out(plan.kit, lambda spec: find_built(spec, root))

    return Job(plan.kit, plan.offer, fetch, compiles=True)


def _try_out(kit: Kit, find: Callable[[ToolSpec], Tool | None]) -> None:
    """Every program of the kit is there and runs: a library that is missing shows here, not when a stack starts."""
    for spec in kit_tools(kit):
        tool = find(spec)
        if tool is None:
            raise install_failed(f"what was fetched for {kit.title} holds no {spec.binary}", kit=kit)
        try:
            tool_version(tool)
        except HarnessError as error:
            raise install_failed(f"{kit.title} was unpacked, but does not run", (error.cause,), kit) from error


def question(jobs: list[Job]) -> str:
    lines = [f"  {job.offer}" for job in jobs]
    return "\n".join((f"Into {tools_dir()}, without touching the system:", *lines, "Go on?"))


def _packages(plan: DebianPlan) -> str:
    count = len(plan.packages)
    names = ", ".join(package.name for package in plan.packages)
    return f"{count} Debian package{'s' * (count > 1)} for {plan.kit.title} ({_size(plan.size)}): {names}"


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
