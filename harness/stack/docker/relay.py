"""How containers reach the processes on this machine: `python -m harness.stack.docker.relay CONFIG READY`.

CONFIG is JSON: listen (an address of the network's, on this machine) and ports. Each port there is handed on to the
same port of the loopback; nothing else is. READY is made when all listen. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from functools import partial
from pathlib import Path

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16


async def relay(listen: str, ports: list[int], ready: Path, to: str = LOOPBACK) -> None:
    """Serve until it is cancelled. Raises OSError when one of the ports is taken at `listen`."""
    async with contextlib.AsyncExitStack() as servers:
        for port in ports:
            await servers.enter_async_context(await asyncio.start_server(partial(_serve, to, port), listen, port))
        ready.touch()
        await asyncio.Event().wait()


async def _serve(host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, to its end in both directions; where nobody listens behind it, it is closed."""
    try:
        far_reader, far_writer = await asyncio.open_connection(host, port)
    except OSError:
        writer.transport.abort()  # a reset, as near to `refused` as can be said after the fact
        return
    await asyncio.gather(_pump(reader, far_writer, writer), _pump(far_reader, writer, far_writer))
    for one in (writer, far_writer):
        one.close()
        with contextlib.suppress(ConnectionError):
            await one.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
    """One direction: its end is handed on as an end, a reset as a reset of both."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
        back.transport.abort()


def main(arguments: list[str]) -> None:
    config, ready = arguments
    told = json.loads(Path(config).read_bytes())
    try:
        asyncio.run(relay(told["listen"], told["ports"], Path(ready)))
    except OSError as error:
        sys.exit(f"relay: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
