"""Protocol ``pairs``: LFW, CFP, AgeDB-30, CALFW, CPLFW and other labelled pairs of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.left_out_pairs import (
    accuracy_left_out,
    auc_left_out,
    eer_left_out,
    tar_left_out,
    val_left_out,
)
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
from aroface.evaluation.protocols.outcome import Outcome, outcome_of
from aroface.evaluation.statistics.jackknife import LeaveOut
from aroface.evaluation.statistics.people import Rows, equal_images, kept_pairs, numbered, people_of_pairs
from aroface.evaluation.statistics.people_metrics import PeopleMetrics

STRICT_FARS = {"tar_strict_at_far_1e-1": 1e-1, "tar_strict_at_far_1e-2": 1e-2, "tar_strict_at_far_1e-3": 1e-3}
"""Target of each strict TAR, by the name of the metric."""


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features, rows 2i and 2i + 1 being pair i, against the array ``same``.

    The curve of TAR against FAR has ``tar_strict_at_far_*`` as its values.

    Raises:
        InputError: Fewer pairs than folds, pairs of one kind only, or embeddings that do not distinguish images.
    """
    same, distances = _labelled_distances(features)
    measured = _measure(distances, same, features)
    curves = {"tar_far": tar_far(-distances[same], -distances[~same])}
    return outcome_of([measured], {**pair_counts(same), "people": measured.left_out.units}, curves=curves)


def measure(features: StoredFeatures) -> list[PeopleMetrics]:
    """Measure the metrics with and without each group of people.

    Raises:
        InputError: See :func:`evaluate`.
    """
    same, distances = _labelled_distances(features)
    return [_measure(distances, same, features)]


def images_of(features: StoredFeatures) -> Rows:
    """Number of each image of N pairs, (N, 2); features of before they were stored tell equal images themselves."""
    stored = features.arrays.get("images")
    return stored if stored is not None else equal_images(features.values).reshape(-1, 2)


def _measure(distances: Floats, same: Booleans, features: StoredFeatures) -> PeopleMetrics:
    """Measure labelled pairs without the people whom the set names, or whom its pairs tell."""
    people = features.arrays.get("people")
    if people is None:
        return measure_pairs(distances, same, images_of(features))
    return measure_people(_values(distances, same), distances, same, numbered(people))


def _labelled_distances(features: StoredFeatures) -> tuple[Booleans, Floats]:
    same = features.arrays["same"]
    check_kinds(same, features)
    distances = pair_distances(features.values[0::2], features.values[1::2])
    check_distances(distances, features)
    return same, distances


def measure_pairs(distances: Floats, same: Booleans, images: Rows) -> PeopleMetrics:
    """Measure labelled pairs with and without each group of people.

    Args:
        distances: (N,) squared distances of unit features, N >= 10.
        same: (N,) labels, true where a pair shows one person; both kinds must occur.
        images: (N, 2) number of each image.
    """
    return measure_people(_values(distances, same), distances, same, people_of_pairs(images, same))


def _values(distances: Floats, same: Booleans) -> dict[str, float]:
    return {name: value.item() for name, value in pair_metrics(distances, same).items()}


def measure_people(values: Mapping[str, float], distances: Floats, same: Booleans, people: Integers) -> PeopleMetrics:
    """Measure metrics of labelled pairs without each group of people.

    Args:
        values: Metrics of all pairs, by the names of :func:`pair_metrics`.
        distances: (N,) squared distances.
        same: (N,) labels.
        people: (N, 2) people of each pair.
    """
    kept = kept_pairs(people, same)
    usable = kept[:, same].any(axis=1) & kept[:, ~same].any(axis=1)
    left_out = {name: np.full(len(kept), np.nan) for name in values if not name.endswith("_std")}
    for name, row in left_out.items():
        row[usable] = _LEFT_OUT[name](distances, same, kept[usable])
    hits = {"accuracy": correctly_classified(distances, same)} if "accuracy" in values else {}
    tars = [name for name in left_out if name.startswith("tar_")]
    units, mated = int(people.max()) + 1, len(np.unique(people[same]))
    steps = dict.fromkeys(hits, 1 / len(same)) | dict.fromkeys(tars, 1 / np.count_nonzero(same))
    trials = dict.fromkeys(left_out, units) | dict.fromkeys(tars, mated)
    return PeopleMetrics(values, LeaveOut("people", units, left_out), trials, steps, hits)


_LEFT_OUT: Mapping[str, Callable[[Floats, Booleans, Integers], Floats]] = {
    "accuracy": accuracy_left_out,
    "tar_at_far_1e-3": partial(val_left_out, far=1e-3),
    **{name: partial(tar_left_out, far=far) for name, far in STRICT_FARS.items()},
    "auc": auc_left_out,
    "eer": eer_left_out,
}


def pair_metrics(distances: Floats, same: Booleans) -> dict[str, Floats]:
    """All metrics of labelled pairs by the names they have in a record.

    ``tar_at_far_1e-3`` is the VAL of insightface, a mean over folds on a grid of thresholds; ``tar_strict_at_far_*`` is
    the largest TAR over all thresholds and all pairs whose FAR does not exceed the target.

    Args:
        distances: (N,) squared distances of unit features.
        same: (N,) labels, true where a pair shows one person.
    """
    mean, sd = accuracy(distances, same)
    curve = roc(distances, same)
    strict = {name: tar_at_far(curve, far) for name, far in STRICT_FARS.items()}
    validation = val(distances, same, 1e-3)[0]
    return {
        "accuracy": mean,
        "accuracy_std": sd,
        "tar_at_far_1e-3": validation,
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
    """Numbers of pairs by kind that a metric is measured on."""
    genuine = int(np.count_nonzero(same))
    return {"pairs": len(same), "genuine": genuine, "impostors": len(same) - genuine}


PROTOCOL = EvaluationProtocol("pairs", evaluate, measure, images_of)
