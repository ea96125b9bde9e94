"""TAR at a FAR of millions of scores, exactly, by sorting only as many impostors as the largest FAR admits.

*Strict* is the largest TAR of all thresholds whose FAR does not exceed the target. *Paper* is what the literature's
scripts report (insightface ``ijb_11.py``): of the points that scikit-learn's ``roc_curve`` keeps, the one with the
nearest FAR. It drops points by default, those between two steps of equal kind, which moves the fourth digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

FARS: Mapping[str, float] = {f"1e-{power}": 10.0**-power for power in range(6, 0, -1)}
"""The targets, by the names that they have in metrics."""

_SPARE = 1000


def admitted(count: int, rate: float) -> int:
    """The largest number c with ``c / count <= rate`` in floating point, as a comparison of rates decides it."""
    number = min(count, math.floor(rate * count))
    while number < count and (number + 1) / count <= rate:
        number += 1
    while number / count > rate:
        number -= 1
    return number


def strict_tars(genuine: Scores, impostors: Scores, fars: Iterable[float]) -> list[float]:
    """The largest TAR with a FAR of at most each target, where pairs at or above a threshold are accepted.

    Args:
        genuine: (G,) scores of genuine pairs, in any order, G > 0.
        impostors: (I,) scores of impostors, in any order, I > 0.
        fars: Targets in (0, 1].
    """
    numbers = [admitted(len(impostors), far) for far in fars]
    best = largest(impostors, max(numbers, default=0) + 1)
    # All impostors may be accepted, or the threshold lies right above the first one too many.
    limits = [best[number] if number < len(impostors) else -np.inf for number in numbers]
    return [np.count_nonzero(genuine > limit) / len(genuine) for limit in limits]


def paper_tars(genuine: Scores, impostors: Scores, fars: Iterable[float]) -> list[float]:
    """The TAR at the point of scikit-learn's ``roc_curve`` whose FAR is nearest to each target.

    Of two as near the one with the higher FAR counts, of several with one FAR that with the highest TAR.

    Args:
        genuine: (G,) scores of genuine pairs, in any order, G > 0.
        impostors: (I,) scores of impostors, in any order, I > 0.
        fars: Targets in (0, 1].
    """
    targets = list(fars)
    count = math.ceil(1.05 * max(targets, default=0) * len(impostors)) + _SPARE
    while True:
        best = largest(impostors, count)
        accepted, hits = _kept_points(genuine, best, whole=len(best) == len(impostors))
        rates = accepted / len(impostors)
        points = [len(rates) - 1 - int(np.argmin(np.abs(rates - far)[::-1])) for far in targets]
        # A point further on cannot be nearer than this one, once another stands between them.
        if len(best) == len(impostors) or accepted[max(points, default=0)] < accepted[-1]:
            return [float(hits[point] / len(genuine)) for point in points]
        count *= 4


def largest(scores: Scores, count: int) -> Scores:
    """The ``count`` largest scores, or all if there are fewer, descending."""
    rest = len(scores) - count
    return np.sort(np.partition(scores, rest)[rest:] if rest > 0 else scores)[::-1]


def _kept_points(genuine: Scores, impostors: Scores, *, whole: bool) -> tuple[Integers, Integers]:
    """Numbers of impostors and of genuine pairs accepted at the points that ``roc_curve`` keeps, from (0, 0) on.

    Args:
        genuine: Scores of all genuine pairs.
        impostors: Largest scores of impostors, descending.
        whole: True if these are all; else the points end before the last of them.
    """
    mates, others = np.sort(genuine), impostors[::-1]
    lowest = -np.inf if whole else others[0]
    thresholds = np.unique(np.concatenate([mates[mates > lowest], others[others > lowest]]))[::-1]
    accepted = len(others) - np.searchsorted(others, thresholds)
    hits = len(mates) - np.searchsorted(mates, thresholds)
    kept = np.ones(len(thresholds), np.bool_)
    if len(thresholds) > 2:
        kept[1:-1] = (np.diff(accepted, 2) != 0) | (np.diff(hits, 2) != 0)
    if not whole:
        kept[-1:] = False  # what follows it decides
    start = np.zeros(1, np.int64)
    return np.concatenate([start, accepted[kept]]), np.concatenate([start, hits[kept]])
