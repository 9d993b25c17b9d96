"""What the installer needs to know of a go.mod: the version of a module that it pins, and which Go it asks for."""

from __future__ import annotations

import re
from pathlib import Path

_REQUIRED = re.compile(r"^\s*(?:require\s+)?(\S+) v([^\s=]+)(?:\s*//.*)?$", re.MULTILINE)
_GO = re.compile(r"^go (\S+)$", re.MULTILINE)


def module_version(directory: Path, package: str) -> str:
    """The version, without its `v`, of the required module that holds `package`. ValueError: none does."""
    pins: dict[str, str] = dict(_REQUIRED.findall((directory / "go.mod").read_text()))
    holding = [path for path in pins if package == path or package.startswith(f"{path}/")]
    if not holding:
        raise ValueError(f"{directory / 'go.mod'} requires no module that holds {package}")
    return pins[max(holding, key=len)]


def needed_go(directory: Path) -> str:
    """The oldest Go that builds it, such as `1.26.5`. ValueError: the file does not say."""
    found = _GO.search((directory / "go.mod").read_text())
    if found is None:
        raise ValueError(f"{directory / 'go.mod'} has no `go` line")
    return found[1]


def go_number(text: str) -> tuple[int, ...]:
    """`go1.26.8`, `1.27rc1`, `devel go1.28-abc` as numbers that compare; () when there is none in it."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
