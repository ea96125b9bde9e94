"""Verification metrics of labelled pairs: ten-fold accuracy, VAL, ROC, AUC, EER and TAR at a FAR.

``weights`` are how often each pair counts, with any leading axes (..., N); the metric comes back with those axes. Ones
give the metric itself, the multiplicities of a bootstrap give a whole batch of replicates at once, and zeros and ones
leave pairs out. Each metric is computed from counts at ranks, never by a loop over thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from aroface.embedding.collapse import REMEDY
from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.vectors import unit

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Features = NDArray[np.float32] | NDArray[np.float64]

FOLDS = 10

THRESHOLD_STEP = 0.01
"""Step of the thresholds of ten-fold accuracy, as a squared distance of unit vectors."""

ACCURACY_THRESHOLDS: Floats = np.arange(0, 4, THRESHOLD_STEP)
VAL_THRESHOLDS: Floats = np.arange(0, 4, 0.001)
_BLOCK = 4096


def pair_distances(first: Features, second: Features) -> Floats:
    """Squared Euclidean distances, in [0, 4], between paired features after scaling each to unit length.

    Args:
        first: (N, D), memory-mapped or in memory; read in blocks of rows.
        second: (N, D), row by row the partner of ``first``.

    Returns:
        (N,) distances, computed in float64. A zero feature is at distance 1 from any other.
    """
    distances = np.empty(len(first))
    for start in range(0, len(first), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances[rows] = np.sum((unit(first[rows], np.float64) - unit(second[rows], np.float64)) ** 2, axis=1)
    return distances


def fold_numbers(pairs: int) -> Integers:
    """Fold of each pair: ten contiguous, unshuffled folds, the first ``pairs % 10`` one pair longer (sklearn's KFold).

    Raises:
        InputError: Fewer pairs than folds.
    """
    if pairs < FOLDS:
        raise InputError(f"{pairs} pairs", expected=f"at least {FOLDS}, one a fold")
    return np.repeat(np.arange(FOLDS), [len(part) for part in np.array_split(np.arange(pairs), FOLDS)])


def accuracy(distances: Floats, same: Booleans, weights: Integers | None = None) -> tuple[Floats, Floats]:
    """Ten-fold accuracy as insightface's ``verification.py`` computes it.

    On each fold the threshold is the first of 0, .01, ... 3.99 that is most accurate on the other nine; a pair is
    called the same person when its distance is below it.

    Args:
        distances: (N,) squared distances, N >= 10.
        same: (N,) labels, true where a pair shows one person.
        weights: Multiplicities (..., N), ones by default.

    Returns:
        Mean and population standard deviation over the folds, each (...). A fold that a replicate of the bootstrap
        leaves without pairs does not count.
    """
    weights = _weights(distances, weights)
    right, best = _right_per_fold(distances, same, weights)
    held_out = np.take_along_axis(right, best[..., None], axis=-1)[..., 0]
    return _mean_and_sd(held_out, _per_fold(weights))


def correctly_classified(distances: Floats, same: Booleans) -> Booleans:
    """Correctness of each pair (N,) at its fold's threshold; :func:`accuracy` is the mean of this."""
    _, best = _right_per_fold(distances, same, _weights(distances, None))
    thresholds = ACCURACY_THRESHOLDS[best][fold_numbers(len(distances))]
    return np.asarray((distances < thresholds) == same)


def accuracy_at_thresholds(right: Booleans, weights: Integers) -> Floats:
    """Ten-fold accuracy (...) of pairs that count as often as ``weights`` (..., N) tell, at thresholds that are given.

    Args:
        right: (N,) correctness of each pair, as of :func:`correctly_classified`.
        weights: Multiplicities (..., N).
    """
    return _mean_and_sd(_per_fold(weights * right), _per_fold(weights))[0]


def _right_per_fold(distances: Floats, same: Booleans, weights: Integers) -> tuple[Floats, Integers]:
    """Pairs called rightly in each fold at each threshold (..., 10, T), and the threshold that each fold is given."""
    accepted = _accepted_per_fold(distances, np.where(same, 1, -1), weights, ACCURACY_THRESHOLDS)
    # Pairs called rightly: genuine ones accepted, plus impostors not accepted.
    right = accepted + _per_fold(weights * ~same)[..., None]
    return right, (right.sum(axis=-2, keepdims=True) - right).argmax(axis=-1)


def val(distances: Floats, same: Booleans, far: float) -> tuple[Floats, Floats]:
    """Validation rate at a false accept rate as insightface's ``verification.py`` means it.

    On each fold the threshold comes from the impostors of the other nine: the grid 0, .001, ... 3.999, interpolated
    linearly over their FAR between the last value not above ``far`` and the next; 0 where ``far`` is never reached.

    Args:
        distances: (N,) squared distances, N >= 10.
        same: (N,) labels, true where a pair shows one person.
        far: False accept rate aimed at, in (0, 1).

    Returns:
        Mean and population standard deviation over the folds of the rate of genuine pairs accepted. Folds without
        genuine pairs do not count.
    """
    accepted = distances < val_thresholds(distances, same, far)[fold_numbers(len(distances))]
    return val_at_thresholds(accepted, same, _weights(distances, None))


def val_thresholds(distances: Floats, same: Booleans, far: float) -> Floats:
    """Threshold of each fold (10,), from the impostors of the others; arguments as of :func:`val`."""
    impostors = _weights(distances, None) * ~same
    steps = _occupied_steps(distances[~same])
    accepted = _accepted_per_fold(distances, np.ones(len(distances)), impostors, VAL_THRESHOLDS[steps])
    totals = _per_fold(impostors)
    rest = totals.sum(axis=-1, keepdims=True) - totals
    rates = (accepted.sum(axis=-2, keepdims=True) - accepted) / np.maximum(rest, 1)[..., None]
    return _interpolated_threshold(rates, steps, far)


def val_at_thresholds(accepted: Booleans, same: Booleans, weights: Integers) -> tuple[Floats, Floats]:
    """Validation rate of pairs that count as often as ``weights`` (..., N) tell, at thresholds that are given.

    Args:
        accepted: (N,) pairs whose distance is below their fold's threshold.
        same: (N,) labels.
        weights: Multiplicities (..., N).

    Returns:
        As of :func:`val`, each (...).
    """
    genuine = weights * same
    return _mean_and_sd(_per_fold(genuine * accepted), _per_fold(genuine))


def _occupied_steps(distances: Floats) -> Integers:
    """Indices of ``VAL_THRESHOLDS``, ascending, at which more of these ``distances`` are accepted than before.

    The last index is always among them, so that there is one.
    """
    last = len(VAL_THRESHOLDS) - 1
    return np.unique(np.minimum(np.searchsorted(VAL_THRESHOLDS, np.append(distances, 4), side="right"), last))


def _interpolated_threshold(rates: Floats, steps: Integers, far: float) -> Floats:
    """Threshold (...) at which the FAR reaches ``far``, see :func:`val`, from its ``rates`` (..., K) at K grid steps.

    Between two steps the FAR is constant; so the grid's last value not above ``far`` stands right before a step.
    """
    passed = np.count_nonzero(rates <= far, axis=-1, keepdims=True)
    following = np.minimum(passed, len(steps) - 1)
    before = np.concatenate([np.zeros_like(rates[..., :1]), rates], axis=-1)
    low, high = np.take_along_axis(before, following, -1), np.take_along_axis(rates, following, -1)
    share = np.divide(far - low, high - low, out=np.zeros_like(low), where=high > low)
    last, after = VAL_THRESHOLDS[steps[following] - 1], VAL_THRESHOLDS[steps[following]]
    not_passed = np.where(rates[..., -1:] >= far, VAL_THRESHOLDS[-1], 0.0)
    return np.where(passed < len(steps), last + share * (after - last), not_passed)[..., 0]


def _accepted_per_fold(distances: Floats, values: Floats | Integers, weights: Integers, thresholds: Floats) -> Floats:
    """Weighted sums (..., 10, T) of ``values`` over the pairs of each fold with a distance below each threshold."""
    first_above = np.searchsorted(thresholds, distances, side="right")
    columns = fold_numbers(len(distances)) * (len(thresholds) + 1) + first_above
    shape = (len(distances), FOLDS * (len(thresholds) + 1))
    histogram = weights @ sparse.csr_array((values, columns, np.arange(len(distances) + 1)), shape=shape)
    per_fold = histogram.reshape(*weights.shape[:-1], FOLDS, -1).cumsum(axis=-1, dtype=np.float64)
    return per_fold[..., :-1]


def _per_fold(values: Integers) -> Integers:
    starts = np.searchsorted(fold_numbers(values.shape[-1]), np.arange(FOLDS))
    return np.add.reduceat(values, starts, axis=-1)


def _mean_and_sd(parts: Floats | Integers, totals: Integers) -> tuple[Floats, Floats]:
    counted = totals > 0
    fractions = parts / np.maximum(totals, 1)
    return fractions.mean(axis=-1, where=counted), fractions.std(axis=-1, where=counted)


def _weights(distances: Floats, weights: Integers | None) -> Integers:
    return np.ones(len(distances), dtype=np.int64) if weights is None else weights


@dataclass(frozen=True, slots=True)
class Roc:
    """The receiver operating characteristic over every threshold, from accepting nothing to accepting all.

    Attributes:
        far: Rates (..., T) of impostors accepted, non-decreasing from 0 to 1. Pairs of equal distance share one step.
        tar: Rates (..., T) of genuine pairs accepted.
    """

    far: Floats
    tar: Floats


def roc(distances: Floats, same: Booleans, weights: Integers | None = None) -> Roc:
    """The exact ROC of pairs that are accepted when their distance is at most a threshold.

    Args:
        distances: (N,) any score that is smaller for more similar pairs.
        same: (N,) labels, true where a pair shows one person; both kinds must occur.
        weights: Multiplicities (..., N), ones by default.
    """
    weights = _weights(distances, weights)
    order = np.argsort(distances, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(distances[order]) > 0, True))
    genuine = _cumulative(weights[..., order] * same[order], ends)
    impostors = _cumulative(weights[..., order] * ~same[order], ends)
    return Roc(far=impostors / impostors[..., -1:], tar=genuine / genuine[..., -1:])


