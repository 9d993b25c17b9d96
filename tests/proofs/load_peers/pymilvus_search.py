"""Searches by pymilvus as VectorDBBench drives it: processes of their own, each asks one question after the other.

    python -m tests.proofs.load_peers.pymilvus_search ADDRESS PROCESSES SECONDS NPROBE

The corpus is that of SLO_ARTEFACT_CORPUS. Each reply is decoded and its recall worked out, as ours does. Prints
searches, CPU seconds of all processes while they asked, and the mean recall. Nothing of Locust is imported: it would
patch the sockets.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

WARM_SEARCHES, START_SECONDS, TOP_K = 20, 400, 10


def ask(address: str, number: int, seconds: float, nprobe: int, told: Any) -> None:
    import numpy as np
    from pymilvus import Collection, connections

    connections.connect(host=address.partition(":")[0], port=address.partition(":")[2])
    collection = Collection("documents")
    (index,) = collection.indexes
    corpus = Path(os.environ["SLO_ARTEFACT_CORPUS"])
    vectors = np.load(corpus / "query_vectors.npy")
    rows = [json.loads(line) for line in (corpus / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = [frozenset(row["neighbours"][:TOP_K]) for row in rows]
    parameters = {"metric_type": index.params["metric_type"], "params": {"nprobe": nprobe}}
    at, count, recall = number * 61, -WARM_SEARCHES, 0.0
    until, cpu = 0.0, 0.0
    while count < 0 or time.monotonic() < until:
        question = at % len(vectors)
        (hits,) = collection.search([vectors[question].tolist()], index.field_name, parameters, limit=TOP_K)
        found = len(wanted[question].intersection(hits.ids)) / TOP_K
        count, at = count + 1, at + 1
        if count == 0:  # warm: what came before, its imports and connection, is not counted
            until, cpu = time.monotonic() + seconds, time.process_time()
        elif count > 0:
            recall += found
    told.put((count, time.process_time() - cpu, recall))


def main() -> None:
    address, processes, seconds, nprobe = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    started = [context.Process(target=ask, args=(address, at, seconds, nprobe, told)) for at in range(processes)]
    for one in started:
        one.start()
    found = [told.get(timeout=seconds + START_SECONDS) for _ in started]
    for one in started:
        one.join()
    searches, cpu, recall = (sum(each) for each in zip(*found, strict=True))
    print(json.dumps({"searches": searches, "cpu": cpu, "recall": recall / max(1, searches)}))


if __name__ == "__main__":
    main()
