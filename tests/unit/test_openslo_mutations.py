"""A document that holds itself, where each kind of part may stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.model.openslo import load_objectives


@pytest.mark.parametrize(
    "part",
    [
        "spec: &a {indicator: *a}",
        "spec: &a {objectives: [*a]}",
        "metadata: &a {labels: *a}",
        "spec: &a [*a]",
    ],
)
def test_a_document_that_holds_itself_is_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(f"apiVersion: openslo/v1\nkind: SLO\n{part}\n")
    with pytest.raises(UsageError, match="holds itself") as caught:
        load_objectives(path)
    assert caught.value.location is not None
