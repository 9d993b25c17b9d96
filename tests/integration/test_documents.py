"""A thousand mutated documents of each kind: read, or refused with a message that says where; no traceback, no hang.

Not with the quick tests, because each document takes some milliseconds; `make prove-documents` tries ten thousand.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.documents import KINDS, project_in
from tests.mutations import answer_to, mutations

NUMBER, SEED = 1_000, 4
HANG_S = 30.0  # far more than any document takes on a loaded machine, and far less than one without limits would


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_document_is_read_or_refused_where_it_is_wrong(tmp_path: Path, kind: str) -> None:
    path, seen = project_in(tmp_path), Counter[str]()
    for number, made in enumerate(mutations(KINDS[kind].texts(), NUMBER, SEED)):
        path.write_bytes(made)
        answer = answer_to(path, KINDS[kind].use)
        seen[answer.slug or "accepted"] += 1
        assert not answer.unlocated, f"document {number}: {answer.unlocated}: {answer.message}"
        assert len(answer.message) < 10_000, f"document {number}: a message of {len(answer.message)} characters"
        assert answer.seconds < HANG_S, f"document {number} took {answer.seconds:.1f} s"
    assert seen["accepted"] >= NUMBER / 50, seen  # mutations that are all refused at once test little
    assert {"yaml-syntax", "bad-value", "unknown-field", "missing-field", "file-empty"} <= seen.keys()
