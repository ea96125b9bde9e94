"""Exact statistics of hits and misses."""

from __future__ import annotations

from scipy.special import bdtr, betaincinv

from aroface.evaluation.statistics.bootstrap import LEVEL


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a rate of which ``hits`` of ``trials`` were seen: it never covers less than that.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934.
    """
    tail = (1 - LEVEL) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of the exact test that two runs hit equally often, from the items that one alone hit.

    If they do, each of these items is a fair coin (McNemar, Psychometrika 12, 1947, with the binomial distribution in
    place of its approximation).
    """
    tosses = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), tosses, 0.5)))
