"""Ten thousand mutated documents of each kind: each is accepted, or refused with a message that says where
(`make prove-documents`). Fixed seeds."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from harness.core.jsonio import write_json
from tests.documents import KINDS, project_in
from tests.mutations import answer_to, mutations
from tests.proofs.machine import conditions, cpu_times

SEED = 20_261_124
LIMIT_S = 2.0  # for one document
HANG_S = 60  # then the whole proof ends, with a traceback


def measure(kind: str, documents: int, kept: Path) -> dict[str, Any]:
    """One kind. What breaks a limit is kept as a file in `kept`."""
    seen: Counter[str] = Counter()
    wrong: dict[str, list[dict[str, Any]]] = {"unlocated": [], "tracebacks": [], "slow": []}
    slowest, before = 0.0, cpu_times()
    with tempfile.TemporaryDirectory() as directory:
        path = project_in(Path(directory))
        for number, made in enumerate(mutations(KINDS[kind].texts(), documents, SEED)):
            path.write_bytes(made)
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            found = ""
            try:
                answer = answer_to(path, KINDS[kind].use)
            except Exception:  # noqa: BLE001 - what this proof looks for
                found, told = "tracebacks", traceback.format_exc(limit=-3)
            else:
                seen[answer.slug or "accepted"] += 1
                slowest = max(slowest, answer.seconds)
                told = answer.unlocated or f"{answer.seconds:.2f} s"
                found = "unlocated" if answer.unlocated else "slow" if answer.seconds > LIMIT_S else ""
            faulthandler.cancel_dump_traceback_later()
            if found:
                wrong[found].append({"document": number, "told": told})
                (kept / f"{kind}-{number}.yaml").write_bytes(made)
    return {
        "documents": documents,
        "accepted": seen.pop("accepted", 0),
        "refused": dict(seen.most_common()),
        "slowest_ms": round(slowest * 1000, 1),
        **wrong,
        "conditions": conditions(before),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--kept", type=Path, help="where documents that break a limit are put")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    kept = options.kept or Path(tempfile.mkdtemp(prefix="documents-"))
    kept.mkdir(parents=True, exist_ok=True)
    kinds = {}
    for kind in KINDS:
        found = kinds[kind] = measure(kind, options.documents, kept)
        print(f"{kind}: {found}", flush=True)
    held = not any(found[wrong] for found in kinds.values() for wrong in ("unlocated", "tracebacks", "slow"))
    write_json(options.out, {"seed": SEED, "limit_seconds": LIMIT_S, "held": held, **kinds})
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
