"""`python -m harness.faults.undo.milvus_loaded ADDRESS COLLECTION REPLICAS`: load a collection, and wait until it
answers. Milvus keeps what was released, so one that is started again has to be told too."""

from __future__ import annotations

import sys
import time

from harness.faults.collections import answering

PATIENCE = 50.0  # seconds
PAUSE = 0.2
CALL = 20.0  # seconds for one call


def load(address: str, collection: str, replicas: int) -> str:
    """What is wrong, '' if nothing."""
    from pymilvus import MilvusClient, MilvusException

    try:
        client = MilvusClient(f"http://{address}", timeout=2.0)
        try:
            client.load_collection(collection, timeout=CALL, replica_number=replicas)
        finally:
            client.close()
    except MilvusException as error:
        return str(error.message)
    return "" if collection in answering(address) else "loaded, and does not answer yet"


def main() -> int:
    address, collection, replicas = sys.argv[1], sys.argv[2], int(sys.argv[3])
    until = time.monotonic() + PATIENCE
    while wrong := load(address, collection, replicas):
        if time.monotonic() > until:
            sys.stderr.write(f"milvus at {address}: {collection}: {wrong}\n")
            return 1
        time.sleep(PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
