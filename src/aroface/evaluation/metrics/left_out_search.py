"""Rates of a 1:N search when a group of people is left out, for every group, from one search.

Ranks exactly; a TPIR to first order, as in :mod:`aroface.evaluation.metrics.left_out_pairs`: at the threshold of all
people, plus the change of the FPIR there times the slope of the TPIR. Some five false alarms decide the threshold at a
FPIR of 1e-2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.metrics.left_out_pairs import log_slope
from aroface.evaluation.metrics.left_out_points import PointsLeftOut
from aroface.evaluation.metrics.open_set import FPIRS, RANKS, Found, OthersByGroup
from aroface.evaluation.metrics.operating_points import admitted

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def rates_left_out(found: Found) -> PointsLeftOut:
    """The rates of :func:`.open_set.rates` without each of G groups, as probes and in the gallery.

    Args:
        found: Results of a search that knows the groups of people.
    """
    if found.others_by_group is None:
        raise ValueError("searched without groups of people")
    search = _Search(found, found.others_by_group)
    rates = dict(search.rates())
    return PointsLeftOut(
        {name: values for name, (values, _) in rates.items()},
        {name: cells + cells.T for name, (_, cells) in rates.items()},
    )


@dataclass(frozen=True, slots=True)
class _Search:
    found: Found
    by: OthersByGroup

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.by.ahead.shape[1])

    def rates(self) -> Iterator[tuple[str, tuple[Floats, Floats]]]:
        """Rates (G,) by name, and their change (G, G) by a group of probes and one of the gallery together."""
        mated = self.found.mated
        for rank in RANKS:
            yield f"rank{rank}", self._rank(rank)
        for name, fpir in FPIRS.items():
            yield f"tpir_legacy_at_fpir_{name}", self._legacy(fpir)
        if mated.any(axis=0).all() and not mated.all(axis=0).any():
            for name, fpir in FPIRS.items():
                parts = [self._standard(gallery, fpir) for gallery in range(2)]
                yield f"tpir_standard_at_fpir_{name}", (_mean([one for one, _ in parts]), _mean([c for _, c in parts]))

    def _rank(self, rank: int) -> tuple[Floats, Floats]:
        closed = np.flatnonzero(self.found.mated.any(axis=1))
        owners, ranks = self.by.groups[closed], self.found.ranks[closed]
        hits = ranks[:, None] - self.by.ahead[closed] <= rank
        own = np.bincount(owners, hits[np.arange(len(closed)), owners], self.count)
        missed = np.flatnonzero(ranks > rank)
        cells = np.zeros((self.count, self.count))
        np.add.at(cells, owners[missed], hits[missed])
        return _share(hits.sum(axis=0) - own, len(closed) - self._number(owners)), cells / max(len(closed), 1)

    def _legacy(self, fpir: float) -> tuple[Floats, Floats]:
        found, by = self.found, self.by
        closed, best, probes = found.mated.any(axis=1), found.mates.max(axis=1), len(found.ranks)
        wanted = math.ceil(probes * fpir)
        bounded = wanted <= len(found.impostors)
        below = -np.inf if found.whole or not len(found.impostors) else found.impostors[-1]
        hits = closed & (best > (found.impostors[wanted - 1] if bounded else below))
        fixed = _share(hits.sum() - self._number(by.groups[hits]), closed.sum() - self._number(by.groups[closed]))
        cells = np.zeros((self.count, self.count))
        if not bounded:
            return fixed, cells
        impostors, genuine = -found.impostors, np.sort(-best[closed])
        up_to = int(np.searchsorted(impostors, impostors[wanted - 1], "right"))
        slope = log_slope(genuine, impostors, up_to) / up_to
        owners, others = by.groups[found.owners[:up_to]], by.impostors[:up_to]
        np.add.at(cells, (owners, others), slope)
        stay = up_to - self._number(owners) - self._number(others[others != owners])
        change = _share(probes * stay, probes - self._number(by.groups)) - up_to
        return np.clip(fixed - slope * change, 0, 1), cells

    def _standard(self, gallery: int, fpir: float) -> tuple[Floats, Floats]:
        groups, best = self.by.groups, self.by.best[:, gallery]
        mates, others, rest = (each[:, gallery] for each in (self.found.mates, self.found.others, self.by.next_best))
        mated, elsewhere = np.isfinite(mates), best != groups
        alarms = np.sort(-others[~mated])
        index = admitted(len(alarms), fpir)
        threshold = -alarms[index] if index < len(alarms) else np.float32(-np.inf)
        above = mates > threshold
        hits, gained = above & (mates > others), above & mated & (mates <= others) & (mates > rest) & elsewhere
        unknown, total = len(alarms) - self._number(groups[~mated]), int(mated.sum())
        found = hits.sum() - self._number(groups[hits]) + self._number(best[gained])
        fixed = _share(found, total - self._number(groups[mated]))
        cells = np.zeros((self.count, self.count))
        np.add.at(cells, (groups[gained], best[gained]), 1 / total)
        if index == len(alarms):
            return np.where(unknown > 0, fixed, np.nan), cells
        false = ~mated & (others >= threshold)
        silenced = false & (rest < threshold) & elsewhere
        first = mated & (mates > others)
        slope = log_slope(np.sort(-mates[first]), alarms, int(false.sum())) * first.sum() / total / false.sum()
        np.add.at(cells, (groups[silenced], best[silenced]), slope)
        stay = false.sum() - self._number(groups[false]) - self._number(best[silenced])
        return np.clip(fixed - slope * (_share(len(alarms) * stay, unknown) - false.sum()), 0, 1), cells

    def _number(self, groups: Integers) -> Integers:
        return np.bincount(groups, minlength=self.count)


def _share(hits: NDArray[Any], among: NDArray[Any]) -> Floats:
    """Shares, not a number of none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(among > 0, hits / among, np.nan))


def _mean(parts: list[Floats]) -> Floats:
    return np.asarray(np.mean(parts, axis=0))
