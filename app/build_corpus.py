"""`python -m app.build_corpus DIR`: make the corpus artefact out of this interpreter's documentation strings.

Fits TF-IDF and a truncated SVD (scikit-learn, here alone), embeds passages and held-out queries with the same numpy
code that answers requests, and finds the exact neighbours of every query by brute force. About 25 s on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.corpus import (
    COMPONENTS,
    FILES,
    MANIFEST,
    PASSAGES,
    QUERIES,
    QUERY_VECTORS,
    SCHEMA,
    TERMS,
    VECTORS,
    CorpusError,
)
from app.docstrings import Docstring, bag_of_terms, collect, installed_roots
from app.embedding import DIMENSIONS, MODEL_VERSION, Embedder, Vector, tokenise
from app.shared.artefact import combined_hash, sha256_of

PASSAGE_COUNT = 20_480
MIN_PASSAGES = 20_000
QUERY_COUNT = 1_000
NEIGHBOURS = 100
MAX_QUERY_CHARACTERS = 300
HELD_OUT_EVERY = 16
MAX_TERMS = 24_000
SPARE = 200  # passages and queries that may turn out to hold no known term


@dataclass(frozen=True, slots=True)
class Split:
    """Documents of the corpus and the texts of questions; no question is also a document."""

    passages: list[Docstring]
    queries: list[str]


def split(docstrings: Iterable[Docstring], passages: int, queries: int) -> Split:
    """Every 16th documentation string is held out and asked by its first paragraph, until both counts are reached."""
    kept: list[Docstring] = []
    asked: list[str] = []
    for position, docstring in enumerate(docstrings):
        question = " ".join(docstring.text.split("\n\n", 1)[0][:MAX_QUERY_CHARACTERS].split())
        if position % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 and len(asked) < queries and bag_of_terms(question):
            asked.append(question)
        elif len(kept) < passages:
            kept.append(docstring)
        elif len(asked) == queries:
            break
    bags = {bag_of_terms(docstring.text) for docstring in kept}
    return Split(kept, [question for question in asked if bag_of_terms(question) not in bags])


def fit(texts: Sequence[str], max_terms: int = MAX_TERMS) -> Embedder:
    """Fit vocabulary, idf weights and the SVD. At least 129 distinct terms must occur in two texts or more."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.utils.extmath import randomized_svd

    vectoriser = TfidfVectorizer(
        analyzer=tokenise, min_df=2, max_df=0.3, max_features=max_terms, sublinear_tf=True, dtype=np.float32
    )
    matrix = vectoriser.fit_transform(texts)
    _, _, components = randomized_svd(matrix, n_components=DIMENSIONS, n_iter=2, random_state=0)
    rows = np.ascontiguousarray(components.T * vectoriser.idf_[:, None], dtype=np.float32)
    return Embedder([str(term) for term in vectoriser.get_feature_names_out()], rows)


def nearest(queries: Vector, vectors: Vector, count: int) -> NDArray[np.intp]:
    """(queries, count) ids of the passages of greatest cosine, nearest first, ties by lower id."""
    scores = queries @ vectors.T
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def build(directory: Path, docstrings: Iterable[Docstring], passages: int, queries: int, minimum: int) -> None:
    """Write the artefact into `directory`. Raises CorpusError when there is too little text on this machine."""
    progress = Progress()
    parts = split(docstrings, passages + SPARE, queries + SPARE)
    progress(f"collected {len(parts.passages):,} passages and {len(parts.queries):,} queries")
    embedder = fit([passage.text for passage in parts.passages])
    progress(f"fitted {MODEL_VERSION} on {len(embedder.terms):,} terms")

    kept, vectors = _embed(embedder, [passage.text for passage in parts.passages], passages)
    asked, query_vectors = _embed(embedder, parts.queries, queries)
    if len(kept) < minimum or len(asked) < queries:
        raise CorpusError(
            f"corpus-too-small: {len(kept):,} passages and {len(asked):,} queries in {sys.prefix}, "
            f"at least {minimum:,} and {queries:,} are needed; install the project's packages (make install) and retry"
        )
    neighbours = nearest(query_vectors, vectors, NEIGHBOURS)
    progress(f"embedded everything and found {NEIGHBOURS} exact neighbours of each query")

    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)  # an unfinished artefact has none
    _write_lines(
        directory / PASSAGES,
        (
            {"id": number, "source": passage.source, "title": passage.title, "text": passage.text}
            for number, passage in enumerate(parts.passages[row] for row in kept)
        ),
    )
    _write_lines(
        directory / QUERIES,
        (
            {"text": parts.queries[row], "neighbours": found.tolist()}
            for row, found in zip(asked, neighbours, strict=True)
        ),
    )
    (directory / TERMS).write_text("".join(f"{term}\n" for term in embedder.terms), encoding="utf-8")
    np.save(directory / COMPONENTS, embedder.rows)
    np.save(directory / VECTORS, vectors)
    np.save(directory / QUERY_VECTORS, query_vectors)
    digest = _write_manifest(directory, passages=len(kept), queries=len(asked), terms=len(embedder.terms))
    progress(
        f"wrote {directory} ({sum((directory / f).stat().st_size for f in FILES) >> 20} MiB, sha256 {digest[:12]})"
    )


class Progress:
    """Prints each step with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, message: str) -> None:
        sys.stdout.write(f"corpus {time.monotonic() - self._start:5.1f} s  {message}\n")
        sys.stdout.flush()


def _embed(embedder: Embedder, texts: Sequence[str], count: int) -> tuple[list[int], Vector]:
    """The first `count` texts that hold a known term: their positions, and their vectors (n, 128)."""
    vectors = np.stack([embedder.embed(text) for text in texts])
    rows = np.flatnonzero(vectors.any(axis=1))[:count]
    return rows.tolist(), np.ascontiguousarray(vectors[rows])


def _write_lines(path: Path, records: Iterable[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _write_manifest(directory: Path, **counts: int) -> str:
    import sklearn

    files = {name: sha256_of(directory / name) for name in FILES}
    manifest = {
        "schema": SCHEMA,
        **counts,
        "dimensions": DIMENSIONS,
        "neighbours": NEIGHBOURS,
        "metric": "cosine",
        "model": MODEL_VERSION,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "files": files,
        "sha256": combined_hash(files),
    }
    unfinished = directory / f"{MANIFEST}.{os.getpid()}"
    unfinished.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(directory / MANIFEST)
    return str(manifest["sha256"])


def main() -> int:
    """Exit code 0 when the artefact is complete, 1 when this machine holds too little text."""
    parser = argparse.ArgumentParser(prog="python -m app.build_corpus", description="Build the corpus artefact.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write it; created when missing")
    directory = parser.parse_args().directory
    docstrings = collect(installed_roots(), processes=min(4, os.cpu_count() or 1))
    try:
        build(directory, docstrings, PASSAGE_COUNT, QUERY_COUNT, MIN_PASSAGES)
    except CorpusError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
