"""Protocol ``tinyface``: closed-set search among distractors (Cheng, Zhu, Gong, arXiv 1811.08965)."""

from __future__ import annotations

import numpy as np

from aroface.embedding.store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation import bootstrap
from aroface.evaluation.identification import retrieve
from aroface.evaluation.outcome import Outcome

RANKS = (1, 5, 20)


def evaluate(features: StoredFeatures) -> Outcome:
    """Evaluate stored features, probes first and then the gallery, against the labels of both.

    Distractors are the gallery images with a negative label.

    Raises:
        InputError: no probe has a mate in the gallery.
    """
    probe_labels, gallery_labels = features.arrays["probe_labels"], features.arrays["gallery_labels"]
    probes = len(probe_labels)
    found = retrieve(features.values[:probes], probe_labels, features.values[probes:], gallery_labels)
    if not len(found.probes):
        raise InputError(
            f"none of {probes} probes has a mate in the gallery",
            file=features.folder,
            expected="file names that begin with the identity and _ in both",
        )
    names = [f"rank{rank}" for rank in RANKS] + ["map"]
    scores = np.stack([*(found.ranks <= rank for rank in RANKS), found.average_precision], axis=1).astype(np.float64)
    samples = bootstrap.samples(
        lambda weights: dict(zip(names, (weights @ scores / len(scores)).T, strict=True)), np.zeros(len(scores))
    )
    return Outcome(
        dict(zip(names, scores.mean(axis=0).tolist(), strict=True)),
        {name: bootstrap.interval(values) for name, values in samples.items()},
        {
            "probes": probes,
            "probes_with_mate": len(found.probes),
            "gallery": len(gallery_labels),
            "distractors": int(np.count_nonzero(gallery_labels < 0)),
            "bootstrap_replicates": bootstrap.REPLICATES,
        },
    )
