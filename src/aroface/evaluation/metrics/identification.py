"""Closed-set 1:N search over a gallery of any size in bounded memory: rank of the best mate and average precision.

No score matrix is kept and nothing is sorted: the gallery is read in blocks, and within a block the images of *other*
identities that score at least as high as each mate are counted. The j-th best of a probe's mates then stands at rank
j + (its count). Counts of several shards of a gallery add up: :func:`find_mates` and :func:`search_shard` look at one
shard, :func:`merge_shards` puts the counts together.

A score is the inner product, in float64, of two features that were scaled to length one in float32. It depends on
nothing but these two, so ranks are the same for any blocks, shards, threads and order of the gallery. Whole blocks are
scored in float32, and a pair anew where that cannot tell it from the mate.

Memory, beside features and labels that the caller holds: two blocks, ``gallery_block`` × (D + ``probe_block``) floats
and about as much again while rows are scaled; some 50 bytes for each pair of a probe and a mate of it; and D floats
for each probe. Nothing has the gallery's length: ten million distractors take what ten thousand take. (The system may
count pages of a memory-mapped gallery as the process's; it takes them back where memory is short.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.metrics.trapezoid_precision import trapezoid_average_precision
from aroface.evaluation.metrics.vectors import unit
from aroface.progress import track

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PROBE_BLOCK = 512
GALLERY_BLOCK = 8192
_LABEL_BLOCK = 2**16


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Results of a search for the M probes that have a mate in the gallery (the closed set).

    Attributes:
        probes: (M,) their rows among all probes, ascending.
        ranks: (M,) rank of the best mate, 1 the best. ``ranks <= k`` says whether any mate is among the k best.
        average_precision: (M,) mean over all mates of (mates up to this one) / (its rank), in (0, 1].
        trapezoid_precision: (M,) the same as TinyFace's own script has it, see
            :func:`aroface.evaluation.metrics.trapezoid_precision.trapezoid_average_precision`.
    """

    probes: Integers
    ranks: Integers
    average_precision: Floats
    trapezoid_precision: Floats


@dataclass(frozen=True, slots=True)
class Mates:
    """All K pairs of a probe and a gallery image of the same identity, by probe and then by gallery row.

    Attributes:
        owners: (K,) row of the probe.
        rows: (K,) row in the whole gallery.
        scores: (K,) their score.
    """

    owners: Integers
    rows: Integers
    scores: Floats


def retrieve(
    probes: Features,
    probe_labels: Integers,
    gallery: Features,
    gallery_labels: Integers,
    *,
    probe_block: int = PROBE_BLOCK,
    gallery_block: int = GALLERY_BLOCK,
) -> Retrieval:
    """Search every probe in the gallery by cosine similarity.

    Among equal scores an image of another identity counts as the better one. The field's scripts reverse an
    ``argsort``, which leaves the order of ties to chance; the pessimistic rule is reproducible and gives a model that
    maps all faces to one point no credit.

    Args:
        probes: (P, D) features of any length.
        probe_labels: (P,) identities.
        gallery: (G, D) features of any length, memory-mapped or in memory, mates and distractors in any order.
        gallery_labels: (G,) identities; a label that no probe has marks a distractor.
        probe_block: Number of probes scored at once.
        gallery_block: Number of gallery rows read and scored at once. Memory grows with ``probe_block * gallery_block``
            and the number of mates, not with G.
    """
    mates = find_mates(probes, probe_labels, gallery, gallery_labels)
    ahead = search_shard(probes, gallery, mates, probe_block=probe_block, gallery_block=gallery_block)
    return merge_shards(mates, [ahead])


def find_mates(
    probes: Features, probe_labels: Integers, shard: Features, shard_labels: Integers, first_row: int = 0
) -> Mates:
    """The mates that one shard of the gallery holds; only their rows are read.

    Args:
        probes: (P, D) all probes.
        probe_labels: (P,) identities.
        shard: (S, D) rows ``first_row`` and on of the gallery.
        shard_labels: (S,) identities.
        first_row: First row of the shard in the gallery.
    """
    by_label = np.argsort(probe_labels, kind="stable")
    ordered = probe_labels[by_label]
    nothing = _pairs_of_labels(ordered, shard_labels[:0], 0)
    parts = _parts(len(shard), _LABEL_BLOCK)
    pairs = [nothing, *(_pairs_of_labels(ordered, shard_labels[part], part.start) for part in parts)]
    places, rows = (np.concatenate(each) for each in zip(*pairs, strict=True))
    owners = by_label[places]
    order = np.lexsort((rows, owners))
    owners, rows = owners[order], rows[order]
    scores = np.empty(len(rows))
    for part in _parts(len(rows), GALLERY_BLOCK):
        scores[part] = _scores(unit(probes[owners[part]], np.float32), unit(shard[rows[part]], np.float32))
    return Mates(owners, first_row + rows, scores)


