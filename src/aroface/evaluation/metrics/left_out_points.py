"""TAR at a FAR of millions of scores when a group of people is left out, for every group, from one sort.

Exactly where the threshold lets at least `FEW` impostors pass, else to first order, as in
:mod:`aroface.evaluation.metrics.left_out_pairs`.

The impostors around the thresholds are sorted once. A pair that a group takes part in is gone without it; how many of
these stand before a place of the sorted list tells which place a threshold moves to. So each group costs a few binary
searches in the list of its own pairs, whatever the number of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.metrics.left_out_pairs import slope_window
from aroface.evaluation.metrics.operating_points import admitted

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Groups = NDArray[np.uint8]
Integers = NDArray[np.int64]
Rows = NDArray[np.integer[Any]]
Scores = NDArray[np.floating[Any]]

FEW = 200
"""Impostors above the threshold of all pairs, below which a rate is left out to first order."""
_REACH = 1.25  # impostors kept: this multiple of the largest target FAR
_SPARE = 1 << 16  # or at least so many
_BLOCK = 1 << 20


def tars_left_out(
    scores: Scores,
    first: Rows,
    second: Rows,
    same: Booleans,
    groups: Groups,
    fars: Mapping[str, float],
    *,
    spare: int = _SPARE,
) -> dict[str, Floats]:
    """``tar_strict_at_far_*`` and ``tar_at_far_*`` without each of G groups, each (G,).

    For ``tar_at_far_*`` the point with the nearest FAR is taken among all points of the curve; the metric itself skips
    points between two equal steps, which moves the fourth digit. Without genuine or without impostor pairs a rate is
    not a number.

    Args:
        scores: (P,) of pairs.
        first: (P,) rows of templates.
        second: (P,) rows of templates.
        same: (P,) labels, true for a genuine pair; both kinds must occur.
        groups: (T,) group of each template, from 0.
        fars: Targets by name.
        spare: Least number of impostors that are sorted.
    """
    count = int(groups.max()) + 1
    total = int(np.count_nonzero(~same))
    touched = _touched(groups, first, second, same, count)
    kept = min(total, max(spare, int(_REACH * max(fars.values()) * total)))
    while True:
        ranked = _Ranked.build(scores, first, second, same, groups, kept)
        rows = [ranked.without(group, total - touched[group], fars) for group in range(count)]
        if kept == total or not any(np.isinf(value) for row in rows for value in row.values()):
            return {name: np.array([row[name] for row in rows]) for name in rows[0]}
        kept = total


def _touched(groups: Groups, first: Rows, second: Rows, same: Booleans, count: int) -> list[int]:
    """Number of impostor pairs that each group takes part in."""
    pairs = np.zeros(count * count, np.int64)
    for start in range(0, len(same), _BLOCK):
        part = slice(start, start + _BLOCK)
        cells = groups[first[part]].astype(np.int32) * count + groups[second[part]]
        pairs += np.bincount(cells[~same[part]], minlength=len(pairs))
    matrix = pairs.reshape(count, count)
    return [int(each) for each in matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)]


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Pairs by falling score; scores are negated, so that they ascend.

    Attributes:
        genuine: Scores of all genuine pairs, (M,).
        owners: Their places among them by group.
        impostors: Scores of the impostor pairs with the largest ones, (K,).
        places: Places among these of the pairs that each group takes part in, ascending.
        total: Number of all impostor pairs.
    """

    genuine: Scores
    owners: list[Integers]
    impostors: Scores
    places: list[Integers]
    total: int

    @classmethod
    def build(cls, scores: Scores, first: Rows, second: Rows, same: Booleans, groups: Groups, kept: int) -> _Ranked:
        count = int(groups.max()) + 1
        mated = np.flatnonzero(same)
        mated = mated[np.argsort(-scores[mated])]
        best = _best_impostors(scores, same, kept)
        sides = np.stack([groups[first[best]], groups[second[best]]], axis=1)
        sides[sides[:, 0] == sides[:, 1], 1] = count  # a pair within a group is one pair of it
        owners = _by_group(groups[first[mated]], count)
        places = [each // 2 for each in _by_group(sides.ravel(), count)]
        return cls(-scores[mated], owners, -scores[best], places, int(np.count_nonzero(~same)))

    def without(self, group: int, total: int, fars: Mapping[str, float]) -> dict[str, float]:
        """The rates where ``total`` impostor pairs stay; infinite where the kept ones do not reach the threshold."""
        owners, places = self.owners[group], self.places[group]
        genuine = len(self.genuine) - len(owners)
        if not total or not genuine:
            return {name: np.nan for far in fars for name in (f"tar_strict_at_far_{far}", f"tar_at_far_{far}")}
        before = places - np.arange(len(places))  # pairs that stay, before each of those that go

        def above(number: int) -> float:
            """TAR at a threshold right above the impostor that so many go before; the last is followed by none."""
            if number == total:
                return 1.0
            index = number + int(np.searchsorted(before, number, side="right"))
            if index >= len(self.impostors):
                return np.inf
            hits = int(np.searchsorted(self.genuine, self.impostors[index]))
            return (hits - int(np.searchsorted(owners, hits))) / genuine

        def staying(place: int) -> int:
            return place - int(np.searchsorted(places, place))

        tars = {}
        for name, far in fars.items():
            if admitted(self.total, far) < FEW:
                fixed = self._to_first_order(admitted(self.total, far) + 1, owners, staying, total)
                tars[f"tar_strict_at_far_{name}"] = tars[f"tar_at_far_{name}"] = fixed
                continue
            limit = admitted(total, far)
            tars[f"tar_strict_at_far_{name}"] = tars[f"tar_at_far_{name}"] = above(limit)
            index = limit + int(np.searchsorted(before, limit, side="right"))
            if index < len(self.impostors):
                score = self.impostors[index]
                start, end = (int(np.searchsorted(self.impostors, score, side)) for side in ("left", "right"))
                if end == len(self.impostors) and end < self.total:
                    tars[f"tar_at_far_{name}"] = np.inf
                    continue
                below, beyond = staying(start), staying(end)
                if abs(beyond / total - far) <= abs(below / total - far):
                    tars[f"tar_at_far_{name}"] = above(beyond)
        return tars

    def _to_first_order(self, count: int, owners: Integers, staying: Callable[[int], int], total: int) -> float:
        """TAR at the ``count``-th impostor of all, plus the change of its FAR times the slope there.

        Args:
            count: Place from 1 of the first impostor that is one too many.
            owners: Places among the genuine pairs of those that go.
            staying: Function from a place among the impostors to the number of those before it that stay.
            total: Number of impostor pairs that stay.
        """
        score = self.impostors[count - 1]
        up_to = int(np.searchsorted(self.impostors, score, "right"))
        ends = np.asarray(slope_window(self.impostors, up_to), self.impostors.dtype)
        between = int(np.diff(np.searchsorted(self.impostors, ends, "right"))[0])
        crossed = int(np.diff(np.searchsorted(self.genuine, ends, "right"))[0])
        slope = crossed / len(self.genuine) / between if between else 0.0
        hits = int(np.searchsorted(self.genuine, score))
        fixed = (hits - int(np.searchsorted(owners, hits))) / (len(self.genuine) - len(owners))
        return min(1.0, max(0.0, fixed - slope * (self.total * staying(up_to) / total - up_to)))


def _best_impostors(scores: Scores, same: Booleans, kept: int) -> Integers:
    """Places of the impostor pairs with the ``kept`` largest scores, by falling score."""
    others = scores[~same]
    lowest = np.partition(others, len(others) - kept)[len(others) - kept]
    best = np.flatnonzero(~same & (scores >= lowest))
    return best[np.argsort(-scores[best])][:kept]


def _by_group(groups: Groups, count: int) -> list[Integers]:
    """Places of the entries of each group from 0 to ``count`` - 1, ascending: eight bits are sorted in linear time."""
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups, minlength=count + 1))
    return np.split(order, ends)[:count]
