"""1:N search of templates in two galleries: ranks in the closed set, and TPIR at a FPIR two ways.

*Legacy* is what the literature's scripts report (insightface ``ijb_1n.py``): both galleries are one, the threshold is
the ceil(P · FPIR)-th best score of an impostor pair, P the number of probes, and a probe is found where its mate scores
higher, whatever its rank. *Standard* is the protocol's own: a probe without a mate in a gallery is a false positive
where anybody there reaches the threshold; per gallery TPIR is the largest share of mated probes, over all thresholds
with a FPIR of at most the target, that find their mate at rank 1 and above it; the galleries' mean is reported.
Among equal scores an impostor counts as the better one, as in :mod:`aroface.evaluation.metrics.identification`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.progress import track

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Multiplicities = NDArray[np.int64]

RANKS = (1, 5, 10)
FPIRS: Mapping[str, float] = {"1e-2": 1e-2, "1e-1": 1e-1}
PROBE_BLOCK = 1024

_SPARE, _REACH = 1 << 16, 8  # impostor pairs kept: at least so many, or this multiple of those below the threshold


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Results of a search of P probes in two galleries; no mate scores minus infinity.

    Attributes:
        ranks: (P,) of the best mate in both galleries together, 1 the best; without meaning where there is no mate.
        mates: (P, 2) best score of a mate in each gallery.
        others: (P, 2) best score of anybody else in each gallery.
        impostors: (K,) best scores of impostor pairs, descending.
        owners: (K,) the probe of each.
        whole: True if these are all impostor pairs.
    """

    ranks: Integers
    mates: Features
    others: Features
    impostors: Features
    owners: Integers
    whole: bool

    @property
    def mated(self) -> NDArray[np.bool_]:
        """(P, 2) whether a probe has a mate in each gallery."""
        return np.isfinite(self.mates)

    @property
    def strata(self) -> Integers:
        """(P,) which galleries have a mate of a probe, as a number: what a bootstrap draws apart."""
        return np.asarray(self.mated @ np.array([1, 2]), np.int64)


def search(
    probes: Features,
    subjects: Integers,
    galleries: Sequence[tuple[Features, Integers]],
    *,
    block: int = PROBE_BLOCK,
    spare: int = _SPARE,
) -> Found:
    """Search every probe in two galleries, both (vectors, subjects), in blocks of probes.

    Args:
        probes: (P, D) vectors of length one.
        subjects: Subject of each, (P,).
        galleries: Two galleries, with vectors (G, D) of length one and subjects (G,).
        block: Number of probes scored at once, against all of both galleries.
        spare: Least number of impostor pairs that are kept.
    """
    gallery = np.concatenate([vectors for vectors, _ in galleries])
    names = np.concatenate([labels for _, labels in galleries])
    first = len(galleries[0][1])
    parts = (slice(0, first), slice(first, None))
    ranks = np.empty(len(probes), np.int64)
    mates, others = (np.full((len(probes), 2), -np.inf, np.float32) for _ in range(2))
    best = _Best(max(spare, _REACH * math.ceil(len(probes) * max(FPIRS.values()))))
    buffer = np.empty((min(block, len(probes)), len(gallery)), np.float32)
    for start in track(range(0, len(probes), block), "probes"):
        rows = slice(start, start + block)
        here = probes[rows]
        scores = np.matmul(here, gallery.T, out=buffer[: len(here)])
        row, column = np.nonzero(subjects[rows, None] == names)
        np.maximum.at(mates[rows], (row, (column >= first).astype(np.int64)), scores[row, column])
        scores[row, column] = -np.inf
        for number, part in enumerate(parts):
            others[rows, number] = scores[:, part].max(axis=1, initial=-np.inf)
        ranks[rows] = 1 + np.count_nonzero(scores >= mates[rows].max(axis=1, keepdims=True), axis=1)
        best.add(scores, start)
    order = np.argsort(-best.scores, kind="stable")
    return Found(ranks, mates, others, best.scores[order], best.owners[order], best.seen == len(order))


