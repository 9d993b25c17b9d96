"""`harness --help` is there at once: the command imports what is heavy only for the command that wants it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

HEAVY = {"numpy", "scipy", "pydantic", "ruamel", "requests", "locust", "gevent", "psutil", "prometheus_api_client"}


def test_the_command_imports_nothing_heavy_to_show_its_help() -> None:
    code = "import sys, harness.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_a_check_imports_neither_the_load_nor_the_statistics(tmp_path: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from harness.cli.main import app; "
        "done = CliRunner().invoke(app, ['check', 'slos', '--results', 'none']); "
        "assert done.exit_code in (0, 3), done; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}  # without a calibration, which is compared by statistics
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=env, cwd=ROOT
    )
    assert {"scipy", "locust", "gevent", "prometheus_api_client"} & set(done.stdout.split()) == set()
