"""The files of an image that is made from nothing: programs of this machine with the libraries that they name."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

_USERS = {"root": 0, "nobody": 65534}
_MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
# what entry points, initialisation scripts and those who look into a container ask for
_SHELL = (
    *("sh", "basename", "cat", "chmod", "chown", "cp", "date", "dirname", "env", "false", "find", "grep", "head", "id"),
    *("kill", "ln", "ls", "mkdir", "mv", "realpath", "rm", "sed", "setpriv", "sleep", "stat", "tail", "touch", "true"),
)


class NotHere(Exception):
    """What of an image is not on this machine."""


class Tree:
    """Files by their path in the image. Every one has mode and owner; of time there is none, so that the same files
    are the same layer."""

    def __init__(self, users: Mapping[str, int] | None = None) -> None:
        self._entries: dict[str, tuple[tarfile.TarInfo, Path | bytes | None]] = {}
        for name, target in _MERGED.items():
            self.directory(f"/{target}")
            self.link(f"/{name}", target)
        self.directory("/tmp", mode=0o1777)
        self.directory("/etc")
        known = {**_USERS, **(users or {})}
        self.text("/etc/passwd", "".join(f"{name}:x:{uid}:{uid}::/:/bin/sh\n" for name, uid in known.items()))
        self.text("/etc/group", "".join(f"{name}:x:{uid}:\n" for name, uid in known.items()))
        self.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")

    def directory(self, path: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """A directory with those above it."""
        parent = PurePosixPath(path).parent
        if parent != PurePosixPath("/") and str(parent) not in self._entries:
            self.directory(str(parent))
        self._add(path, tarfile.DIRTYPE, mode, owner, None)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._add(path, tarfile.SYMTYPE, 0o777, 0, None).linkname = target

    def text(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """A file with this text."""
        self.bytes(path, text.encode(), mode=mode)

    def bytes(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """A file with this content."""
        self.directory(str(PurePosixPath(path).parent))
        self._add(path, tarfile.REGTYPE, mode, 0, content).size = len(content)

    def file(self, path: str, source: Path) -> None:
        """A copy of a file, executable if that is."""
        self.directory(str(PurePosixPath(path).parent))
        mode = 0o755 if os.access(source, os.X_OK) else 0o644
        self._add(path, tarfile.REGTYPE, mode, 0, source).size = source.stat().st_size

    def files(self, path: str, source: Path, *, without: Iterable[str] = ()) -> None:
        """A copy of a directory and all that links in it lead to; `without` names and globs that are left out."""
        for found in sorted(source.rglob("*")):
            relative = found.relative_to(source)
            if found.is_file() and not any(Path(part).match(glob) for part in relative.parts for glob in without):
                self.file(f"{path}/{relative}", found)

    def program(self, path: str, source: Path, env: Mapping[str, str] | None = None) -> None:
        """A program and the libraries that it is linked with; env: what it needs here to find them."""
        self.file(path, source)
        self.libraries(source, env)

    def libraries(self, source: Path, env: Mapping[str, str] | None = None, *, to: str | None = None) -> None:
        """What `source` is linked with, where the loader looks; what `env` says where to find goes to `to` if named."""
        needed = linked(source, env)
        usual = next((_merged(path.parent) for name, path in needed.items() if name.startswith("libc.so")), None)
        own = [Path(entry) for entry in (env or {}).get("LD_LIBRARY_PATH", "").split(":") if entry]
        for name, path in needed.items():
            if name.startswith("/"):  # the loader itself, whose place programs name
                self.file(_merged(Path(name)), path.resolve())
            elif to is not None and path.parent in own:
                self.file(f"{to}/{name}", path.resolve())
            else:
                self.file(f"{usual or _merged(path.parent)}/{name}", path.resolve())

    def shell(self, *more: str) -> None:
        """A shell and the usual small programs, and `more`, from this machine's PATH."""
        for name in (*_SHELL, *more):
            self.program(f"/usr/bin/{name}", on_path(name))

    def write(self, file: IO[bytes]) -> None:
        """All of it as a tar archive."""
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for _, (info, content) in sorted(self._entries.items()):
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        archive.addfile(info, source)
                else:
                    archive.addfile(info, None if content is None else io.BytesIO(content))

    def _add(self, path: str, kind: bytes, mode: int, owner: int, content: Path | bytes | None) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path.lstrip("/"))
        info.type, info.mode, info.uid, info.gid = kind, mode, owner, owner
        if kind == tarfile.DIRTYPE and path in self._entries and (mode, owner) == (0o755, 0):
            return self._entries[path][0]  # asked for as a parent: what it is stays
        self._entries[path] = (info, content)
        return info


def linked(source: Path, env: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Name -> path of the libraries of a program, the loader under its whole path; of a static one none.

    Raises NotHere when one of them is missing.
    """
    done = subprocess.run(
        ["ldd", str(source)],
        env={**os.environ, **(env or {}), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Path] = {}
    for line in done.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if "not found" in rest:
            raise NotHere(f"{name}, which {source} is linked with")
        path = (rest if arrow else name).partition(" (")[0]
        if path.startswith("/"):
            found[path if name.startswith("/") or not arrow else name] = Path(path)
    return found


def on_path(name: str) -> Path:
    """A program of this machine. Raises NotHere."""
    found = shutil.which(name)
    if found is None:
        raise NotHere(f"{name} on PATH")
    return Path(found).resolve()


def _merged(path: Path) -> str:
    """A path with the names of the top directories that are links in our images."""
    first, *rest = path.parts[1:]
    return "/" + "/".join([_MERGED.get(first, first), *rest])
