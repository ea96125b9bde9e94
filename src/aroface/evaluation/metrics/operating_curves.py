"""Whole operating curves, at a bounded number of points: TAR against FAR, and TPIR against FPIR of a search.

A curve is the step function that the strict metrics are points of: the largest hit rate of all thresholds whose error
rate does not exceed the abscissa. It has no interpolation, and a metric at a power of ten is the curve's value there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aroface.evaluation.metrics.open_set import Found, standard_rate
from aroface.evaluation.metrics.operating_points import Scores, strict_tars

PER_DECADE = 20
LOWEST_FAR, LOWEST_FPIR = 1e-6, 1e-4

Curve = Mapping[str, Any]


def abscissae(trials: int, lowest: float) -> list[float]:
    """Rates at which a curve is told: from the smallest that so many trials can show to 1, even on a logarithmic axis.

    Powers of ten are among them, each as ``10.0 ** -power``. The first is ``1 / trials``, or ``lowest`` where that is
    larger; so a curve has at most 20 points for each decade above ``lowest``, and two.

    Args:
        trials: Number of comparisons or probes that may be accepted wrongly, at least 1.
        lowest: Smallest rate that is reported for any number of trials, a power of ten.
    """
    first = max(1 / trials, lowest)
    decades = round(-np.log10(lowest))
    every = [10.0 ** (step / PER_DECADE - decades) for step in range(decades * PER_DECADE + 1)]
    return [first, *(rate for rate in every if rate > first)]


def tar_far(genuine: Scores, impostors: Scores) -> Curve:
    """TAR against FAR of pairs that are accepted at or above a threshold.

    The impostors are sorted once, in the type that they have: of n pairs nothing but one more copy is held.

    Args:
        genuine: (G,) scores of genuine pairs, larger for more similar ones, G > 0.
        impostors: (I,) scores of impostors, I > 0.

    Returns:
        ``far`` (ascending), ``tar`` at each, and ``impostors``, the number I of which ``far`` is a share.
    """
    fars = abscissae(len(impostors), LOWEST_FAR)
    return {"far": fars, "tar": strict_tars(genuine, impostors, fars), "impostors": len(impostors)}


def tpir_fpir(found: Found) -> Curve | None:
    """TPIR against FPIR of an open-set search, the mean over its two galleries at each FPIR.

    Returns:
        ``fpir`` (ascending), ``tpir`` at each, and ``unknown``, the smaller of the galleries' numbers of probes without
        a mate, of which ``fpir`` is a share. None where a gallery lacks probes with a mate, or such without.
    """
    mated = found.mated
    unknown = int(np.count_nonzero(~mated, axis=0).min())
    if not unknown or not mated.any(axis=0).all():
        return None
    fpirs = abscissae(unknown, LOWEST_FPIR)
    tpirs = [standard_rate(found, fpir) for fpir in fpirs]
    return {"fpir": fpirs, "tpir": tpirs, "unknown": unknown}
