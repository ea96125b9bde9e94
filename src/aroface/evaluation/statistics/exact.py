"""Exact statistics of hits and misses."""

from __future__ import annotations

from scipy.special import betaincinv

from aroface.evaluation.statistics.bootstrap import LEVEL


def clopper_pearson(hits: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a rate of which ``hits`` of ``trials`` were seen: it never covers less than that.

    Hits need not be a whole number.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934.
    """
    tail = (1 - LEVEL) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high
