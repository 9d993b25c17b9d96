"""Whose targets Prometheus knows: `python -m harness.stack.scrape_jobs DIRECTORY` writes its configuration anew.

That is the whole one less the targets of every job that has a file of its name below `dropped`; so whoever puts a job
back does so for this job alone, and a second time changes nothing. The job itself stays: of one that is gone,
Prometheus ends no series, and `up` would be 1 for five minutes more.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.stack.services.rendering import dump_yaml

CONFIG = "prometheus.yml"
WHOLE = "prometheus.whole.yml"  # as it was before the first job was dropped
DROPPED = "dropped"


def marker(directory: Path, job: str) -> Path:
    """The file that says that a job is dropped. directory: that of the service. A job's name may have any character."""
    return directory / DROPPED / job.encode().hex()


def write_config(directory: Path) -> None:
    """Write the configuration without the targets of dropped jobs; Prometheus reads it at its next SIGHUP."""
    (directory / DROPPED).mkdir(exist_ok=True)
    with (directory / DROPPED).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two may come and go at once
        whole, path = directory / WHOLE, directory / CONFIG
        if not whole.exists():
            new = whole.with_suffix(".new")
            shutil.copyfile(path, new)
            new.replace(whole)
        config: dict[str, Any] = YAML(typ="safe", pure=True).load(whole)
        jobs = [
            {**job, "static_configs": []} if marker(directory, job["job_name"]).exists() else job
            for job in config["scrape_configs"]
        ]
        new = path.with_suffix(".new")
        dump_yaml(new, config | {"scrape_configs": jobs})
        shutil.copymode(path, new)  # in a container somebody else reads it
        new.replace(path)


if __name__ == "__main__":
    write_config(Path(sys.argv[1]))
