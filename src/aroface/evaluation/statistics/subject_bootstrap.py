"""Bootstrap of TAR at a FAR over subjects: pairs share templates and templates share people, so no pair stands alone.

Each replicate draws as many subjects as there are, with replacement. A genuine pair counts as often as its subject was
drawn, an impostor pair as often as the product of its two subjects' numbers (the subsets bootstrap of Bolle, Ratha,
Pankanti, CVIU 2004, for pairs within and across subjects). Nothing is binned: the impostors are sorted once, the
weights of a replicate are summed up along this order, and each target is a binary search in the sums. Only the share
of impostors around the targets is walked through; the weight of all is a product with the sparse matrix of how many
impostor pairs each two subjects have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from aroface.evaluation.metrics.operating_points import admitted
from aroface.evaluation.statistics import bootstrap
from aroface.evaluation.statistics.bootstrap import Floats, Multiplicities
from aroface.evaluation.statistics.weighted_metrics import WeightedMetrics

Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]
Rows = NDArray[np.integer[Any]]
Scores = NDArray[np.floating[Any]]

REPLICATES = 200
_FEW = 1 << 21  # number of impostor scores up to which all are used
_REACH = 1.5  # beyond it, a share of them: this multiple of the largest target FAR


def subjects_of(first: Rows, second: Rows, same: Booleans, count: int) -> tuple[Rows, Integers]:
    """Subject of each of ``count`` templates, as far as genuine pairs tell: those they link show one person.

    Args:
        first: (P,) rows of templates.
        second: (P,) rows of templates.
        same: (P,) labels, true for a genuine pair.
        count: Number of templates.

    Returns:
        The subject of each template, from 0, (count,), and for each subject how many genuine pairs it has.
    """
    one, other = first[same], second[same]
    links = sparse.coo_array((np.ones(len(one), np.int32), (one, other)), shape=(count, count))
    number, subjects = sparse.csgraph.connected_components(links, directed=False)
    return subjects, np.bincount(subjects[one], minlength=number)


def tar_samples(
    scores: Scores,
    first: Rows,
    second: Rows,
    same: Booleans,
    count: int,
    fars: Mapping[str, float],
    *,
    replicates: int = REPLICATES,
    few: int = _FEW,
) -> dict[str, Floats]:
    """Bootstrap samples of ``tar_strict_at_far_*`` and ``tar_at_far_*``, each (at most ``replicates``,).

    For ``tar_at_far_*`` a replicate takes the point with the nearest FAR among all points of its curve. The metric
    itself skips points between two equal steps; with weighted pairs there are hardly any. Replicates without an
    impostor pair are left out.

    Args:
        scores: (P,) of pairs.
        first: (P,) rows of templates.
        second: (P,) rows of templates.
        same: (P,) labels, true for a genuine pair; both kinds must occur.
        count: Number of templates.
        fars: Targets by name.
        replicates: Number of draws.
        few: Number of impostors up to which all are walked through, however far below the targets.
    """
    subjects, strata = _drawn(first, second, same, count)
    impostors = int(np.count_nonzero(~same))
    reach = max(few, int(_REACH * max(fars.values()) * impostors))
    for kept in (reach, impostors):
        ranked = _Ranked.build(scores, subjects[first], subjects[second], same, len(strata), min(kept, impostors))
        samples = bootstrap.samples(partial(_tars, ranked, fars), strata, replicates)
        if not any(np.isinf(values).any() for values in samples.values()):
            break
    return {name: values[np.isfinite(values)] for name, values in samples.items()}


def strict_measure(
    scores: Scores, first: Rows, second: Rows, same: Booleans, count: int, fars: Mapping[str, float]
) -> WeightedMetrics:
    """``tar_strict_at_far_*`` as functions of how often each subject counts; arguments as of :func:`tar_samples`."""
    subjects, strata = _drawn(first, second, same, count)
    impostors = int(np.count_nonzero(~same))
    ranked = _Ranked.build(scores, subjects[first], subjects[second], same, len(strata), impostors)

    def statistic(drawn: Multiplicities) -> dict[str, Floats]:
        tars = _tars(ranked, fars, drawn)
        return {name: tars[name] for name in (f"tar_strict_at_far_{far}" for far in fars)}

    return WeightedMetrics(strata, statistic)


def _drawn(first: Rows, second: Rows, same: Booleans, count: int) -> tuple[Rows, Integers]:
    """The subject of each template, and the stratum of each subject.

    Three strata are drawn separately, so that every replicate has genuine pairs: subjects with genuine pairs, those
    with impostor pairs only, and those in no pair.
    """
    subjects, genuine = subjects_of(first, second, same, count)
    paired = np.zeros(len(genuine), np.bool_)
    paired[subjects[first]] = paired[subjects[second]] = True
    return subjects, (genuine > 0) + 2 * ~paired


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Pairs by falling score; scores are negated, so that they ascend.

    Attributes:
        genuine: Scores of all genuine pairs, (G,).
        owners: Subject of each, (G,).
        impostors: Scores of the impostor pairs with the largest ones, (K,).
        sides: Two subjects of each, (2, K).
        met: Number of impostor pairs of each two subjects, (S, S).
        whole: True if all impostor pairs are among ``impostors``.
    """

    genuine: Scores
    owners: Rows
    impostors: Scores
    sides: NDArray[np.intp]
    met: sparse.csr_array[Any, Any]
    whole: bool

    @classmethod
    def build(cls, scores: Scores, one: Rows, other: Rows, same: Booleans, subjects: int, kept: int) -> _Ranked:
        mated, others = np.flatnonzero(same), np.flatnonzero(~same)
        mated = mated[np.argsort(-scores[mated])]
        counts = sparse.coo_array(
            (np.ones(len(others), np.int32), (one[others], other[others])), shape=(subjects, subjects)
        )
        met = counts.tocsr()
        best = others[np.argpartition(-scores[others], kept - 1)[:kept]]
        best = best[np.argsort(-scores[best])]
        sides = np.stack([one[best], other[best]]).astype(np.intp)
        return cls(-scores[mated], one[mated], -scores[best], sides, met, kept == len(others))

    def totals(self, drawn: Multiplicities) -> Integers:
        """Weight of all impostor pairs in each replicate, (B,)."""
        return np.asarray(np.einsum("bs,sb->b", drawn, self.met @ np.ascontiguousarray(drawn.T)))


