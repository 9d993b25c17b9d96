"""The features of a digit: which there are, how they follow from its pixels, and the order that the model takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float32]

SIDE = 8  # an image is 8 x 8
INK = 16  # the darkest pixel
FEATURES = {"pixels": SIDE * SIDE, "profile": 2 * SIDE}  # name -> columns, in the order of the model's input
COLUMNS = sum(FEATURES.values())


def profile(pixels: ArrayLike) -> Matrix:
    """(n, 64) pixels of 0 to 16 -> (n, 16) float32: the sums of 8 rows, then of 8 columns, as shares of all ink.

    A share is 0 for an empty line and 1 for one that is full. Raises ValueError for another shape.
    """
    images = _matrix("pixels", pixels).reshape(-1, SIDE, SIDE)
    sums: Matrix = np.hstack([images.sum(axis=2), images.sum(axis=1)])
    sums /= SIDE * INK
    return sums


def model_input(pixels: ArrayLike, profile: ArrayLike) -> Matrix:
    """(n, 64) and (n, 16) -> (n, 80) float32, what the model was trained on. Raises ValueError for other shapes."""
    columns = [_matrix("pixels", pixels), _matrix("profile", profile)]
    if len(columns[0]) != len(columns[1]):
        raise ValueError(f"{len(columns[0])} rows of pixels and {len(columns[1])} of profile, expected as many")
    return np.hstack(columns)


def _matrix(name: str, values: ArrayLike) -> Matrix:
    matrix = np.asarray(values, dtype=np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != FEATURES[name]:
        raise ValueError(f"{name} has shape {list(matrix.shape)}, expected [n, {FEATURES[name]}]")
    return matrix
