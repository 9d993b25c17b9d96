"""Text to a unit vector with numpy alone: TF-IDF weights folded through a truncated SVD that was fitted at build time.

The whole model is a vocabulary and one matrix, `rows` (terms x 128, float32), whose row is idf(term) times the
term's column of the SVD. A text's vector is the sum over its terms of (1 + ln count) * row, scaled to length one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 128
MODEL_VERSION = "tfidf-svd128-v1"

Vector = NDArray[np.float32]

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TERM = re.compile(r"[a-z][a-z0-9]+")


def tokenise(text: str) -> list[str]:
    """Lower-case terms of two characters or more; camelCase and snake_case names fall into their words."""
    return _TERM.findall(_CAMEL.sub(" ", text).lower())


class Embedder:
    """The query side of the model. `terms` in row order; `rows` is (len(terms), 128) float32, may be memory-mapped."""

    def __init__(self, terms: Sequence[str], rows: Vector) -> None:
        if rows.shape != (len(terms), DIMENSIONS):
            raise ValueError(f"rows are {rows.shape}, expected {(len(terms), DIMENSIONS)}")
        self.terms = tuple(terms)
        self.rows = rows
        self._index = {term: row for row, term in enumerate(terms)}

    def embed(self, text: str) -> Vector:
        """A unit vector, shape (128,), float32; all zeros when no term of the text is in the vocabulary."""
        index = self._index
        counts = Counter(row for term in tokenise(text) if (row := index.get(term)) is not None)
        if not counts:
            return np.zeros(DIMENSIONS, dtype=np.float32)
        weights = np.log(np.fromiter(counts.values(), dtype=np.float32, count=len(counts))) + np.float32(1)
        vector: Vector = weights @ self.rows[list(counts)]
        length = float(np.sqrt(vector @ vector))
        return vector / np.float32(length) if length > 0 else vector
