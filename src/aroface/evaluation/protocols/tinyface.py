"""Protocol ``tinyface``: closed-set search among distractors (Cheng, Zhu, Gong, arXiv 1811.08965)."""

from __future__ import annotations

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.identification import Retrieval, retrieve
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome, outcome_of
from aroface.evaluation.statistics.people_metrics import PeopleMetrics, mean_of_items

RANKS = (1, 5, 20)


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features, probes first and then the gallery, against the labels of both.

    Distractors are the gallery images with a negative label.

    Raises:
        InputError: No probe has a mate in the gallery.
    """
    retrieval = _search(features)
    measured = _measure(features, retrieval)
    gallery_labels = features.arrays["gallery_labels"]
    counts = {
        "probes": len(features.arrays["probe_labels"]),
        "probes_with_mate": len(retrieval.probes),
        "people": measured.left_out.units,
        "gallery": len(gallery_labels),
        "distractors": int(np.count_nonzero(gallery_labels < 0)),
    }
    return outcome_of([measured], counts)


def measure(features: StoredFeatures) -> list[PeopleMetrics]:
    """Measure the metrics with and without each group of the people who are searched for.

    Somebody left out stays in the gallery, as one of very many distractors.

    Raises:
        InputError: See :func:`evaluate`.
    """
    return [_measure(features, _search(features))]


def _measure(features: StoredFeatures, found: Retrieval) -> PeopleMetrics:
    hits = {f"rank{rank}": found.ranks <= rank for rank in RANKS}
    precisions = {"map": found.average_precision, "map_trapezoid": found.trapezoid_precision}
    return mean_of_items({**hits, **precisions}, features.arrays["probe_labels"][found.probes])


def _search(features: StoredFeatures) -> Retrieval:
    probe_labels, gallery_labels = features.arrays["probe_labels"], features.arrays["gallery_labels"]
    probes = len(probe_labels)
    retrieval = retrieve(features.values[:probes], probe_labels, features.values[probes:], gallery_labels)
    if not len(retrieval.probes):
        raise InputError(
            f"none of {probes} probes has a mate in the gallery",
            file=features.folder,
            expected="file names that begin with the identity and _ in both",
        )
    return retrieval


PROTOCOL = EvaluationProtocol("tinyface", evaluate, measure)
