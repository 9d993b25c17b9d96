"""What the tests of the stack share: one reference stack for the whole session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.gate.session import Session
from harness.stack.runtime import Stack

ROOT = Path(__file__).parent.parent


def pytest_configure() -> None:
    """What must not leak in. Whoever starts us in the background has SIGINT ignored, and our children, which tests stop
    by it, would inherit that; and whoever calibrated this machine would have short runs judged by its noise floor; and
    a Docker engine of this machine would be taken by tests that are not about it."""
    os.environ.setdefault("SLO_HARNESS_RUNTIME", "local")
    os.environ["SLO_HARNESS_CALIBRATION"] = str(Path(__file__).with_name("no-calibration.json"))
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def slo_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session whose runs go to a temporary directory; the stack comes up with the first test that wants it."""
    with Session(tmp_path_factory.mktemp("results"), reuse=False) as session:
        yield session


@pytest.fixture(scope="session")
def reference_stack(slo_session: Session) -> Stack:
    """The reference system, ready. Tests that break it bring up one of their own."""
    return slo_session.stack(ROOT / "stack.yaml", slo_session.tell)
