"""Labels for predictions that were made: joined, and handed to the monitor of the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from app.metrics import Metrics
from app.monitor import ModelMonitor, RecentPredictions


class UnknownPredictionError(Exception):
    """No such prediction, or one so old that it is forgotten: the caller's mistake."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a label: accepted or duplicate; and whether it completed a batch that shows a decline."""

    outcome: str
    drift_detected: bool = False


class Feedback:
    """Keeps the model's scores and its drift counter up to date."""

    def __init__(self, recent: RecentPredictions, monitor: ModelMonitor, metrics: Metrics) -> None:
        self._recent = recent
        self._monitor = monitor
        self._metrics = metrics

    def label(self, prediction_id: str, label: int) -> Taken:
        """A second label for a prediction changes nothing. Raises UnknownPredictionError."""
        try:
            prediction = self._recent.take(prediction_id)
        except KeyError:
            raise UnknownPredictionError(f"no recent prediction {prediction_id!r}") from None
        if prediction is None:
            return Taken("duplicate")
        drifted = self._monitor.add(prediction, label)
        if drifted:
            self._metrics.drift_detected.inc()
        if (scores := self._monitor.scores()) is not None:
            for name, value in asdict(scores).items():
                self._metrics.score(name, value)
        return Taken("accepted", drifted)
