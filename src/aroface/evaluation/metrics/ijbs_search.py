"""The search of IJB-S: rank and score of the best mate, and thresholds from the people who are not enrolled.

For galleries of some thousand templates; :mod:`~aroface.evaluation.metrics.identification` searches among millions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PROBE_BLOCK = 512
NEVER = np.iinfo(np.int64).max
"""Rank of a probe that cannot be found."""
_DECIMALS = 10


@dataclass(frozen=True, slots=True)
class GallerySearch:
    """Results of P probes in one gallery.

    Attributes:
        mated: (P,) flags of probes whose person is in the gallery.
        ranks: (P,) rank of the best mate, 1 the best; `NEVER` without a mate, or if the probe or all mates are zero.
        mate_scores: (P,) score of the best mate that is not zero, minus infinity without one.
        best_scores: (P,) the best score of all, minus infinity in an empty gallery.
        legacy_ranks: (P,) as the released script ranks: see :func:`search`.
        legacy_mate_scores: (P,) score of the best mate, zero or not, minus infinity without one.
    """

    mated: Booleans
    ranks: Integers
    mate_scores: Floats
    best_scores: Floats
    legacy_ranks: Integers
    legacy_mate_scores: Floats

    @property
    def legacy(self) -> GallerySearch:
        """The same search with the released script's ranks for its own."""
        return replace(self, ranks=self.legacy_ranks, mate_scores=self.legacy_mate_scores)


def search(
    probes: Floats, subjects: Integers, gallery: Floats, gallery_subjects: Integers, *, probe_block: int = PROBE_BLOCK
) -> GallerySearch:
    """Search every probe in a gallery by cosine similarity, in float64.

    Among equal scores a template of another person counts as the better one, as in
    :func:`.identification.retrieve`. Scores are rounded to ten decimals, so that the same templates
    have the same score however a product of matrices sums it up. A zero template stands for a person of whom no face
    was found. It has the score 0 with all others, and is a miss: it finds nothing and nothing finds it.

    The ``legacy`` ranks are those of the released script, which reverses an ascending sort: of equal scores the last in
    the gallery is the best. A probe without a face then finds the gallery's last templates, and is a hit where its mate
    is one of them.

    Args:
        probes: (P, D) unit vectors, or zero.
        subjects: (P,) people.
        gallery: (G, D) unit vectors, or zero.
        gallery_subjects: (G,) people; one may have several templates.
        probe_block: Number of probes scored at once; memory grows with ``probe_block * G``.
    """
    parts = [
        _search(probes[rows], subjects[rows], gallery, gallery_subjects)
        for rows in (slice(start, start + probe_block) for start in range(0, len(probes), probe_block))
    ]
    return GallerySearch(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _search(
    probes: Floats, subjects: Integers, gallery: Floats, gallery_subjects: Integers
) -> tuple[NDArray[Any], ...]:
    """The attributes of `Search` for some of the probes."""
    scores = np.round(probes @ gallery.T, _DECIMALS)
    mates = subjects[:, None] == gallery_subjects[None, :]
    mate_scores = np.where(mates & gallery.any(axis=1), scores, -np.inf).max(axis=1, initial=-np.inf)
    ahead = np.count_nonzero(~mates & (scores >= mate_scores[:, None]), axis=1)
    found = probes.any(axis=1) & (mate_scores > -np.inf)
    right = mates.any(axis=1), np.where(found, 1 + ahead, NEVER), mate_scores, scores.max(axis=1, initial=-np.inf)
    return *right, *_legacy(scores, mates)


def _legacy(scores: Floats, mates: Booleans) -> tuple[Integers, Floats]:
    """Rank and score of the best mate where the last of equal scores is the best."""
    best = np.where(mates, scores, -np.inf).max(axis=1, initial=-np.inf)
    numbers = np.arange(scores.shape[1])
    last = np.where(mates & (scores == best[:, None]), numbers, -1).max(axis=1, initial=-1)
    ties = (scores == best[:, None]) & (numbers > last[:, None])
    ahead = np.count_nonzero(~mates & ((scores > best[:, None]) | ties), axis=1)
    return np.where(last >= 0, 1 + ahead, NEVER), best


def tpir_at_fpir(found: GallerySearch, fpir: float, weights: Integers | None = None) -> Floats:
    """Rate of probes with a mate that are identified: found at rank 1 with a score that reaches the threshold.

    The threshold is the ``int(n · fpir)``-th highest of the best scores of the n probes without a mate, of which as
    many (more where they tie) raise a false alarm. Where that is the 0th it lies just above the highest.

    Args:
        found: Results of P probes, of which at least one has a mate and one has none.
        fpir: Rate of false alarms, in (0, 1].
        weights: Multiplicities (..., P), ones by default; each drawing holds probes of both kinds.

    Returns:
        (...).
    """
    weights = np.ones(len(found.mated), dtype=np.int64) if weights is None else weights
    strangers = np.flatnonzero(~found.mated)
    strangers = strangers[np.argsort(-found.best_scores[strangers], kind="stable")]
    drawn = weights[..., strangers].cumsum(axis=-1)
    alarms = (drawn[..., -1] * fpir).astype(np.int64)
    place = np.count_nonzero(drawn < np.maximum(alarms, 1)[..., None], axis=-1)
    threshold = found.best_scores[strangers][place]
    threshold = np.where(alarms > 0, threshold, np.nextafter(threshold, np.inf))
    mated = weights[..., found.mated]
    hits = (found.ranks[found.mated] == 1) & (found.mate_scores[found.mated] >= threshold[..., None])
    return np.asarray(np.sum(mated * hits, axis=-1) / mated.sum(axis=-1))
