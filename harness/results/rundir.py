"""One directory under results/: self-contained, versioned, enough to judge the run again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.core.clock import stamp, wall_ns
from harness.core.ids import new_id
from harness.core.jsonio import read_json, write_json
from harness.results.events import EventWriter

RUN_SCHEMA = 1


class RunDir:
    """Paths and files of a run.

    events/<producer>.jsonl   what happened                 load/<worker>.jsonl    samples and counts
    evidence/...              what the verdict was made of  logs/<service>.log     what the services said
    plan.json                 the validation as resolved    run.json, verdict.json
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, root: Path, name: str) -> RunDir:
        """A new directory `<root>/<utc>-<name>-<id>`, and `<root>/latest` pointing to it."""
        path = root / f"{stamp(wall_ns())}-{name}-{new_id()}"
        for part in ("events", "load", "evidence", "logs"):
            (path / part).mkdir(parents=True)
        link = root / f".latest-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(root / "latest")
        return cls(path)

    @property
    def events(self) -> Path:
        return self.path / "events"

    @property
    def load(self) -> Path:
        return self.path / "load"

    @property
    def evidence(self) -> Path:
        return self.path / "evidence"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def writer(self, producer: str) -> EventWriter:
        return EventWriter(self.events, producer)

    def write(self, name: str, value: Any) -> None:
        """Write `<run>/<name>` as canonical JSON, atomically."""
        write_json(self.path / name, value)

    def read(self, name: str) -> Any:
        return read_json(self.path / name)
