"""Intervals of a share: of requests that failed, of values below a bound."""

from __future__ import annotations

import math

from scipy.special import betaincinv, ndtri

from harness.slo.statistics.confidence import TAIL

FEW = 3  # so many events or fewer, or their opposites: the normal approximation behind Wilson's interval is poor there
Interval = tuple[float, float]


def wilson(share: float, samples: float, tail: float = TAIL) -> Interval:
    """Wilson's score interval; each end errs with probability `tail`. samples: 0 < n, need not be whole.

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209
    """
    z = float(-ndtri(tail))
    middle = share + z * z / (2 * samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def exact(share: float, samples: float, tail: float = TAIL) -> Interval:
    """Clopper and Pearson's interval by quantiles of the beta distribution, which take counts that are not whole.

    lower: I_p(k, n-k+1) = tail; upper: I_p(k+1, n-k) = 1 - tail; k = share * n. Without any event the upper end is
    1 - tail^(1/n), the 'rule of three' (3/n at one-sided 95 %, 3.7/n here).
    C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404; effective n: E. L. Korn and B. I. Graubard, Survey
    Methodology 24 (1998) 193
    """
    events = share * samples
    rest = samples - events
    lower = 0.0 if share <= 0 else float(betaincinv(events, rest + 1, tail))
    upper = 1.0 if share >= 1 else float(betaincinv(events + 1, rest, 1 - tail))
    return lower, upper


def share_interval(events: float, total: float, effective: float, tail: float = TAIL) -> Interval:
    """Wilson's interval of events / total; the exact one where at most FEW events, or all but FEW, were seen: there
    Wilson's ends err too often (L. Brown, T. Cai and A. DasGupta, Statistical Science 16 (2001) 101, section 4.1.1).

    effective: the number of independent samples that tell as much as `total` do, at most `total`.
    """
    method = exact if min(events, total - events) <= FEW else wilson
    return method(events / total, effective, tail)
