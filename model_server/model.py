"""The model as the server computes it: two matrix products in numpy, equal to the scikit-learn pipeline they came from.

Importing scikit-learn takes four seconds and 125 MiB to say the same; the build compares the two on every entity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.shared.digits import CLASSES, WEIGHTS, Digits, DigitsError
from app.shared.features import COLUMNS, Matrix

_NAMES = ("hidden", "hidden_bias", "output", "output_bias")


class Model:
    """A multilayer perceptron with one hidden layer of rectifiers and a softmax. Thread-safe: it never changes."""

    def __init__(self, weights: Mapping[str, Matrix]) -> None:
        """`hidden` (80, h), `hidden_bias` (h,), `output` (h, 10), `output_bias` (10,), float32; the input's scaling
        is part of `hidden`. Raises ValueError for anything else."""
        if missing := [name for name in _NAMES if name not in weights]:
            raise ValueError(f"no {', '.join(missing)} among the weights")
        self._hidden, self._hidden_bias, self._output, self._output_bias = (weights[name] for name in _NAMES)
        width = self._hidden.shape[-1]
        shapes = [weights[name].shape for name in _NAMES]
        if shapes != [(COLUMNS, width), (width,), (width, CLASSES), (CLASSES,)]:
            raise ValueError(f"weights of shapes {shapes} do not take {COLUMNS} columns to {CLASSES} classes")
        if any(weights[name].dtype != np.float32 for name in _NAMES):
            raise ValueError("the weights are not float32")

    @classmethod
    def load(cls, digits: Digits) -> Model:
        """The model of an artefact. Raises DigitsError."""
        try:
            with np.load(digits.path / WEIGHTS, allow_pickle=False) as file:
                return cls({name: file[name] for name in file.files})
        except ValueError as error:
            raise DigitsError(
                f"digits-damaged: {digits.path / WEIGHTS}: {error}; "
                f"build it with: python -m model_server.build_model {digits.path}"
            ) from None

    def predict_proba(self, rows: Matrix) -> Matrix:
        """(n, 80) float32 -> (n, 10) float32, the probability of each digit; a row adds up to 1."""
        hidden: Matrix = rows @ self._hidden
        hidden += self._hidden_bias
        np.maximum(hidden, 0, out=hidden)
        scores: Matrix = hidden @ self._output
        scores += self._output_bias
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores
