"""Protocol ``sensitivity``: what alignment errors of growing size cost, at each image quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.metrics.verification import (
    Booleans,
    Floats,
    Integers,
    accuracy,
    auc,
    check_distances,
    correctly_classified,
    pair_distances,
    roc,
    tar_at_far,
)
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.protocols.pairs import STRICT_FARS, check_kinds, pair_counts
from aroface.evaluation.statistics import bootstrap
from aroface.evaluation.statistics.weighted_metrics import WeightedMetrics
from aroface.progress import track


def evaluate(features: StoredFeatures) -> Outcome:
    """Turn the stored features of all variants of a pair set into curves of metric against size of error.

    A curve is one quality and one factor. It opens at level 0 with the quality's undistorted variant, against which the
    drops are taken. All variants are resampled by the same draws of pairs, so the intervals of drops are paired. The
    record's metrics are the undistorted variants', named ``{metric}_{quality}``; TAR is the largest over all thresholds
    and pairs whose FAR does not exceed the target.

    Raises:
        InputError: Fewer pairs than folds, pairs of one kind only, or embeddings that do not distinguish images.
    """
    same = features.arrays["same"]
    check_kinds(same, features)
    names: Sequence[str] = features.index["protocol"]["options"]["metric"]
    variants = features.index["layout"]["variants"]
    conditions = [measure(features, variant, same, names) for variant in track(variants, "variants")]
    clean = {condition.quality: condition for condition in conditions if condition.factor is None}
    series = [
        _point(condition, clean[quality], factor, name)
        for (quality, factor), curve in groupby(conditions, key=lambda condition: (condition.quality, condition.factor))
        if factor is not None
        for condition in (clean[quality], *curve)
        for name in names
    ]
    return Outcome(
        {f"{name}_{quality}": each.values[name] for quality, each in clean.items() for name in names},
        {
            f"{name}_{quality}": bootstrap.interval(each.samples[name])
            for quality, each in clean.items()
            for name in names
        },
        {**pair_counts(same), "variants": len(variants)},
        series=series,
    )


def weighted_metrics(features: StoredFeatures) -> list[WeightedMetrics]:
    """The metrics of the undistorted variant of each quality, as functions of how often each pair counts.

    Raises:
        InputError: See :func:`evaluate`.
    """
    same = features.arrays["same"]
    check_kinds(same, features)
    names: Sequence[str] = features.index["protocol"]["options"]["metric"]
    clean = [variant for variant in features.index["layout"]["variants"] if variant["factor"] is None]
    return [_clean_metrics(_distances(features, variant, same), same, names, variant["quality"]) for variant in clean]


def _clean_metrics(distances: Floats, same: Booleans, names: Sequence[str], quality: str) -> WeightedMetrics:
    def statistic(weights: Integers) -> dict[str, Floats]:
        return {f"{name}_{quality}": value for name, value in _metrics(distances, same, names, weights).items()}

    hits = {f"accuracy_{quality}": correctly_classified(distances, same)} if "accuracy" in names else {}
    return WeightedMetrics(same, statistic, hits)


@dataclass(frozen=True, slots=True)
class MeasuredVariant:
    """One variant of the pair set, measured: the metrics' values and bootstrap samples. No factor: undistorted."""

    quality: str
    factor: str | None
    level: float
    values: Mapping[str, float]
    samples: Mapping[str, Floats]


def measure(
    features: StoredFeatures, variant: Mapping[str, Any], same: Booleans, names: Sequence[str]
) -> MeasuredVariant:
    """Measure one variant of ``layout``: its metrics by ``names``, and their bootstrap samples.

    Raises:
        InputError: The variant is undistorted, and the embeddings do not distinguish its images.
    """
    distances = _distances(features, variant, same)
    values = {name: value.item() for name, value in _metrics(distances, same, names).items()}
    samples = bootstrap.samples(lambda weights: _metrics(distances, same, names, weights), same)
    return MeasuredVariant(variant["quality"], variant["factor"], variant["level"], values, samples)


def _distances(features: StoredFeatures, variant: Mapping[str, Any], same: Booleans) -> Floats:
    first, second = (features.values[variant[side] : variant[side] + len(same)] for side in ("first", "second"))
    distances = pair_distances(first, second)
    if variant["factor"] is None:  # what errors of alignment make of the faces may be all alike
        check_distances(distances, features)
    return distances


def _metrics(
    distances: Floats, same: Booleans, names: Sequence[str], weights: Integers | None = None
) -> dict[str, Floats]:
    curve = roc(distances, same, weights)
    values = {name: tar_at_far(curve, STRICT_FARS[name]) for name in names if name in STRICT_FARS}
    if "auc" in names:
        values["auc"] = auc(curve)
    if "accuracy" in names:
        values["accuracy"] = accuracy(distances, same, weights)[0]
    return values


def _point(condition: MeasuredVariant, clean: MeasuredVariant, factor: str, metric: str) -> dict[str, Any]:
    """One point of one curve; ``significant`` tells that the interval of the drop lies above zero."""
    value, samples = condition.values[metric], condition.samples[metric]
    reference, references = clean.values[metric], clean.samples[metric]
    low, high = bootstrap.interval(samples)
    drop_low, drop_high = bootstrap.interval(references - samples)
    relative: tuple[float | None, ...] = (None, None, None)
    if reference > 0 and references.min() > 0:
        relative = (1 - value / reference, *bootstrap.interval(1 - samples / references))
    return {
        "quality": condition.quality,
        "factor": factor,
        "level": condition.level,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "drop": reference - value,
        "drop_low": drop_low,
        "drop_high": drop_high,
        **dict(zip(("relative_drop", "relative_drop_low", "relative_drop_high"), relative, strict=True)),
        "significant": drop_low > 0,
    }


PROTOCOL = EvaluationProtocol("sensitivity", evaluate, weighted_metrics)
