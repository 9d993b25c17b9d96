"""A server that an installed wheel carries as compressed files: unpacked once, beside the files it needs."""

from __future__ import annotations

import lzma
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from harness.stack.install_errors import install_failed
from harness.stack.toolspec import Kit, WheelSource


@dataclass(frozen=True, slots=True)
class WheelPlan:
    """Where the compressed files are; `size` is theirs, in bytes."""

    kit: Kit
    source: WheelSource
    version: str
    module: Path
    size: int


def plan_wheel(kit: Kit, source: WheelSource) -> WheelPlan:
    """Find the wheel in this interpreter, without importing it. Raises HarnessError `install-failed`."""
    found = find_spec(source.module)
    if found is None or not found.submodule_search_locations:
        raise install_failed(f"the wheel {source.distribution} is not installed in this Python environment", kit=kit)
    module = Path(found.submodule_search_locations[0])
    size = sum(path.stat().st_size for path in (module / source.data).glob("*.lzma"))
    return WheelPlan(kit, source, metadata.version(source.distribution), module, size)


def unpack_wheel(plan: WheelPlan, root: Path) -> None:
    """Decompress everything into `root`, executable, with the files named `beside`. Raises `install-failed`."""
    archives = sorted((plan.module / plan.source.data).glob("*.lzma"), key=lambda path: -path.stat().st_size)
    for name in plan.source.beside:
        shutil.copy(plan.module / name, root)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # lzma lets go of the interpreter lock
            list(pool.map(lambda archive: _decompress(archive, root / archive.stem), archives))
    except (lzma.LZMAError, EOFError) as error:
        raise install_failed(
            f"the files of the wheel {plan.source.distribution} are damaged: {error}", kit=plan.kit
        ) from error


def _decompress(archive: Path, target: Path) -> None:
    with lzma.open(archive) as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    target.chmod(0o755)