def search_shard(
    probes: Features,
    shard: Features,
    mates: Mates,
    first_row: int = 0,
    *,
    probe_block: int = PROBE_BLOCK,
    gallery_block: int = GALLERY_BLOCK,
) -> Integers:
    """Count, for each mate in the whole gallery, the images of others in one shard that score at least as high.

    Args:
        probes: (P, D) all probes.
        shard: (S, D) rows ``first_row`` and on of the gallery.
        mates: Mates of all shards.
        first_row: First row of the shard in the gallery.
        probe_block: Number of probes scored at once.
        gallery_block: Number of gallery rows read and scored at once.

    Returns:
        (K,) as ``mates``.
    """
    probes = unit(probes, np.float32)
    closed = np.unique(mates.owners)
    starts = np.searchsorted(mates.owners, np.append(closed, len(probes)))
    ahead = np.zeros(len(mates.rows), dtype=np.int64)
    buffer = np.empty((min(probe_block, len(closed)), min(gallery_block, len(shard))), dtype=np.float32)
    for columns in track(list(_parts(len(shard), gallery_block)), "gallery"):
        block = unit(shard[columns], np.float32)
        for part in _parts(len(closed), probe_block):
            theirs = probes[closed[part]]
            similarity = np.matmul(theirs, block.T, out=buffer[: len(theirs), : len(block)])
            ends = zip(starts[part].tolist(), starts[part.start + 1 : part.stop + 1].tolist(), strict=True)
            for row, probe, (start, stop) in zip(similarity, theirs, ends, strict=True):
                own = mates.rows[start:stop] - first_row - columns.start
                row[own[(own >= 0) & (own < len(row))]] = -np.inf
                ahead[start:stop] += _count_ahead(row, probe, block, mates.scores[start:stop])
    return ahead


def merge_shards(mates: Mates, ahead: Sequence[Integers]) -> Retrieval:
    """Ranks and precision, from the mates in all shards and what :func:`search_shard` counted in each."""
    closed, starts, counts = np.unique(mates.owners, return_index=True, return_counts=True)
    best_first = np.lexsort((-mates.scores, mates.owners))
    position = np.arange(len(mates.rows)) - np.repeat(starts, counts) + 1
    ranks = position + np.sum(ahead, axis=0)[best_first]
    precision = np.add.reduceat(position / ranks, starts) if len(closed) else np.empty(0)
    return Retrieval(closed, ranks[starts], precision / counts, trapezoid_average_precision(ranks, starts))


def _parts(length: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` rows that cover ``length`` rows."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _pairs_of_labels(ordered: Integers, labels: Integers, first: int) -> tuple[Integers, Integers]:
    """All pairs of a place in ``ordered``, which ascends, and a row of ``labels`` of the same label.

    Rows are counted from ``first``.
    """
    low = np.searchsorted(ordered, labels, side="left")
    counts = np.searchsorted(ordered, labels, side="right") - low
    rows = np.repeat(np.arange(len(labels)), counts)
    places = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts) + low[rows]
    return places, first + rows


def _scores(first: Features, second: Features) -> Floats:
    """Scores (N,) of N pairs of unit features; their products are exact in float64, their sums have a fixed order."""
    return np.asarray(np.sum(np.multiply(first, second, dtype=np.float64), axis=1))


def _count_ahead(row: Features, probe: Features, block: Features, scores: Floats) -> Integers:
    """Count the scores ``row`` of ``probe`` with ``block`` that are at least as high as each of its mates'.

    ``row`` was computed in float32, which is off by at most D units in the last place of 1; what is closer than that is
    scored anew.
    """
    slack = (len(probe) + 2) * 2.0**-24
    counts = np.zeros(len(scores), dtype=np.int64)
    for number, score in enumerate(scores.tolist()):
        possible = np.count_nonzero(row >= score - slack)
        if possible:
            counts[number] = np.count_nonzero(row > score + slack)
        if possible > counts[number]:
            near = np.flatnonzero((row >= score - slack) & (row <= score + slack))
            for part in _parts(len(near), GALLERY_BLOCK):
                counts[number] += np.count_nonzero(_scores(block[near[part]], probe) >= score)
    return counts
