"""Protocol ``pairs``: LFW, CFP, AgeDB-30, CALFW, CPLFW and other labelled pairs of images."""

from __future__ import annotations

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.operating_curves import tar_far
from aroface.evaluation.metrics.verification import (
    Booleans,
    Floats,
    Integers,
    accuracy,
    auc,
    check_distances,
    correctly_classified,
    eer,
    pair_distances,
    roc,
    tar_at_far,
    val,
)
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.statistics import bootstrap
from aroface.evaluation.statistics.exact import clopper_pearson
from aroface.evaluation.statistics.weighted_metrics import WeightedMetrics

STRICT_FARS = {"tar_strict_at_far_1e-1": 1e-1, "tar_strict_at_far_1e-2": 1e-2, "tar_strict_at_far_1e-3": 1e-3}
"""Target of each strict TAR, by the name of the metric."""


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features, rows 2i and 2i + 1 being pair i, against the array ``same``.

    Intervals come from a bootstrap over the genuine and over the impostor pairs. It draws pairs as if they were
    independent, though people and images recur in several; so intervals are rather too narrow. Those of
    ``tar_strict_at_far_*_binomial`` are exact ones of the rate of genuine pairs accepted at the threshold as it was
    found, which they take for given (Clopper and Pearson, Biometrika 1934): unlike the bootstrap's they do not shrink
    to nothing at 0 and 1. The curve of TAR against FAR has ``tar_strict_at_far_*`` as its values.

    Raises:
        InputError: Fewer pairs than folds, pairs of one kind only, or embeddings that do not distinguish images.
    """
    same, distances = _labelled_distances(features)
    weighted = _weighted(distances, same)
    metrics = weighted.values()
    genuine = int(np.count_nonzero(same))
    binomial = {f"{name}_binomial": clopper_pearson(round(metrics[name] * genuine), genuine) for name in STRICT_FARS}
    bootstrapped = {name: ends for name, ends in weighted.intervals().items() if not name.endswith("_std")}
    curves = {"tar_far": tar_far(-distances[same], -distances[~same])}
    return Outcome(metrics, bootstrapped | binomial, pair_counts(same), curves=curves)


def weighted_metrics(features: StoredFeatures) -> list[WeightedMetrics]:
    """The metrics as functions of how often each pair counts.

    Raises:
        InputError: See :func:`evaluate`.
    """
    same, distances = _labelled_distances(features)
    return [_weighted(distances, same)]


def _labelled_distances(features: StoredFeatures) -> tuple[Booleans, Floats]:
    same = features.arrays["same"]
    check_kinds(same, features)
    distances = pair_distances(features.values[0::2], features.values[1::2])
    check_distances(distances, features)
    return same, distances


def _weighted(distances: Floats, same: Booleans) -> WeightedMetrics:
    hits = {"accuracy": correctly_classified(distances, same)}
    return WeightedMetrics(same, lambda weights: pair_metrics(distances, same, weights), hits)


def pair_metrics(distances: Floats, same: Booleans, weights: Integers | None = None) -> dict[str, Floats]:
    """All metrics of labelled pairs by the names they have in a record, each (...).

    ``tar_at_far_1e-3`` is the VAL of insightface, a mean over folds on a grid of thresholds; ``tar_strict_at_far_*`` is
    the largest TAR over all thresholds and all pairs whose FAR does not exceed the target.

    Args:
        distances: (N,) squared distances of unit features.
        same: (N,) labels, true where a pair shows one person.
        weights: Multiplicities (..., N), ones by default.
    """
    mean, sd = accuracy(distances, same, weights)
    curve = roc(distances, same, weights)
    strict = {name: tar_at_far(curve, far) for name, far in STRICT_FARS.items()}
    return {
        "accuracy": mean,
        "accuracy_std": sd,
        "tar_at_far_1e-3": val(distances, same, 1e-3, weights)[0],
        **strict,
        "auc": auc(curve),
        "eer": eer(curve),
    }


def check_kinds(same: Booleans, features: StoredFeatures) -> None:
    """Refuse a set without genuine or without impostor pairs: no rate is defined on it."""
    if same.all() or not same.any():
        raise InputError(
            f"all {len(same)} pairs are {'genuine' if same.any() else 'impostors'}",
            file=features.folder,
            expected="pairs of both kinds",
        )


def pair_counts(same: Booleans) -> dict[str, int]:
    """Numbers of pairs by kind that a metric is measured on, and of replicates of its interval."""
    genuine = int(np.count_nonzero(same))
    return {
        "pairs": len(same),
        "genuine": genuine,
        "impostors": len(same) - genuine,
        "bootstrap_replicates": bootstrap.REPLICATES,
    }


PROTOCOL = EvaluationProtocol("pairs", evaluate, weighted_metrics)
