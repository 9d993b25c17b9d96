"""A process that holds a stack, to be killed: `python -m tests.proofs.holder STACK.yaml [--no-lease|--fail]`.

It prints one JSON line for each event of the stack, then one with `ready` (id, isolation), and waits until it is
killed or interrupted, or its input ends. --fail raises then, as a failed test does; --no-lease leaves the stack up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.core.errors import HarnessError
from harness.model.events import Event
from harness.stack.runtime import up


def tell(event: Event) -> None:
    print(json.dumps(event.payload()), flush=True)


def main() -> int:
    stackfile, flags = Path(sys.argv[1]), set(sys.argv[2:])
    try:
        stack = up(stackfile, lease="--no-lease" not in flags, emit=tell, allow_reuse=False)
    except HarnessError as error:
        print(json.dumps({"error": error.slug, "cause": error.cause}), flush=True)
        return 4
    with stack:
        print(json.dumps({"ready": stack.id, "isolation": stack.isolation}), flush=True)
        if "--no-lease" in flags:
            return 0
        sys.stdin.read()
        if "--fail" in flags:
            raise AssertionError("a test that fails")
    return 0


if __name__ == "__main__":
    sys.exit(main())
