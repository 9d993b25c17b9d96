"""Which machine this is, and since when it runs: what was measured on another, or before, does not hold here."""

from __future__ import annotations

from pathlib import Path

from harness.model.calibration import Machine
from harness.stack.machine.capacity import read_cores

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CPUS = Path("/proc/cpuinfo")
_NAMES = ("model name", "Model", "cpu model", "Hardware", "cpu")  # as the architectures call it


def read_machine(boot: Path = _BOOT, cpus: Path = _CPUS) -> Machine:
    """What the kernel does not say is ''."""
    return Machine(_text(boot).strip(), cpu_model(_text(cpus)), read_cores().usable)


def cpu_model(text: str) -> str:
    """Of the first processor, from the text of /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return next((fields[name] for name in _NAMES if fields.get(name)), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
