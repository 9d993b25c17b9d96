"""Page-Hinkley's test for a decline: small shortfalls add up, and what chance takes it gives back."""

from __future__ import annotations

import math


class PageHinkley:
    """A one-sided cumulative sum on a statistic that has mean 0 and standard deviation 1 while all is well.

    The recursion, with m_0 = 0:

        m_t = max(0, m_{t-1} - z_t - delta),    a decline where m_t >= threshold

    It is the lower side of Page's test (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954) with the
    mean known beforehand, where Hinkley's form (Biometrika 58, 1971) estimates it: a reference that learns from the
    stream learns the decline too. Declines of twice `delta` are found fastest. By Siegmund's approximation 0.5 and 8
    give about 19,000 updates between false alarms, and find a shift of 1.7 deviations in about 8.
    """

    def __init__(self, delta: float = 0.5, threshold: float = 8.0) -> None:
        """Both in standard deviations: the shortfall that is tolerated, and the sum that is not.

        Raises ValueError for a `delta` below 0, a `threshold` that is not above 0, and for what is not finite.
        """
        if not (math.isfinite(delta) and delta >= 0):
            raise ValueError(f"delta is {delta}, expected a number of at least 0")
        if not (math.isfinite(threshold) and threshold > 0):
            raise ValueError(f"threshold is {threshold}, expected a number above 0")
        self.delta = delta
        self.threshold = threshold
        self._sum = 0.0

    @property
    def statistic(self) -> float:
        """m_t: 0 while all is well, the threshold and above where a decline was detected."""
        return self._sum

    def update(self, z: float) -> bool:
        """Take one value; True while a decline stands detected, until `reset` or until values above 0 undo the sum.

        Raises ValueError for NaN or an infinite value, and is then as it was before.
        """
        if not math.isfinite(z):
            raise ValueError(f"z is {z}, expected a finite number: a value that is missing must not count as one")
        self._sum = max(0.0, self._sum - z - self.delta)
        return self._sum >= self.threshold

    def reset(self) -> None:
        """Begin again at m = 0, as after a decline that was reported."""
        self._sum = 0.0
