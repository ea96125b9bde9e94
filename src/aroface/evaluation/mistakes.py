"""The worst mistakes of a network on a benchmark: pairs at a threshold, and probes whose best hit is somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.metrics.identification import find_mates, retrieve
from aroface.evaluation.metrics.score_thresholds import threshold_at
from aroface.evaluation.metrics.vectors import unit
from aroface.evaluation.metrics.verification import check_distances, pair_distances
from aroface.evaluation.protocols.pairs import check_kinds

Floats = NDArray[np.float64]

MOST = 24
"""Mistakes of a kind that are shown by default."""

_GALLERY_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class PairMistake:
    """A pair on the wrong side of the threshold.

    Attributes:
        pair: Number of the pair, from 0.
        score: Cosine of its features.
        rows: Rows of its two features.
    """

    pair: int
    score: float
    rows: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PairMistakes:
    """The worst mistakes on labelled pairs.

    Attributes:
        fmr: Wished FMR.
        threshold: Lowest cosine that is accepted.
        genuine: Number of genuine pairs.
        impostors: Number of impostor pairs.
        accepted: Number of impostor pairs that are accepted.
        rejected: Number of genuine pairs that are rejected.
        false_accepts: The worst of these impostor pairs, highest score first.
        false_rejects: The worst of these genuine pairs, lowest score first.
    """

    fmr: float
    threshold: float
    genuine: int
    impostors: int
    accepted: int
    rejected: int
    false_accepts: Sequence[PairMistake]
    false_rejects: Sequence[PairMistake]


@dataclass(frozen=True, slots=True)
class SearchMistake:
    """A probe whose best hit is somebody else.

    Attributes:
        probe: Row of the probe.
        rank: Rank of its best mate.
        best: Row of the best hit.
        best_score: Cosine of probe and best hit.
        mate: Row of the best mate.
        mate_score: Cosine of probe and best mate.
    """

    probe: int
    rank: int
    best: int
    best_score: float
    mate: int
    mate_score: float

    @property
    def rows(self) -> tuple[int, int, int]:
        """Rows of the probe, the best hit and the best mate."""
        return self.probe, self.best, self.mate


@dataclass(frozen=True, slots=True)
class SearchMistakes:
    """The worst mistakes of a search.

    Attributes:
        probes: Number of probes with a mate.
        missed: Number of those whose best hit is somebody else.
        searches: The worst of them: those whose best hit scores most above their best mate first.
    """

    probes: int
    missed: int
    searches: Sequence[SearchMistake]


def find_mistakes(features: StoredFeatures, *, fmr: float = 1e-2, most: int = MOST) -> PairMistakes | SearchMistakes:
    """Find the worst mistakes.

    Args:
        features: Stored features of the protocol ``pairs`` or ``tinyface``.
        fmr: FMR that the threshold for pairs is chosen for, in (0, 1): on these pairs, by all impostors.
        most: Largest number of mistakes of a kind.

    Raises:
        InputError: Another protocol; pairs of one kind; embeddings that do not distinguish images.
    """
    protocol = features.index["protocol"]["name"]
    if protocol == "pairs":
        return _pairs(features, fmr, most)
    if protocol == "tinyface":
        return _searches(features, most)
    raise InputError(f"features of the protocol {protocol}", file=features.folder, expected="pairs or tinyface")


def pair_scores(features: StoredFeatures) -> Floats:
    """Cosines (N,) of labelled pairs.

    Raises:
        InputError: Pairs of one kind; embeddings that do not distinguish images.
    """
    check_kinds(features.arrays["same"], features)
    distances = pair_distances(features.values[0::2], features.values[1::2])
    check_distances(distances, features)
    return 1 - distances / 2


def _pairs(features: StoredFeatures, fmr: float, most: int) -> PairMistakes:
    same, scores = features.arrays["same"], pair_scores(features)
    threshold = threshold_at(np.sort(scores[~same]), np.sort(scores[same]), fmr)
    accepted, rejected = (np.flatnonzero(kind) for kind in (~same & (scores >= threshold), same & (scores < threshold)))

    def worst(pairs: NDArray[np.intp], order: Floats) -> list[PairMistake]:
        chosen = pairs[np.argsort(order, kind="stable")][:most].tolist()
        return [PairMistake(pair, float(scores[pair]), (2 * pair, 2 * pair + 1)) for pair in chosen]

    return PairMistakes(
        fmr,
        threshold,
        int(same.sum()),
        int(np.count_nonzero(~same)),
        len(accepted),
        len(rejected),
        worst(accepted, -scores[accepted]),
        worst(rejected, scores[rejected]),
    )


def _searches(features: StoredFeatures, most: int) -> SearchMistakes:
    labels, gallery_labels = features.arrays["probe_labels"], features.arrays["gallery_labels"]
    probes, gallery = features.values[: len(labels)], features.values[len(labels) :]
    found = retrieve(probes, labels, gallery, gallery_labels)
    missed, ranks = found.probes[found.ranks > 1], found.ranks[found.ranks > 1]
    best, best_scores = _best_others(probes[missed], labels[missed], gallery, gallery_labels)
    mates = find_mates(probes[missed], labels[missed], gallery, gallery_labels)
    order = np.lexsort((-mates.scores, mates.owners))
    _, firsts = np.unique(mates.owners[order], return_index=True)
    rows, scores = mates.rows[order][firsts], mates.scores[order][firsts]
    worst = np.argsort(scores - best_scores, kind="stable")[:most]
    searches = [
        SearchMistake(
            int(missed[one]),
            int(ranks[one]),
            len(labels) + int(best[one]),
            float(best_scores[one]),
            len(labels) + int(rows[one]),
            float(scores[one]),
        )
        for one in worst.tolist()
    ]
    return SearchMistakes(len(found.probes), len(missed), searches)


def _best_others(
    probes: NDArray[np.float32],
    labels: NDArray[np.int64],
    gallery: NDArray[np.float32],
    gallery_labels: NDArray[np.int64],
) -> tuple[NDArray[np.int64], Floats]:
    """Row and score of the best image of somebody else for each probe, the first of equals."""
    rows, scores = np.zeros(len(probes), np.int64), np.full(len(probes), -np.inf)
    theirs = unit(probes, np.float32)
    for begin in range(0, len(gallery), _GALLERY_BLOCK):
        block = slice(begin, begin + _GALLERY_BLOCK)
        similarity = theirs @ unit(gallery[block], np.float32).T
        similarity[labels[:, None] == gallery_labels[None, block]] = -np.inf
        if not len(probes):
            break
        places = similarity.argmax(axis=1)
        values = similarity[np.arange(len(probes)), places]
        better = values > scores
        rows[better], scores[better] = begin + places[better], values[better]
    return rows, scores
