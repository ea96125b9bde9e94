"""Closed-set 1:N search over a gallery of any size in bounded memory: rank of the best mate and average precision.

No score matrix is kept and nothing is sorted: the gallery is read in blocks, and within a block the images of *other*
identities that score at least as high as each mate are counted. The j-th best of a probe's mates then stands at rank
j + (its count).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.vectors import unit
from aroface.progress import track

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PROBE_BLOCK = 512
GALLERY_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a search found, for the M probes that have a mate in the gallery (the closed set).

    Attributes:
        probes: (M,) their rows among all probes, ascending.
        ranks: (M,) rank of the best mate, 1 the best. ``ranks <= k`` says whether any mate is among the k best.
        average_precision: (M,) mean over all mates of (mates up to this one) / (its rank), in (0, 1].
    """

    probes: Integers
    ranks: Integers
    average_precision: Floats


def retrieve(
    probes: Features,
    probe_labels: Integers,
    gallery: Features,
    gallery_labels: Integers,
    *,
    probe_block: int = PROBE_BLOCK,
    gallery_block: int = GALLERY_BLOCK,
) -> Retrieval:
    """Search every probe in the gallery by cosine similarity, computed in float32.

    Among equal scores an image of another identity counts as the better one. The field's scripts reverse an
    ``argsort``, which leaves the order of ties to chance; the pessimistic rule is reproducible and gives a model that
    maps all faces to one point no credit.

    Args:
        probes: (P, D) features of any length.
        probe_labels: (P,) identities.
        gallery: (G, D) features of any length, memory-mapped or in memory, mates and distractors in any order.
        gallery_labels: (G,) identities; a label that no probe has marks a distractor.
        probe_block: probes scored at once.
        gallery_block: gallery rows read and scored at once. Memory grows with ``probe_block * gallery_block`` and the
            number of mates, not with G.
    """
    probes = unit(probes, np.float32)
    mates = _Mates.find(probe_labels, gallery_labels)
    closed = np.flatnonzero(mates.counts)
    scores = _mate_scores(probes, gallery, mates)
    ahead = np.zeros(len(scores), dtype=np.int64)
    buffer = np.empty((min(probe_block, len(probes)), min(gallery_block, len(gallery))), dtype=np.float32)
    for start in track(range(0, len(gallery), gallery_block), "gallery"):
        block = unit(gallery[start : start + gallery_block], np.float32)
        for low in range(0, len(closed), probe_block):
            rows = closed[low : low + probe_block]
            similarity = np.matmul(probes[rows], block.T, out=buffer[: len(rows), : len(block)])
            _count_ahead(similarity, rows, start, mates, scores, ahead)
    return _rank(closed, mates, scores, ahead)


@dataclass(frozen=True, slots=True)
class _Mates:
    """Mates of all probes in one flat list: those of probe p are ``rows[starts[p] : starts[p] + counts[p]]``.

    ``rows`` are gallery rows, ascending within a probe.
    """

    rows: Integers
    starts: Integers
    counts: Integers

    @classmethod
    def find(cls, probe_labels: Integers, gallery_labels: Integers) -> _Mates:
        order = np.argsort(gallery_labels, kind="stable")
        ordered = gallery_labels[order]
        first = np.searchsorted(ordered, probe_labels, side="left")
        counts = np.searchsorted(ordered, probe_labels, side="right") - first
        starts = np.cumsum(counts) - counts
        offsets = np.arange(counts.sum()) - np.repeat(starts, counts)
        return cls(order[np.repeat(first, counts) + offsets], starts, counts)


def _mate_scores(probes: Features, gallery: Features, mates: _Mates) -> Features:
    """Score of every mate, (len(mates.rows),)."""
    scores = np.empty(len(mates.rows), dtype=np.float32)
    owners = np.repeat(np.arange(len(probes)), mates.counts)
    for start in range(0, len(scores), GALLERY_BLOCK):
        part = slice(start, start + GALLERY_BLOCK)
        theirs = unit(gallery[mates.rows[part]], np.float32)
        scores[part] = np.einsum("nd,nd->n", probes[owners[part]], theirs)
    return scores


def _count_ahead(
    similarity: Features, probes: Integers, first_column: int, mates: _Mates, scores: Features, ahead: Integers
) -> None:
    """Add to ``ahead`` how many non-mates of this block score at least as high as each mate of ``probes``."""
    for row, probe in zip(similarity, probes, strict=True):
        own = slice(mates.starts[probe], mates.starts[probe] + mates.counts[probe])
        columns = mates.rows[own] - first_column
        row[columns[(columns >= 0) & (columns < len(row))]] = -np.inf
        for mate in range(own.start, own.stop):
            ahead[mate] += np.count_nonzero(row >= scores[mate])


def _rank(closed: Integers, mates: _Mates, scores: Features, ahead: Integers) -> Retrieval:
    owners = np.repeat(np.arange(len(mates.counts)), mates.counts)
    best_first = np.lexsort((-scores, owners))
    position = np.arange(len(scores)) - mates.starts[owners] + 1
    ranks = position + ahead[best_first]
    starts = mates.starts[closed]
    precision = np.add.reduceat(position / ranks, starts) if len(closed) else np.empty(0)
    return Retrieval(closed, ranks[starts], precision / mates.counts[closed])
