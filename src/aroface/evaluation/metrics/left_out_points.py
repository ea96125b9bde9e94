"""TAR at a FAR of millions of scores when a group of people is left out, for every group, from one sort.

To first order, as in :mod:`aroface.evaluation.metrics.left_out_pairs`: one impostor more or less moves an exact rate by
a step or by none, however many there are, and such steps scatter more than the rate does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.metrics.left_out_pairs import log_slope
from aroface.evaluation.metrics.operating_points import admitted

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Groups = NDArray[np.uint8]
Integers = NDArray[np.int64]
Rows = NDArray[np.integer[Any]]
Scores = NDArray[np.floating[Any]]

_REACH = 2.25  # impostors kept: this multiple of the largest target FAR
_SPARE = 1 << 16  # or at least so many
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class PointsLeftOut:
    """Rates at FARs by name, without each of G groups.

    Attributes:
        values: (G,) rates without each group; not a number without genuine or without impostor pairs.
        together: (G, G) change of a rate, to first order, by the impostor pairs of each two groups.
    """

    values: Mapping[str, Floats]
    together: Mapping[str, Floats]


def tars_left_out(
    scores: Scores,
    first: Rows,
    second: Rows,
    same: Booleans,
    groups: Groups,
    fars: Mapping[str, float],
    *,
    spare: int = _SPARE,
) -> PointsLeftOut:
    """``tar_strict_at_far_*`` and ``tar_at_far_*``, which are one to first order, without each of G groups.

    Args:
        scores: (P,) of pairs.
        first: (P,) rows of templates.
        second: (P,) rows of templates.
        same: (P,) labels, true for a genuine pair; both kinds must occur.
        groups: (T,) group of each template, from 0.
        fars: Targets by name.
        spare: Least number of impostors that are sorted.
    """
    if not fars:
        return PointsLeftOut({}, {})
    total = int(np.count_nonzero(~same))
    most = admitted(total, max(fars.values())) + 1
    ranked = _Ranked.build(scores, first, second, same, groups, min(total, max(spare, int(_REACH * most))))
    values, together = {}, {}
    for name, far in fars.items():
        left_out, cells = ranked.without(min(admitted(total, far) + 1, total))
        for kind in ("tar_strict_at_far", "tar_at_far"):
            values[f"{kind}_{name}"], together[f"{kind}_{name}"] = left_out, cells
    return PointsLeftOut(values, together)


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Pairs by falling score; scores are negated, so that they ascend.

    Attributes:
        genuine: Scores of all genuine pairs, (M,).
        owners: Group of each, (M,).
        impostors: Scores of the impostor pairs with the largest ones, (K,).
        cells: Number of the two groups of each, (K,): G times the first, plus the second.
        pairs: Number of all impostor pairs of each two groups, (G, G).
    """

    genuine: Scores
    owners: Groups
    impostors: Scores
    cells: Integers
    pairs: Floats

    @classmethod
    def build(cls, scores: Scores, first: Rows, second: Rows, same: Booleans, groups: Groups, kept: int) -> _Ranked:
        count = int(groups.max()) + 1
        mated = np.flatnonzero(same)
        mated = mated[np.argsort(-scores[mated])]
        pairs = np.zeros(count * count, np.int64)
        for start in range(0, len(same), _BLOCK):
            part = slice(start, start + _BLOCK)
            cells = groups[first[part]].astype(np.int32) * count + groups[second[part]]
            pairs += np.bincount(cells[~same[part]], minlength=len(pairs))
        best = _best_impostors(scores, same, kept)
        cells = groups[first[best]].astype(np.int64) * count + groups[second[best]]
        owners = groups[first[mated]]
        return cls(-scores[mated], owners, -scores[best], cells, pairs.reshape(count, count).astype(np.float64))

    def without(self, count: int) -> tuple[Floats, Floats]:
        """TAR (G,) at the ``count``-th impostor, plus the change of its FAR times the slope there; see the module.

        Args:
            count: Place from 1 of the first impostor that is one too many.

        Returns:
            Rates without each group, and what the impostor pairs of each two groups (G, G) change about them.
        """
        score, groups = self.impostors[count - 1], len(self.pairs)
        up_to, hits = int(np.searchsorted(self.impostors, score, "right")), int(np.searchsorted(self.genuine, score))
        slope = log_slope(self.genuine, self.impostors, up_to) / up_to
        all_hits, all_genuine = (np.bincount(self.owners[:end], minlength=groups) for end in (hits, len(self.genuine)))
        accepted = np.bincount(self.cells[:up_to], minlength=groups**2).reshape(groups, groups)
        total = self.pairs.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            fixed = (hits - all_hits) / (len(self.genuine) - all_genuine)
            shares = (up_to - _taken(accepted)) / (total - _taken(self.pairs))
        excess = accepted - up_to / total * self.pairs
        return np.clip(fixed - slope * (total * shares - up_to), 0, 1), slope * (excess + excess.T)


def _taken(pairs: NDArray[Any]) -> Floats:
    """Number of pairs (G,) that each group takes part in, of those of each two groups (G, G)."""
    return np.asarray(pairs.sum(axis=0) + pairs.sum(axis=1) - np.diag(pairs), np.float64)


def _best_impostors(scores: Scores, same: Booleans, kept: int) -> Integers:
    """Places of the impostor pairs with the ``kept`` largest scores, by falling score."""
    others = scores[~same]
    lowest = np.partition(others, len(others) - kept)[len(others) - kept]
    best = np.flatnonzero(~same & (scores >= lowest))
    return best[np.argsort(-scores[best])]
