"""Protocol ``sensitivity``: what alignment errors of growing size cost, at each image quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.evaluation.metrics.verification import (
    Booleans,
    Floats,
    Integers,
    accuracy,
    auc,
    check_distances,
    pair_distances,
    roc,
    tar_at_far,
)
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome, outcome_of
from aroface.evaluation.protocols.pairs import STRICT_FARS, check_kinds, measure_people, pair_counts
from aroface.evaluation.protocols.template_sensitivity import TemplateSweep
from aroface.evaluation.statistics.jackknife import difference, interval
from aroface.evaluation.statistics.people import Rows, equal_images, numbered, people_of_pairs
from aroface.evaluation.statistics.people_metrics import PeopleMetrics
from aroface.progress import track

Value = TypeVar("Value")


def evaluate(features: StoredFeatures) -> Outcome:
    """Turn the stored features of all variants into curves of metric against size of error.

    A curve is one quality and one factor. It opens at level 0 with the quality's undistorted variant, against which the
    drops are taken. The same people are left out of all variants, so the intervals of drops are paired. The record's
    metrics are the undistorted variants', named ``{metric}_{quality}``; TAR is the largest over all thresholds
    and pairs whose FAR does not exceed the target.

    Raises:
        InputError: Fewer pairs than folds, pairs of one kind only, or embeddings that do not distinguish images.
    """
    measured_one, found = _measuring(features)
    names: Sequence[str] = features.index["protocol"]["options"]["metric"]
    variants = features.index["layout"]["variants"]
    conditions = [MeasuredVariant(variant, measured_one(variant)) for variant in track(variants, "variants")]
    clean = {condition.quality: condition for condition in conditions if condition.factor is None}
    series = [
        _point(condition, clean[quality], factor, name)
        for (quality, factor), curve in groupby(conditions, key=lambda condition: (condition.quality, condition.factor))
        if factor is not None
        for condition in (clean[quality], *curve)
        for name in names
    ]
    counts = {**found, "variants": len(variants)}
    measured = [_named(each.measured, quality) for quality, each in clean.items()]
    return outcome_of(measured, counts, series=series)


def measure(features: StoredFeatures) -> list[PeopleMetrics]:
    """Measure the undistorted variant of each quality with and without each group of people.

    Raises:
        InputError: See :func:`evaluate`.
    """
    measured_one, _ = _measuring(features)
    clean = [variant for variant in features.index["layout"]["variants"] if variant["factor"] is None]
    measured = [(variant["quality"], measured_one(variant)) for variant in clean]
    return [_named(each, quality) for quality, each in measured]


def _measuring(features: StoredFeatures) -> tuple[Callable[[Mapping[str, Any]], PeopleMetrics], dict[str, int]]:
    """Function that measures a variant of ``layout``, and the numbers of what it measures."""
    names: Sequence[str] = features.index["protocol"]["options"]["metric"]
    if "templates" in features.arrays:
        sweep = TemplateSweep.of(features)
        return lambda variant: sweep.measure(variant, names), sweep.counts
    same, people = _labels(features)
    counts = {**pair_counts(same), "people": int(people.max()) + 1}
    return lambda variant: measure_variant(features, variant, same, people, names), counts


def images_of(features: StoredFeatures) -> Rows:
    """Number of each image of N pairs, (N, 2).

    Features of before they were stored tell equal images themselves, by the first undistorted variant. People of
    templates are those whom genuine pairs link, so these stand for their images.
    """
    if "templates" in features.arrays:
        return features.arrays["pairs"]
    if "images" in features.arrays:
        return features.arrays["images"]
    count = len(features.arrays["same"])
    variant = next(each for each in features.index["layout"]["variants"] if each["factor"] is None)
    sides = [features.values[variant[side] : variant[side] + count] for side in ("first", "second")]
    return equal_images(np.concatenate(sides)).reshape(2, -1).T


def _labels(features: StoredFeatures) -> tuple[Booleans, Integers]:
    """Labels (N,) and people (N, 2) of the pairs."""
    same = features.arrays["same"]
    check_kinds(same, features)
    if "people" in features.arrays:
        return same, numbered(features.arrays["people"])
    return same, people_of_pairs(images_of(features), same)


def _named(measured: PeopleMetrics, quality: str) -> PeopleMetrics:
    """The metrics of a quality by the names that they have in a record."""
    return PeopleMetrics(
        _renamed(measured.values, quality),
        replace(measured.left_out, values=_renamed(measured.left_out.values, quality)),
        _renamed(measured.trials, quality),
        _renamed(measured.resolution, quality),
        _renamed(measured.hits, quality),
    )


def _renamed(values: Mapping[str, Value], quality: str) -> dict[str, Value]:
    return {f"{name}_{quality}": value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class MeasuredVariant:
    """One variant of the pair set, as ``layout`` describes it, and what was measured. No factor: undistorted."""

    variant: Mapping[str, Any]
    measured: PeopleMetrics

    @property
    def quality(self) -> str:
        """Quality of the images."""
        return str(self.variant["quality"])

    @property
    def factor(self) -> str | None:
        """Kind of error."""
        factor: str | None = self.variant["factor"]
        return factor


def measure_variant(
    features: StoredFeatures, variant: Mapping[str, Any], same: Booleans, people: Integers, names: Sequence[str]
) -> PeopleMetrics:
    """Measure one variant of ``layout``: its metrics by ``names``, with and without each group of people.

    Raises:
        InputError: The variant is undistorted, and the embeddings do not distinguish its images.
    """
    distances = variant_distances(features, variant, same)
    values = {name: value.item() for name, value in variant_metrics(distances, same, names).items()}
    return measure_people(values, distances, same, people)


def variant_distances(features: StoredFeatures, variant: Mapping[str, Any], same: Booleans) -> Floats:
    """Squared distances (N,) of the pairs of one variant of ``layout``.

    Raises:
        InputError: The variant is undistorted, and the embeddings do not distinguish its images.
    """
    first, second = (features.values[variant[side] : variant[side] + len(same)] for side in ("first", "second"))
    distances = pair_distances(first, second)
    if variant["factor"] is None:  # what errors of alignment make of the faces may be all alike
        check_distances(distances, features)
    return distances


def variant_metrics(
    distances: Floats, same: Booleans, names: Sequence[str], weights: Integers | None = None
) -> dict[str, Floats]:
    """Metrics by ``names``, each (...), of pairs (N,) that count as often as ``weights`` (..., N) tell."""
    curve = roc(distances, same, weights)
    values = {name: tar_at_far(curve, STRICT_FARS[name]) for name in names if name in STRICT_FARS}
    if "auc" in names:
        values["auc"] = auc(curve)
    if "accuracy" in names:
        values["accuracy"] = accuracy(distances, same, weights)[0]
    return values


def _point(condition: MeasuredVariant, clean: MeasuredVariant, factor: str, metric: str) -> dict[str, Any]:
    """One point of one curve; ``significant`` tells that the interval of the drop lies above zero."""
    value, reference = condition.measured.values[metric], clean.measured.values[metric]
    left, references = condition.measured.left_out.values[metric], clean.measured.left_out.values[metric]
    low, high = _or_anything(*interval(value, left, condition.measured.left_out.units), 0.0)
    drop = difference(value, reference, left, references)
    drop_low, drop_high = _or_anything(drop.low, drop.high, -1.0)
    relative: tuple[float | None, ...] = (None, None, None)
    if reference > 0 and (references > 0).all():
        share = difference(value / reference, 1.0, left / references, np.ones_like(left))
        relative = (share.value, *_or_anything(share.low, share.high, -1.0))
    return {
        "quality": condition.quality,
        "factor": factor,
        "level": condition.variant["level"],
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "drop": reference - value,
        "drop_low": drop_low,
        "drop_high": drop_high,
        **dict(zip(("relative_drop", "relative_drop_low", "relative_drop_high"), relative, strict=True)),
        "significant": bool(drop_low > 0),
    }


def _or_anything(low: float, high: float, least: float) -> tuple[float, float]:
    """An interval; from ``least`` to 1 where there is none, as with pairs of a single person."""
    return (low, high) if np.isfinite([low, high]).all() else (least, 1.0)


PROTOCOL = EvaluationProtocol("sensitivity", evaluate, measure, images_of)
