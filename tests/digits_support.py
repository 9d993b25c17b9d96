"""What the tests around the digits model share: the artefact, built once a session."""

from __future__ import annotations

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from model_server.build_model import build


@cache
def built_digits() -> Path:
    """The directory of a complete artefact, the same that the reference stack uses."""
    directory = Path(mkdtemp(prefix="digits-"))
    atexit.register(shutil.rmtree, directory)
    build(directory)
    return directory
