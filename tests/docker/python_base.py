"""What stands for the official image of Python: this interpreter where that image has its own, with pip, and with what
requirements-app.lock names from this environment, so that pip finds it all there: there is no index to be asked.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tests.docker.tree import NotHere, Tree

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements-app.lock"
ENV = {"LANG": "C.UTF-8"}
_PREFIX = "/usr/local"
_LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages")
_LINKED = re.compile(r"=> (/\S+) \(")


def name() -> str:
    """The image, as the Dockerfile names it."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def fill(tree: Tree) -> None:
    """Put all of it into `tree`. Raises NotHere for a package of the lock file that is not installed here."""
    library = Path(sysconfig.get_path("stdlib"))
    to = f"{_PREFIX}/lib/{library.name}"
    tree.shell()
    program = Path(sys.base_prefix, "bin", library.name)
    tree.program(f"{_PREFIX}/bin/{library.name}", program, {"LD_LIBRARY_PATH": str(library.parent)})
    for alias in ("python3", "python"):
        tree.link(f"{_PREFIX}/bin/{alias}", library.name)
    tree.files(to, library, without=(*_LEFT_OUT, "__pycache__", "config-*", "_tkinter*"))
    binaries = [path for path in library.glob("lib-dynload/*.so") if not path.name.startswith("_tkinter")]
    with zipfile.ZipFile(next(library.glob("ensurepip/_bundled/pip-*.whl"))) as pip:
        for member in pip.infolist():
            if not member.is_dir():
                tree.bytes(f"{to}/site-packages/{member.filename}", pip.read(member))
    for path, inside in _packages():
        tree.file(f"{to}/site-packages/{inside}", path)
        if ".so" in path.suffixes:
            binaries.append(path)
    for path in _linked(binaries):
        tree.file(f"/usr/lib/{path.parent.name}/{path.name}" if "-linux-" in path.parent.name else str(path), path)


def _packages() -> Iterable[tuple[Path, str]]:
    """The files of the locked packages, each with its path below site-packages."""
    for found in re.finditer(r"^([a-z0-9-]+)==(\S+?) ?(;.*)?\\$", LOCK.read_text(), re.MULTILINE):
        try:
            one = distribution(found[1])
        except PackageNotFoundError as error:
            if found[3]:
                continue  # of another version of Python, or another system
            raise NotHere(f"the package {found[1]}: make install") from error
        if one.version != found[2]:
            if found[3]:
                continue
            raise NotHere(f"{found[1]} {found[2]}: here is {one.version}; make install")
        for file in one.files or ():
            path = Path(str(file.locate()))
            if path.is_file() and ".." not in file.parts and "__pycache__" not in file.parts and path.suffix != ".pyc":
                yield path, str(file)


def _linked(binaries: Iterable[Path]) -> list[Path]:
    """The libraries of this machine, outside of its Python and its packages, that these are linked with."""
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False)
    if "not found" in done.stdout:
        raise NotHere(next(line.strip() for line in done.stdout.splitlines() if "not found" in line))
    found = {Path(path) for path in _LINKED.findall(done.stdout)}
    ours = (sys.base_prefix, sys.prefix)
    return sorted(path for path in found if not any(path.is_relative_to(one) for one in ours))
