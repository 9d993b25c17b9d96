"""The corpus artefact on disk: its layout, its manifest, and a reader that refuses anything incomplete or changed.

manifest.json           counts, dimensions, versions, a sha256 for each file and one over all of them
passages.jsonl          {"id", "source", "title", "text"} one a line; ids are 0, 1, 2, ...
vectors.npy             (passages, 128) float32, unit length, row = id
terms.txt               the vocabulary, one term a line, in row order
components.npy          (terms, 128) float32, see app.embedding
queries.jsonl           {"text", "neighbours": [100 ids, nearest first]} one a line; exact, by cosine
query_vectors.npy       (queries, 128) float32, what the embedder makes of each query's text
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.embedding import DIMENSIONS, Embedder, Vector
from app.shared.artefact import combined_hash, sha256_of

SCHEMA = "corpus/v1"
MANIFEST = "manifest.json"
PASSAGES = "passages.jsonl"
VECTORS = "vectors.npy"
TERMS = "terms.txt"
COMPONENTS = "components.npy"
QUERIES = "queries.jsonl"
QUERY_VECTORS = "query_vectors.npy"
FILES = (PASSAGES, VECTORS, TERMS, COMPONENTS, QUERIES, QUERY_VECTORS)


class CorpusError(Exception):
    """The artefact cannot be used; the message says which file, why, and how to make it anew."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One document of the corpus."""

    id: int
    source: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """A question that is not in the corpus, with the ids of its exact nearest passages, nearest first."""

    text: str
    neighbours: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """An artefact whose manifest was checked. Open it with `Corpus.open`."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Corpus:
        """Read the manifest and compare the hash of every file. Raises CorpusError."""
        remedy = f"build it with: python -m app.build_corpus {path}"
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CorpusError(f"corpus-missing: no {MANIFEST} in {path}; {remedy}") from None
        except ValueError as error:
            raise CorpusError(f"corpus-damaged: {path / MANIFEST} is not JSON ({error}); {remedy}") from None
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise CorpusError(f"corpus-outdated: {path / MANIFEST} does not say schema {SCHEMA!r}; {remedy}")
        recorded = manifest.get("files", {})
        for name in FILES:
            try:
                found = sha256_of(path / name)
            except FileNotFoundError:
                raise CorpusError(f"corpus-damaged: {path / name} is missing; {remedy}") from None
            if recorded.get(name) != found:
                raise CorpusError(
                    f"corpus-damaged: {path / name} is not the file that was built "
                    f"(sha256 {found[:12]}, expected {str(recorded.get(name))[:12]}); {remedy}"
                )
        if manifest.get("sha256") != combined_hash(recorded):
            raise CorpusError(f"corpus-damaged: {path / MANIFEST} disagrees with itself about its hash; {remedy}")
        return cls(path=path, manifest=manifest)

    @property
    def size(self) -> int:
        """How many passages there are."""
        return int(self.manifest["passages"])

    def passages(self) -> Iterator[Passage]:
        """Every passage in the order of ids."""
        with (self.path / PASSAGES).open(encoding="utf-8") as lines:
            for line in lines:
                yield Passage(**json.loads(line))

    def queries(self) -> Iterator[Query]:
        """Every held-out query, in file order."""
        with (self.path / QUERIES).open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                yield Query(text=record["text"], neighbours=tuple(record["neighbours"]))

    def vectors(self) -> Vector:
        """(passages, 128) float32, memory-mapped, row = id."""
        return self._load(VECTORS)

    def query_vectors(self) -> Vector:
        """(queries, 128) float32, memory-mapped, in the order of `queries()`."""
        return self._load(QUERY_VECTORS)

    def embedder(self) -> Embedder:
        """The query side of the model that made the vectors."""
        terms = (self.path / TERMS).read_text(encoding="utf-8").splitlines()
        return Embedder(terms, np.array(self._load(COMPONENTS)))  # in memory: gathering rows of a map costs thrice

    def _load(self, name: str) -> Vector:
        array: Vector = np.load(self.path / name, mmap_mode="r")
        if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != DIMENSIONS:
            raise CorpusError(f"corpus-damaged: {name} holds {array.dtype} {array.shape}, expected float32 (n, 128)")
        return array
