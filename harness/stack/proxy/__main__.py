"""`python -m harness.stack.proxy CONFIG.json` with {"links": {name: {"listen": port, "to": port}}, "ready": path,
"control": path} listens on 127.0.0.1 and, for faults, on the unix socket `control` (which may be left out); it writes
the file `ready` once all links and the control channel do. One process serves all links.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from pathlib import Path

import orjson
import uvloop

from harness.stack.proxy.clock import Clock
from harness.stack.proxy.control import Control
from harness.stack.proxy.echo import Echo
from harness.stack.proxy.link import Link
from harness.stack.proxy.sides import HOST, Downstream

BACKLOG = 1024


async def serve(config: Path) -> None:
    """Listen on every link of the configuration, for ever. Raises OSError when a port is taken."""
    told = orjson.loads(config.read_bytes())
    loop = asyncio.get_running_loop()
    clock = Clock()
    dials: set[asyncio.Task[None]] = set()
    links = {name: Link(name, int(link["to"]), clock, dials) for name, link in told["links"].items()}
    for name, link in links.items():
        near = int(told["links"][name]["listen"])
        await loop.create_server(lambda link=link: Downstream(link), HOST, near, backlog=BACKLOG)  # type: ignore[misc]
    if "control" in told:
        echo = await loop.create_server(Echo, HOST, 0, backlog=BACKLOG)
        for link in links.values():
            link.echo = echo.sockets[0].getsockname()[1]
        await Control(links).listen(Path(told["control"]))
    Path(told["ready"]).touch()
    gc.freeze()
    await asyncio.Event().wait()


def main() -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a blackhole keeps what clients have given up
    uvloop.run(serve(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