class _Best:
    """The best scores among all that were added, and whose they are; minus infinity does not count.

    Args:
        most: Number of pairs that are kept.
    """

    def __init__(self, most: int) -> None:
        self.scores = np.empty(0, np.float32)
        self.owners = np.empty(0, np.int64)
        self.seen = 0
        self._most = most
        self._lowest: Any = -np.inf

    def add(self, scores: Features, first: int) -> None:
        """Take in scores (n, G) of the probes from number ``first`` on."""
        self.seen += int(np.count_nonzero(scores > -np.inf))
        chosen = np.flatnonzero(scores > self._lowest)
        values = np.concatenate([self.scores, scores.ravel()[chosen]])
        owners = np.concatenate([self.owners, first + chosen // max(1, scores.shape[1])])
        if len(values) > self._most:
            kept = np.argpartition(values, len(values) - self._most)[-self._most :]
            values, owners = values[kept], owners[kept]
            self._lowest = values.min()
        self.scores, self.owners = values, owners


def rates(found: Found, weights: Multiplicities | None = None) -> dict[str, Floats]:
    """All metrics of a search by the names they have in a record, each (...).

    ``tpir_standard_*`` is not among them where a gallery lacks probes with a mate, or such without.

    Args:
        found: Results of a search with at least one mated probe.
        weights: (B, P) multiplicities; ones by default, for one row.
    """
    if weights is None:
        weights = np.ones((1, len(found.ranks)), np.int64)
    mated = found.mated
    closed = np.asarray(mated.any(axis=1))
    metrics = {f"rank{rank}": _share(weights, closed & (found.ranks <= rank), closed) for rank in RANKS}
    for name, fpir in FPIRS.items():
        metrics[f"tpir_legacy_at_fpir_{name}"] = _legacy(found, weights, closed, fpir)
    if mated.any(axis=0).all() and not mated.all(axis=0).any():
        for name, fpir in FPIRS.items():
            metrics[f"tpir_standard_at_fpir_{name}"] = standard_rates(found, fpir, weights)
    return metrics


def standard_rates(found: Found, fpir: float, weights: Multiplicities | None = None) -> Floats:
    """The *standard* TPIR at a FPIR, (B,), where both galleries have probes with a mate and such without.

    Args:
        found: Results of the search.
        fpir: Rate of false alarms, in (0, 1].
        weights: (B, P) multiplicities; ones by default, for one row.
    """
    if weights is None:
        weights = np.ones((1, len(found.ranks)), np.int64)
    each = [_standard(found, weights, gallery, fpir) for gallery in range(2)]
    return np.asarray(np.mean(each, axis=0))


def _legacy(found: Found, weights: Multiplicities, closed: NDArray[np.bool_], fpir: float) -> Floats:
    """TPIR at a FPIR as the released scripts have it, (B,); with fewer impostor pairs than wanted all probes are found.

    Of the millions of pairs the best are kept, eight times as many as wanted; a replicate that goes below them takes
    the lowest for its threshold.
    """
    wanted = math.ceil(len(found.ranks) * fpir)
    passed = weights[:, found.owners].cumsum(axis=1)
    place = np.count_nonzero(passed < wanted, axis=1)
    below = -np.inf if found.whole or not len(found.impostors) else found.impostors[-1]
    thresholds = np.append(found.impostors, np.float32(below))[place]
    return _share(weights, closed & (found.mates.max(axis=1) > thresholds[:, None]), closed)


def _standard(found: Found, weights: Multiplicities, gallery: int, fpir: float) -> Floats:
    mates, others = found.mates[:, gallery], found.others[:, gallery]
    mated = np.isfinite(mates)
    unknown = np.flatnonzero(~mated)
    unknown = unknown[np.argsort(-others[unknown], kind="stable")]
    passed = weights[:, unknown].cumsum(axis=1)
    # The first unknown probe that is one too many: the threshold lies right above its score.
    place = np.count_nonzero(passed / passed[:, -1:] <= fpir, axis=1)
    thresholds = np.append(others[unknown], np.float32(-np.inf))[place]
    return _share(weights, (mates > others) & (mates > thresholds[:, None]), mated)


def _share(weights: Multiplicities, hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Floats:
    return np.asarray((weights * hits).sum(axis=1) / (weights * among).sum(axis=1))