def _cumulative(values: Integers, ends: Integers) -> Integers:
    sums = values.cumsum(axis=-1)[..., ends]
    return np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)


def tar_at_far(curve: Roc, far: float) -> Floats:
    """The largest TAR over all thresholds whose FAR is at most ``far``: no interpolation, no grid."""
    last = np.count_nonzero(curve.far <= far, axis=-1, keepdims=True) - 1
    return np.take_along_axis(curve.tar, last, axis=-1)[..., 0]


def auc(curve: Roc) -> Floats:
    """Area under the ROC by trapezoids, so that ties between a genuine and an impostor pair count half."""
    return np.asarray(np.trapezoid(curve.tar, curve.far, axis=-1))


def eer(curve: Roc) -> Floats:
    """Equal error rate: the FAR at which the ROC, its points joined by straight lines, crosses TAR = 1 - FAR."""
    balance = curve.far + curve.tar - 1
    after = (balance >= 0).argmax(axis=-1)[..., None]  # never 0: accepting nothing has a balance of -1
    high, low = np.take_along_axis(balance, after, -1), np.take_along_axis(balance, after - 1, -1)
    far_high, far_low = np.take_along_axis(curve.far, after, -1), np.take_along_axis(curve.far, after - 1, -1)
    return (far_low - low / (high - low) * (far_high - far_low))[..., 0]


def check_distances(distances: Floats, features: StoredFeatures) -> None:
    """Refuse labelled pairs whose distances all fall within one threshold step, so that no threshold separates them.

    Ten-fold accuracy then counts how many pairs of each fold are genuine, whatever the embeddings are, and without a
    group of people, whose folds are uneven, something else than on all pairs.

    Args:
        distances: (N,) squared distances of unit features, of the images as they are.
        features: Features whose pairs they are.

    Raises:
        InputError: The largest distance exceeds the smallest by less than :data:`THRESHOLD_STEP`.
    """
    low, high = float(distances.min()), float(distances.max())
    if high - low < THRESHOLD_STEP:
        run = features.index["checkpoint"]["run"]
        between = f"the squared distances of all {len(distances)} pairs are {low:.4g} to {high:.4g}"
        raise InputError(
            f"the embeddings of {run} do not distinguish images: {between}",
            file=features.folder,
            expected=f"a difference of more than one threshold step, {THRESHOLD_STEP}",
            remedy=f"{REMEDY}, or the images are all alike",
        )
