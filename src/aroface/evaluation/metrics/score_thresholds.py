"""Decision thresholds from impostor scores, the interval they are known within, and the separation d'.

A comparison is accepted at or above a threshold. The threshold for a false match rate (FMR) is the lowest one whose
FMR on these impostors does not exceed it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from aroface.evaluation.metrics.operating_points import admitted

Floats = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]

Moments = Sequence[Floats]

LEVEL = 0.95


def threshold_at(impostors: Scores, others: Scores, fmr: float) -> float:
    """The lowest score of those seen at which the FMR is at most ``fmr``.

    Args:
        impostors: (I,) scores of impostors, ascending, I > 0.
        others: (G,) further scores that were seen, ascending.
        fmr: Largest FMR, in [0, 1].

    Returns:
        The threshold; right above the largest score where all of them are too many.
    """
    number = admitted(len(impostors), fmr)
    if number >= len(impostors):
        return float(min(impostors[0], others[0] if len(others) else impostors[0]))
    return _next_above(float(impostors[len(impostors) - 1 - number]), impostors, others)


def _next_above(limit: float, *lists: Scores) -> float:
    places = [int(np.searchsorted(scores, limit, "right")) for scores in lists]
    above = [float(scores[place]) for scores, place in zip(lists, places, strict=True) if place < len(scores)]
    return min(above, default=float(np.nextafter(limit, np.inf)))


def threshold_interval(impostors: Scores, fmr: float, effective: float) -> tuple[float, float]:
    """The 95 % interval of the threshold at which a population of impostors has the FMR ``fmr``.

    Its ends are order statistics: of n independent impostors the number above that threshold is binomial. Of dependent
    ones, as several of one person, the number counts as that of so many independent ones (Kish's effective size).

    Args:
        impostors: (I,) scores, ascending.
        fmr: FMR, in (0, 1).
        effective: Number of independent comparisons that they are worth, in (0, I].

    Returns:
        Low and high end; infinite where so few impostors do not bound it.

    Source: David and Nagaraja, "Order Statistics", 2003, section 7.1; Kish, "Survey Sampling", 1965.
    """
    size = max(1, int(effective))
    tail = (1 - LEVEL) / 2
    few, many = (float(binom.ppf(share, size, fmr)) for share in (tail, 1 - tail))
    # The r-th largest of n is above the threshold with the probability that r or more of n are.
    return _ranked(impostors, (many + 1) / size, -np.inf), _ranked(impostors, few / size, np.inf)


def _ranked(impostors: Scores, share: float, beyond: float) -> float:
    """The score that this share of the impostors reaches; ``beyond`` where they are too few for it."""
    rank = round(share * len(impostors))
    return float(impostors[len(impostors) - rank]) if 1 <= rank <= len(impostors) else beyond


def d_prime(genuine: Scores, impostors: Scores) -> float:
    """Separation of genuine and impostor scores in standard deviations: the distance of the means by their root mean.

    Args:
        genuine: (G,) scores, G > 0.
        impostors: (I,) scores, I > 0.

    Returns:
        The separation, above 0 where genuine scores are larger; infinite where neither kind varies.

    Source: Daugman, "Biometric decision landscapes", 2000, equation 1.
    """
    spread = np.sqrt((np.var(genuine, dtype=np.float64) + np.var(impostors, dtype=np.float64)) / 2)
    means = [float(np.mean(kind, dtype=np.float64)) for kind in (genuine, impostors)]
    resolution = np.finfo(np.float64).eps * max(map(abs, means)) * 16  # of a mean of equal numbers
    return (means[0] - means[1]) / float(spread) if spread > resolution else math.inf


def d_prime_of_moments(genuine: Moments, impostors: Moments) -> Floats:
    """The separation, (...), from the number, sum and sum of squares of each kind, each (...)."""
    (mean, variance), (other, other_variance) = map(_mean_and_variance, (genuine, impostors))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((mean - other) / np.sqrt((variance + other_variance) / 2))


def _mean_and_variance(moments: Moments) -> tuple[Floats, Floats]:
    count, total, squares = moments
    mean = total / count
    return mean, np.maximum(squares / count - mean**2, 0)
