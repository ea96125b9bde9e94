"""Metrics of labelled pairs when a group of people is left out, to first order where they rest on a threshold.

A threshold from some three impostors jumps when one of them goes, and the genuine pairs between two thresholds are few:
how far such values scatter tells little of the metric's error. Here thresholds stay as they are for all pairs. What
they would move is the change of the FAR at the threshold, times the slope of the ROC there (:func:`log_slope`). At the
most accurate threshold the slope of the accuracy is zero, so nothing is added.

Each function takes ``kept`` (G, N), zeros and ones: the pairs that stay without each group. All are of the metrics in
:mod:`aroface.evaluation.metrics.verification`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.metrics.operating_points import admitted
from aroface.evaluation.metrics.verification import (
    Booleans,
    Floats,
    Integers,
    accuracy_at_thresholds,
    auc,
    correctly_classified,
    eer,
    fold_numbers,
    roc,
    tar_at_far,
    val_at_thresholds,
    val_thresholds,
)


class KeptPairs(Protocol):
    """The matrix ``kept`` (G, N), or what multiplies like it."""

    def __matmul__(self, values: Any, /) -> Any:
        """Sums (G,) of ``values`` (N,) over the pairs that stay without each group."""


def accuracy_left_out(distances: Floats, same: Booleans, kept: Integers) -> Floats:
    """Ten-fold accuracy (G,) at the thresholds of all pairs."""
    return accuracy_at_thresholds(correctly_classified(distances, same), kept)


def auc_left_out(distances: Floats, same: Booleans, kept: Integers) -> Floats:
    """Area under the ROC (G,), which has no threshold: exactly."""
    return auc(roc(distances, same, kept))


def auc_without(distances: Floats, same: Booleans, parts: Sequence[NDArray[np.intp]]) -> Floats:
    """Area under the ROC (G,) without each group, as :func:`auc_left_out`, from one sort of all pairs.

    The area is the share of genuine and impostor pairs in which the genuine one is nearer. A group takes those away
    that one of its pairs is part of.

    Args:
        distances: (N,) distances.
        same: (N,) labels.
        parts: Pairs that each of the G groups takes part in, by their numbers.
    """
    genuine, impostors = np.sort(distances[same]), np.sort(distances[~same])
    wins = np.empty(len(distances))
    wins[same] = _beyond(distances[same], impostors)
    wins[~same] = len(genuine) - _beyond(distances[~same], genuine)
    total = wins[same].sum()
    areas = np.full(len(parts), np.nan)
    for group, part in enumerate(parts):
        own, others = part[same[part]], part[~same[part]]
        counts = (len(genuine) - len(own)) * (len(impostors) - len(others))
        if counts:
            both = _beyond(distances[own], np.sort(distances[others])).sum()
            areas[group] = (total - wins[own].sum() - wins[others].sum() + both) / counts
    return areas


def _beyond(values: Floats, ordered: Floats) -> Floats:
    """Number of ``ordered`` values above each of ``values``; equal ones count half."""
    sides = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    return np.asarray(len(ordered) - (sides[0] + sides[1]) / 2)


def tar_left_out(distances: Floats, same: Booleans, kept: Integers, far: float) -> Floats:
    """The largest TAR (G,) at a FAR of at most ``far``."""
    value = tar_at_far(roc(distances, same), far)
    threshold = _first_rejected(np.sort(distances[~same]), far)
    fixed = share_left_out(kept, same, distances < threshold)
    change = fixed - np.mean(distances[same] < threshold) - _moved(distances, same, kept, far)
    return np.clip(value + change, 0, 1)


def val_left_out(distances: Floats, same: Booleans, kept: Integers, far: float) -> Floats:
    """Insightface's validation rate (G,) at ``far``."""
    accepted = distances < val_thresholds(distances, same, far)[fold_numbers(len(same))]
    fixed, _ = val_at_thresholds(accepted, same, kept)
    return np.clip(fixed - _moved(distances, same, kept, far), 0, 1)


def eer_left_out(distances: Floats, same: Booleans, kept: Integers | KeptPairs) -> Floats:
    """Equal error rate (G,): the changes of FAR and of FRR, each as much as the other one's slope outweighs its own."""
    curve = roc(distances, same)
    crossing = int((curve.far + curve.tar >= 1).argmax())
    threshold = np.unique(distances)[crossing - 1]
    impostors = np.sort(distances[~same])
    count = max(1, int(np.count_nonzero(impostors <= threshold)))
    slopes = np.array([count / len(impostors), log_slope(np.sort(distances[same]), impostors, count)])
    far_weight = slopes[1] / slopes.sum()
    far = share_left_out(kept, ~same, distances <= threshold) - np.mean(distances[~same] <= threshold)
    frr = share_left_out(kept, same, distances > threshold) - np.mean(distances[same] > threshold)
    return np.asarray(np.clip(eer(curve) + far_weight * far + (1 - far_weight) * frr, 0, 1))


def _moved(distances: Floats, same: Booleans, kept: Integers, far: float) -> Floats:
    """Loss of TAR (G,) as the threshold at ``far`` moves to where as many impostors are accepted as before."""
    impostors = np.sort(distances[~same])
    threshold = _first_rejected(impostors, far)
    up_to = distances <= threshold
    count = int(np.count_nonzero(up_to & ~same))
    slope = log_slope(np.sort(distances[same]), impostors, count) / count
    return np.asarray(slope * (len(impostors) * share_left_out(kept, ~same, up_to) - count))


def _first_rejected(impostors: Floats, far: float) -> float:
    """Distance of the first of sorted impostors that is one too many for ``far``; the last where none is."""
    return float(impostors[min(admitted(len(impostors), far), len(impostors) - 1)])


def log_slope(genuine: NDArray[np.floating[Any]], impostors: NDArray[np.floating[Any]], count: int) -> float:
    """Gain of TAR as the FAR grows e-fold, measured between half and twice as many accepted impostors.

    A TAR is nearly linear in the logarithm of the FAR, so that the window may be wide. It has to be: in a narrow one
    genuine pairs are few and the places of the impostors chance, and the square of a slope that is known badly is too
    large on average.

    Args:
        genuine: (M,) distances of genuine pairs, ascending.
        impostors: (I,) distances of impostors, ascending.
        count: Number of those that are accepted, at least 1.
    """
    low = max(1, count // 2)
    ends = impostors[[low - 1, min(max(2 * count, low + 2), len(impostors)) - 1]]
    fewer, more = np.searchsorted(impostors, ends, "right").tolist()
    crossed = int(np.diff(np.searchsorted(genuine, ends, "right"))[0])
    return crossed / len(genuine) / math.log(more / fewer) if more > fewer else 0.0


def share_left_out(kept: Integers | KeptPairs, among: Booleans, hits: Booleans) -> Floats:
    """Share (G,) of hits among the pairs of a kind that are kept."""
    return np.asarray((kept @ (among & hits)) / (kept @ among))
