"""Protocol ``tinyface``: closed-set search among distractors (Cheng, Zhu, Gong, arXiv 1811.08965)."""

from __future__ import annotations

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.identification import Floats, Retrieval, retrieve
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome
from aroface.evaluation.statistics import bootstrap
from aroface.evaluation.statistics.weighted_metrics import WeightedMetrics

RANKS = (1, 5, 20)


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features, probes first and then the gallery, against the labels of both.

    Distractors are the gallery images with a negative label.

    Raises:
        InputError: No probe has a mate in the gallery.
    """
    found = _search(features)
    scores = _scores(found)
    gallery_labels = features.arrays["gallery_labels"]
    return Outcome(
        {name: values.mean().item() for name, values in scores.items()},
        _weighted(scores).intervals(),
        {
            "probes": len(features.arrays["probe_labels"]),
            "probes_with_mate": len(found.probes),
            "gallery": len(gallery_labels),
            "distractors": int(np.count_nonzero(gallery_labels < 0)),
            "bootstrap_replicates": bootstrap.REPLICATES,
        },
    )


def weighted_metrics(features: StoredFeatures) -> list[WeightedMetrics]:
    """The metrics as functions of how often each probe with a mate counts.

    Raises:
        InputError: See :func:`evaluate`.
    """
    return [_weighted(_scores(_search(features)))]


def _search(features: StoredFeatures) -> Retrieval:
    probe_labels, gallery_labels = features.arrays["probe_labels"], features.arrays["gallery_labels"]
    probes = len(probe_labels)
    found = retrieve(features.values[:probes], probe_labels, features.values[probes:], gallery_labels)
    if not len(found.probes):
        raise InputError(
            f"none of {probes} probes has a mate in the gallery",
            file=features.folder,
            expected="file names that begin with the identity and _ in both",
        )
    return found


def _scores(found: Retrieval) -> dict[str, Floats]:
    """Contribution of each probe to each metric, which is their mean; for ranks one for a hit."""
    hits = {f"rank{rank}": (found.ranks <= rank).astype(np.float64) for rank in RANKS}
    return {**hits, "map": found.average_precision}


def _weighted(scores: dict[str, Floats]) -> WeightedMetrics:
    columns = np.stack(list(scores.values()), axis=1)
    return WeightedMetrics(
        np.zeros(len(columns)),
        lambda weights: dict(zip(scores, (weights @ columns / len(columns)).T, strict=True)),
        {name: values == 1 for name, values in scores.items() if name.startswith("rank")},
    )


PROTOCOL = EvaluationProtocol("tinyface", evaluate, weighted_metrics)
