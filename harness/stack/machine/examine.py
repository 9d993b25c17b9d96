"""All checks of this machine, in the order that a reader wants them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.paths import cache_dir, state_dir
from harness.model.stackfile import StackFile
from harness.stack.availability import Unavailable, needed_by
from harness.stack.machine import capacity, moments, programs, rights, runtimes, stacks, surroundings
from harness.stack.machine.check import Check
from harness.stack.machine.sample import read_sample

SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Subject:
    """The stack that is to run here. path: its file, absolute."""

    path: Path
    file: StackFile


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found. services: programs by service, empty without a stack; missing: services that cannot be had."""

    checks: tuple[Check, ...]
    services: tuple[programs.ServicePrograms, ...]
    missing: Mapping[str, Unavailable]

    @property
    def problems(self) -> tuple[Check, ...]:
        """What keeps the stack from coming up."""
        return tuple(check for check in self.checks if check.state == "problem")


def examine(
    subject: Subject | None,
    *,
    wanted: str = "local",
    users: int | None = None,
    lateness_ns: int = moments.DEFAULT_LATENESS_NS,
    seconds: float = SAMPLE_SECONDS,
) -> Examination:
    """Look at this machine for about two seconds; starts no service.

    subject: the stack that is to run, or None for the machine alone; wanted: the runtime as it is asked for; users:
    most of any validation; lateness_ns: the least that any validation allows its generator; seconds: length of the
    sample.
    Raises UsageError: bad-tool-override, isolation-unknown, and what is wrong in the stack file.
    """
    sample = read_sample(seconds)  # first: what follows makes work of its own
    cores = capacity.read_cores()
    isolation = rights.read_isolation()
    disks = (capacity.read_disk("the cache", cache_dir()), capacity.read_disk("running stacks", state_dir()))
    disk = capacity.check_disk(disks)
    path = subject.path if subject is not None and disk.state != "problem" else None
    found = stacks.read_stacks(path)
    file = subject.file if subject is not None else None
    about_runtime, choice = runtimes.check_runtime(wanted, file)
    missing = choice.missing if choice is not None else {}
    already = any(one.usable for one in found)  # then it has what it needs
    needed = capacity.memory_needed(file, missing) if file is not None and not already else None
    services: list[programs.ServicePrograms] = []
    about_programs: list[Check] = []
    if subject is not None and choice is not None and choice.runtime == "local":
        services = programs.read_programs(subject.file, subject.path.parent, missing)
        target = needed_by(subject.file, [subject.file.spec.target.partition(".")[0]], wishes=False)
        about_programs = [programs.check_programs(services, target)]
    surrounding = surroundings.check_environment(os.environ)
    checks = [
        surroundings.check_python(surroundings.read_interpreter()),
        *about_programs,
        rights.check_isolation(isolation),
        rights.check_mounts(rights.read_mounts()),
        rights.check_ports(rights.read_ports(file), found),
        capacity.check_files(capacity.read_files(), users),
        capacity.check_cores(cores),
        capacity.check_memory(capacity.read_memory(), needed),
        disk,
        capacity.check_shm(capacity.read_shm(), isolation if isinstance(isolation, str) else ""),
        moments.check_load(sample, cores.usable),
        moments.check_steal(sample),
        moments.check_clock(sample),
        moments.check_timer(sample, lateness_ns),
        *([surrounding] if surrounding is not None else []),
        surroundings.check_docker(surroundings.read_engine()),
        *([about_runtime] if about_runtime is not None else []),
        stacks.check_stacks(found),
    ]
    return Examination(tuple(checks), tuple(services), missing)
