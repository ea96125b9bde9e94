"""Average precision as TinyFace's own script computes it: the area below precision against recall, by trapezoids.

At each mate the script averages the precision of the list that ends with it and that of the list that ends just before
it, which is 1 before the first image. The other definition, of which both are in use under one name, is the mean of the
precision at each mate (:class:`aroface.evaluation.metrics.identification.Retrieval`). Source: ``compute_AP`` of the
TinyFace release, folder ``Face_Identification_Evaluation``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def trapezoid_average_precision(ranks: Integers, starts: Integers) -> Floats:
    """Average precision of each probe, (M,), in (0, 1].

    Args:
        ranks: (K,) ranks of all mates, 1 the best: those of one probe after those of another, ascending within each.
        starts: (M,) place in ``ranks`` at which the mates of each probe begin, ascending; each probe has one or more.
    """
    if not len(starts):
        return np.empty(0)
    counts = np.diff(np.append(starts, len(ranks)))
    position = np.arange(len(ranks)) - np.repeat(starts, counts) + 1
    before = np.where(ranks > 1, (position - 1) / np.maximum(ranks - 1, 1), 1.0)
    return np.asarray(np.add.reduceat((before + position / ranks) / 2, starts) / counts)
