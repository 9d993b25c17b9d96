"""Programs that are run inside a container, by the engine's exec. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.stack.docker.engine import Engine

TIMEOUT = 10.0  # seconds for what a fault asks


def execute(engine: Engine, container: str, argv: Sequence[str]) -> str:
    """Run a program as root in a running container; what it wrote to its standard output.

    Raises HarnessError engine-lost, and engine-refused: the container does not run, has no such program, or that ended
    with anything but 0.
    """
    body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(argv), "User": "0"}
    made = engine.call("POST", f"/containers/{container}/exec", body)["Id"]
    said: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
    with engine.open("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False}, timeout=TIMEOUT) as answer:
        while len(head := answer.read(8)) == 8:  # one stream of two: its number, three of nothing, a length
            said.setdefault(head[0], bytearray()).extend(answer.read(int.from_bytes(head[4:], "big")))
    told = engine.call("GET", f"/exec/{made}/json")
    if told["ExitCode"] != 0:
        why = said[2].decode(errors="replace").strip() or json.dumps(told["ExitCode"])
        raise HarnessError(
            "engine-refused",
            f"{' '.join(argv[:3])} in {container} ended with {told['ExitCode']}: {why}",
            "Look at the container (docker logs).",
        )
    return said[1].decode(errors="replace")
