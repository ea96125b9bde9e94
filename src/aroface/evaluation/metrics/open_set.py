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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.metrics.operating_points import admitted
from aroface.progress import track

Features = NDArray[np.float32]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

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
        others_by_group: Details of a search that knows the groups of people.
    """

    ranks: Integers
    mates: Features
    others: Features
    impostors: Features
    owners: Integers
    whole: bool
    others_by_group: OthersByGroup | None = None

    @property
    def mated(self) -> Booleans:
        """(P, 2) whether a probe has a mate in each gallery."""
        return np.isfinite(self.mates)


@dataclass(frozen=True, slots=True, eq=False)
class OthersByGroup:
    """Others in the galleries, as far as they matter when a group of people is left out.

    Attributes:
        groups: (P,) group of each probe.
        ahead: (P, G) number of templates of others, of each group, that score at least as high as the best mate.
        best: (P, 2) group of the best of the others in each gallery.
        next_best: (P, 2) best score of others who are not of that group.
        impostors: (K,) group of the gallery's side of each kept impostor pair.
    """

    groups: Integers
    ahead: NDArray[np.int32]
    best: Integers
    next_best: Features
    impostors: Integers


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups that the people of a search are divided into.

    Attributes:
        probes: (P,) group of each probe.
        galleries: (G,) group of each template of both galleries, one after the other.
    """

    probes: Integers
    galleries: Integers


