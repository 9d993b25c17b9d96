"""These tests are collected inside an engine of their own alone: python -m tests.docker.engine."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "SLO_ENGINE" in os.environ else ["test_*.py"]
