"""Each fault has an example that its own model and the reference stack accept."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.faults.examples import EXAMPLES
from harness.faults.making import read, wrong_target
from harness.faults.registry import FAULTS
from harness.model.stackfile import load_stackfile

ROOT = Path(__file__).parent.parent.parent


def test_there_is_one_for_each_fault_and_none_besides() -> None:
    assert set(EXAMPLES) == set(FAULTS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_accepted(name: str) -> None:
    made, (file, _) = FAULTS[name], load_stackfile(ROOT / "stack.yaml")
    parameters = read(made, EXAMPLES[name])
    assert not made.targets(file) or wrong_target(made, file, parameters) is None
