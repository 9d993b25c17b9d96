"""What labels say about the model: scores over a sliding window, and whether its accuracy has declined."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np

from detectors.accuracy import binomial_z
from detectors.page_hinkley import PageHinkley

WINDOW = 500  # labelled predictions
BATCH = 100  # labelled predictions to one value of the detector
RECENT = 100_000  # predictions that may still be labelled


@dataclass(frozen=True, slots=True)
class Scores:
    """Of the labelled predictions in the window; all but accuracy are macro averages over the classes seen there."""

    accuracy: float
    precision: float
    recall: float
    f1_score: float


class ModelMonitor:
    """Scores one model. `expected` is the accuracy that it has while all is well."""

    def __init__(self, classes: int, expected: float, window: int = WINDOW, batch: int = BATCH) -> None:
        """`classes` labels 0, 1, ...; `window` and `batch` in labelled predictions."""
        self._pairs: deque[tuple[int, int]] = deque()
        self._confusion = np.zeros((classes, classes), dtype=np.int64)  # label x prediction
        self._window = window
        self._batch = batch
        # An accuracy of exactly 0 or 1 leaves chance no spread; half a case is as near as a batch can tell.
        self._expected = min(max(expected, 0.5 / batch), 1 - 0.5 / batch)
        self._detector = PageHinkley()
        self._seen = self._right = 0  # in the current batch

    def add(self, prediction: int, label: int) -> bool:
        """Take one labelled prediction; True when it completes a batch at which a decline is detected.

        The detector then begins anew, so that a decline that lasts is detected again.
        """
        self._pairs.append((label, prediction))
        self._confusion[label, prediction] += 1
        if len(self._pairs) > self._window:
            self._confusion[self._pairs.popleft()] -= 1
        self._seen += 1
        self._right += prediction == label
        if self._seen < self._batch:
            return False
        z = binomial_z(self._right, self._seen, self._expected)
        self._seen = self._right = 0
        if not self._detector.update(z):
            return False
        self._detector.reset()
        return True

    def scores(self) -> Scores | None:
        """None before the first label."""
        if not self._pairs:
            return None
        right = np.diag(self._confusion).astype(float)
        labelled, predicted = self._confusion.sum(axis=1), self._confusion.sum(axis=0)
        seen = (labelled + predicted) > 0
        return Scores(
            accuracy=float(right.sum() / len(self._pairs)),
            precision=_mean_ratio(right, predicted, seen),
            recall=_mean_ratio(right, labelled, seen),
            f1_score=_mean_ratio(2 * right, labelled + predicted, seen),
        )


def _mean_ratio(parts: np.ndarray, wholes: np.ndarray, seen: np.ndarray) -> float:
    """Over the classes seen; a ratio to 0 counts as 0."""
    ratios = np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
    return float(ratios[seen].mean())


class RecentPredictions:
    """The last predictions by id, each of which can be labelled once; the oldest go first."""

    def __init__(self, size: int = RECENT) -> None:
        self._size = size
        self._predictions: OrderedDict[str, int | None] = OrderedDict()

    def add(self, prediction_id: str, prediction: int) -> None:
        """Remember a prediction."""
        self._predictions[prediction_id] = prediction
        if len(self._predictions) > self._size:
            self._predictions.popitem(last=False)

    def take(self, prediction_id: str) -> int | None:
        """The prediction, the first time that it is asked for; None after that. Raises KeyError where none is known."""
        prediction = self._predictions[prediction_id]
        self._predictions[prediction_id] = None
        return prediction
