"""Deletes toxics of a toxiproxy when whoever set them is gone: at the end of its standard input, or after a time.

`python -m harness.stack.toxics_guard URL PROXY SECONDS TOXIC...`; 0 seconds for none. It says `armed`, and ends with 0
when the server lists none of them any more. Toxiproxy keeps what it was told for ever. Standard library only.
"""

from __future__ import annotations

import json
import select
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 30.0  # seconds until it gives up
WAIT = 5.0  # seconds for a reply
PAUSE = 0.05  # seconds between two looks
LOOKS = 3  # in a row without a toxic: one may have been under way to the server when its sender died

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def delete(url: str, proxy: str, toxics: list[str]) -> bool:
    """Whether all are gone, in the time that is given to it."""
    base = f"{url}/proxies/{urllib.parse.quote(proxy, safe='')}/toxics"
    until, clear = time.monotonic() + PATIENCE, 0
    while clear < LOOKS and time.monotonic() < until:
        try:
            left = [one["name"] for one in json.load(_open(base, timeout=WAIT)) if one["name"] in toxics]
            for name in left:
                _open(urllib.request.Request(f"{base}/{name}", method="DELETE"), timeout=WAIT).close()
            clear = 0 if left else clear + 1
        except urllib.error.HTTPError as error:
            clear = clear + 1 if error.code == 404 else 0  # the toxic, or the whole proxy, is gone
        except (OSError, ValueError, KeyError, TypeError):
            clear = 0
        time.sleep(PAUSE)
    return clear >= LOOKS


def main(url: str, proxy: str, seconds: str, *toxics: str) -> int:
    print("armed", flush=True)  # noqa: T201 - what its parent waits for
    select.select([sys.stdin], [], [], float(seconds) or None)  # nothing is ever written: it ends
    return 0 if delete(url, proxy, list(toxics)) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
