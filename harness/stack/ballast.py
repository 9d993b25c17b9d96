"""Keeps a file system full: one file grows until no more than so many bytes are free, and again when more become free.

`python -m harness.stack.ballast FILE SPARE`, inside the stack, until it is killed. The file is whoever killed it's to
remove. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

PAUSE = 0.02  # seconds between two looks


def fill(fd: int, spare: int) -> None:
    """Let the file grow until no more than `spare` bytes and a block are free."""
    told = os.fstatvfs(fd)
    block = told.f_frsize
    more = told.f_bavail * block - spare
    while more >= block:
        try:
            os.posix_fallocate(fd, os.fstat(fd).st_size, more // block * block)
            return
        except OSError:  # somebody else took some of it
            more //= 2


def main() -> int:
    file, spare = sys.argv[1], int(sys.argv[2])
    fd = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            fill(fd, spare)
            time.sleep(PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
