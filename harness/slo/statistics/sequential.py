"""A test that may be looked at as often as one likes: has a mean that is promised to be at most a bound exceeded it?

A gambler bets against the promise, block of time by block of time. He begins with 1 and puts a fixed fraction f of what
he has on each block; a block with `seen` bad ones where the promise allows `allowed` multiplies it by

    1 + f * (seen - allowed) / largest      largest: the most that was allowed in a block so far

If, whatever came before, a block is expected to hold no more than is allowed, no bet wins on average, and neither does
the mean over several f: it is a test supermartingale. By Ville's inequality the chance that it ever reaches 1/alpha,
at any of all looks, is at most alpha (J. Ville, Etude critique de la notion de collectif, 1939; the bets: I.
Waudby-Smith and A. Ramdas, J. R. Stat. Soc. B 86 (2024) 1, section 4; optional stopping: A. Ramdas et al., Statistical
Science 38 (2023) 576). That is exact for every sample size and every law of what is not negative: shares, and means.

Samples within a block may depend on each other in any way. What must not be is that a block foretells the next one at
the limit of the promise; blocks of two seconds leave little of that where what makes samples alike lasts a second.

The alternatives, an exact binomial test at alpha / (k (k + 1)) at look k and a beta mixture (H. Robbins, Ann. Math.
Stat. 41 (1970) 1397), want independent samples. On those they stop as soon at twice what is allowed and 60 samples a
second, and sooner with many more; on streams whose neighbours are alike they accuse about one in two systems that keep
their promise, so they were not taken (docs/abort.md has the numbers).
"""

from __future__ import annotations

import math

import numpy as np

BLOCK_SECONDS = 2
_FRACTIONS = np.geomspace(0.02, 0.9, 8)  # small ones for noisy blocks, large ones for a plain breach


class Wealth:
    """What the gambler has; 1 at first, infinite once something was seen where nothing at all is allowed."""

    def __init__(self) -> None:
        self._logs = np.zeros(_FRACTIONS.size)
        self._largest = 0.0

    def add(self, seen: float, allowed: float) -> None:
        """One block. seen: the sum of what is bounded (bad ones, or values), 0 or more; allowed: the bound times the
        number of samples. A block without samples changes nothing."""
        self._largest = max(self._largest, allowed)
        if self._largest:
            self._logs += np.log1p(_FRACTIONS * ((seen - allowed) / self._largest))
        elif seen:
            self._logs[:] = math.inf

    @property
    def chance(self) -> float:
        """A bound on the chance of ever having seen this much against a promise that holds: 1 / wealth."""
        most = float(self._logs.max())
        if math.isinf(most):
            return 0.0
        return min(1.0, math.exp(-most) / float(np.mean(np.exp(self._logs - most))))

    def breaks(self, alpha: float) -> bool:
        """Whether the promise is broken; false of one that holds with a chance of at most alpha over all looks."""
        return self.chance <= alpha