def _tars(ranked: _Ranked, fars: Mapping[str, float], drawn: Multiplicities) -> dict[str, Floats]:
    """The TARs of replicates (B, S), infinite where the kept impostors do not reach down to the threshold."""
    totals = ranked.totals(drawn)
    rows = [_replicate(ranked, counts, int(total), fars) for counts, total in zip(drawn, totals, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _replicate(ranked: _Ranked, counts: Integers, total: int, fars: Mapping[str, float]) -> dict[str, float]:
    if total == 0:
        return {name: np.nan for far in fars for name in (f"tar_strict_at_far_{far}", f"tar_at_far_{far}")}
    counts = counts.astype(np.int32)
    one, other = (counts.take(side) for side in ranked.sides)
    passed = np.multiply(one, other, out=one).cumsum(dtype=np.int64)
    hits = np.append(0, counts[ranked.owners].cumsum(dtype=np.int64))

    def above(place: int) -> float:
        """TAR at a threshold right above the impostor at this place; the last is followed by none."""
        if place < len(passed):
            return float(hits[np.searchsorted(ranked.genuine, ranked.impostors[place])] / hits[-1])
        return 1.0 if ranked.whole else np.inf

    tars = {}
    for name, far in fars.items():
        limit = int(np.searchsorted(passed, admitted(total, far), side="right"))
        tars[f"tar_strict_at_far_{name}"] = tars[f"tar_at_far_{name}"] = above(limit)
        if limit < len(passed):
            score = ranked.impostors[limit]
            start, end = np.searchsorted(ranked.impostors, score), np.searchsorted(ranked.impostors, score, "right")
            below, beyond = int(passed[start - 1]) if start else 0, int(passed[end - 1])
            if abs(beyond / total - far) <= abs(below / total - far):
                tars[f"tar_at_far_{name}"] = above(int(np.searchsorted(passed, beyond, side="right")))
    return tars