def search(
    probes: Features,
    subjects: Integers,
    galleries: Sequence[tuple[Features, Integers]],
    *,
    groups: Groups | None = None,
    block: int = PROBE_BLOCK,
    spare: int = _SPARE,
) -> Found:
    """Search every probe in two galleries, both (vectors, subjects), in blocks of probes.

    Args:
        probes: (P, D) vectors of length one.
        subjects: Subject of each, (P,).
        galleries: Two galleries, with vectors (G, D) of length one and subjects (G,).
        groups: Groups of people, for :mod:`aroface.evaluation.metrics.left_out_search`.
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
    by_group = None if groups is None else _ByGroup(groups, parts)
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
        ahead = scores >= mates[rows].max(axis=1, keepdims=True)
        ranks[rows] = 1 + np.count_nonzero(ahead, axis=1)
        best.add(scores, start)
        if by_group is not None:
            by_group.add(scores, ahead)
    order = np.argsort(-best.scores, kind="stable")
    results = Found(ranks, mates, others, best.scores[order], best.owners[order], best.seen == len(order))
    return results if by_group is None else replace(results, others_by_group=by_group.finish(best.columns[order]))


class _ByGroup:
    """Collector of `OthersByGroup`, block by block.

    Args:
        groups: Groups of people.
        parts: Columns of each gallery.
    """

    def __init__(self, groups: Groups, parts: Sequence[slice]) -> None:
        self._groups, self._parts = groups, parts
        count = 1 + max(groups.probes.max(initial=0), groups.galleries.max(initial=0))
        self._members = (groups.galleries[:, None] == np.arange(count)).astype(np.float32)
        self._ahead: list[NDArray[np.int32]] = []
        self._best: list[Integers] = []
        self._next_best: list[Features] = []

    def add(self, scores: Features, ahead: Booleans) -> None:
        """Take in scores (n, G) of others, and who of them are ahead of the best mate."""
        self._ahead.append(np.rint(ahead.astype(np.float32) @ self._members).astype(np.int32))
        best = np.full((len(scores), 2), -1)
        next_best = np.full((len(scores), 2), -np.inf, np.float32)
        for number, part in enumerate(self._parts):
            here, groups = scores[:, part], self._groups.galleries[part]
            if len(groups):
                best[:, number] = groups[here.argmax(axis=1)]
                rest = np.where(groups == best[:, number, None], np.float32(-np.inf), here)
                next_best[:, number] = rest.max(axis=1)
        self._best.append(best)
        self._next_best.append(next_best)

    def finish(self, columns: Integers) -> OthersByGroup:
        """All of it, with the gallery columns (K,) of the impostor pairs that are kept."""
        return OthersByGroup(
            self._groups.probes,
            np.concatenate(self._ahead),
            np.concatenate(self._best),
            np.concatenate(self._next_best),
            self._groups.galleries[columns],
        )


class _Best:
    """The best scores among all that were added, and whose they are; minus infinity does not count.

    Args:
        most: Number of pairs that are kept.
    """

    def __init__(self, most: int) -> None:
        self.scores = np.empty(0, np.float32)
        self.owners = np.empty(0, np.int64)
        self.columns = np.empty(0, np.int64)
        self.seen = 0
        self._most = most
        self._lowest: Any = -np.inf

    def add(self, scores: Features, first: int) -> None:
        """Take in scores (n, G) of the probes from number ``first`` on."""
        self.seen += int(np.count_nonzero(scores > -np.inf))
        chosen = np.flatnonzero(scores > self._lowest)
        owners, columns = np.divmod(chosen, max(1, scores.shape[1]))
        values = np.concatenate([self.scores, scores.ravel()[chosen]])
        owners, columns = np.concatenate([self.owners, first + owners]), np.concatenate([self.columns, columns])
        if len(values) > self._most:
            kept = np.argpartition(values, len(values) - self._most)[-self._most :]
            values, owners, columns = values[kept], owners[kept], columns[kept]
            self._lowest = values.min()
        self.scores, self.owners, self.columns = values, owners, columns


def rates(found: Found) -> dict[str, float]:
    """All metrics of a search by the names they have in a record; not a number without any mated probe.

    ``tpir_standard_*`` is not among them where a gallery lacks probes with a mate, or such without.

    Args:
        found: Results of a search.
    """
    mated = found.mated
    closed = np.asarray(mated.any(axis=1))
    metrics = {f"rank{rank}": _share(closed & (found.ranks <= rank), closed) for rank in RANKS}
    for name, fpir in FPIRS.items():
        metrics[f"tpir_legacy_at_fpir_{name}"] = _legacy(found, closed, fpir)
    if mated.any(axis=0).all() and not mated.all(axis=0).any():
        for name, fpir in FPIRS.items():
            metrics[f"tpir_standard_at_fpir_{name}"] = standard_rate(found, fpir)
    return metrics


def standard_rate(found: Found, fpir: float) -> float:
    """The *standard* TPIR at a FPIR, where both galleries have probes with a mate and such without.

    Args:
        found: Results of the search.
        fpir: Rate of false alarms, in (0, 1].
    """
    return float(np.mean([_standard(found, gallery, fpir) for gallery in range(2)]))


def _legacy(found: Found, closed: Booleans, fpir: float) -> float:
    """TPIR at a FPIR as the released scripts have it; with fewer impostor pairs than wanted all probes are found.

    Of the millions of pairs the best are kept, eight times as many as wanted; what goes below them takes the lowest for
    its threshold.
    """
    if not closed.any():
        return np.nan
    wanted = math.ceil(len(found.ranks) * fpir)
    below = -np.inf if found.whole or not len(found.impostors) else found.impostors[-1]
    threshold = found.impostors[wanted - 1] if wanted <= len(found.impostors) else below
    return _share(closed & (found.mates.max(axis=1) > threshold), closed)


def _standard(found: Found, gallery: int, fpir: float) -> float:
    mates, others = found.mates[:, gallery], found.others[:, gallery]
    mated = np.isfinite(mates)
    alarms = np.sort(others[~mated])[::-1]
    # The first unknown probe that is one too many: the threshold lies right above its score.
    index = admitted(len(alarms), fpir)
    threshold = alarms[index] if index < len(alarms) else np.float32(-np.inf)
    return _share((mates > others) & (mates > threshold), mated)


def _share(hits: Booleans, among: Booleans) -> float:
    total = np.count_nonzero(among)
    return float(np.count_nonzero(hits & among) / total) if total else np.nan
