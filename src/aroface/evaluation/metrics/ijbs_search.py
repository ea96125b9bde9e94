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
    """Results of P probes in one gallery, and what they are without each of the groups that people are divided into.

    Attributes:
        groups: (P,) group of each probe.
        mated: (P,) flags of probes whose person is in the gallery.
        ranks: (P,) rank of the best mate, 1 the best; `NEVER` without a mate, or if the probe or all mates are zero.
        mate_scores: (P,) score of the best mate that is not zero, minus infinity without one.
        best_scores: (P,) the best score of all, minus infinity in an empty gallery.
        legacy_ranks: (P,) as the released script ranks: see :func:`search`.
        legacy_mate_scores: (P,) score of the best mate, zero or not, minus infinity without one.
        ahead: (P, G) number of templates of others, of each group, that stand before the best mate.
        legacy_ahead: (P, G) the same in the released script's order.
        best_groups: (P,) group of the best template of all.
        next_best_scores: (P,) the best score of templates of other groups.
    """

    groups: Integers
    mated: Booleans
    ranks: Integers
    mate_scores: Floats
    best_scores: Floats
    legacy_ranks: Integers
    legacy_mate_scores: Floats
    ahead: NDArray[np.int32]
    legacy_ahead: NDArray[np.int32]
    best_groups: Integers
    next_best_scores: Floats

    @property
    def legacy(self) -> GallerySearch:
        """The same search with the released script's ranks for its own."""
        return replace(self, ranks=self.legacy_ranks, mate_scores=self.legacy_mate_scores, ahead=self.legacy_ahead)

    def without(self, group: int) -> GallerySearch:
        """The same search if a group of people were neither among the probes nor in the gallery.

        Nothing else can be left out of what it returns: it has no groups.
        """
        kept = self.groups != group
        none = np.zeros((int(np.count_nonzero(kept)), 0), np.int32)
        return GallerySearch(
            self.groups[kept],
            self.mated[kept],
            _earlier(self.ranks, self.ahead[:, group])[kept],
            self.mate_scores[kept],
            np.where(self.best_groups == group, self.next_best_scores, self.best_scores)[kept],
            _earlier(self.legacy_ranks, self.legacy_ahead[:, group])[kept],
            self.legacy_mate_scores[kept],
            *(none, none),
            self.best_groups[kept],
            self.next_best_scores[kept],
        )


def _earlier(ranks: Integers, ahead: NDArray[np.int32]) -> Integers:
    return np.where(ranks == NEVER, NEVER, ranks - ahead)


@dataclass(frozen=True, slots=True)
class GroupedPeople:
    """People of templates (n,), and the groups that they are divided into.

    Attributes:
        subjects: (n,) people.
        groups: (n,) group of each.
    """

    subjects: Integers
    groups: Integers


def search(
    probes: Floats,
    people: GroupedPeople,
    gallery: Floats,
    enrolled: GroupedPeople,
    groups: int,
    *,
    probe_block: int = PROBE_BLOCK,
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
        people: People of the probes.
        gallery: (G, D) unit vectors, or zero.
        enrolled: People of the gallery; one may have several templates.
        groups: Number of groups.
        probe_block: Number of probes scored at once; memory grows with ``probe_block * G``.
    """
    members = (enrolled.groups[:, None] == np.arange(groups)).astype(np.float64)
    parts = [
        _search(probes[rows], people.subjects[rows], gallery, enrolled, members)
        for rows in (slice(start, start + probe_block) for start in range(0, len(probes), probe_block))
    ]
    return GallerySearch(people.groups, *(np.concatenate(each) for each in zip(*parts, strict=True)))


def _search(
    probes: Floats, subjects: Integers, gallery: Floats, enrolled: GroupedPeople, members: Floats
) -> tuple[NDArray[Any], ...]:
    """The attributes of `Search` for some of the probes."""
    scores = np.round(probes @ gallery.T, _DECIMALS)
    mates = subjects[:, None] == enrolled.subjects[None, :]
    mate_scores = np.where(mates & gallery.any(axis=1), scores, -np.inf).max(axis=1, initial=-np.inf)
    ahead = ~mates & (scores >= mate_scores[:, None])
    ranked = probes.any(axis=1) & (mate_scores > -np.inf)
    ranks = np.where(ranked, 1 + np.count_nonzero(ahead, axis=1), NEVER)
    legacy_ahead, legacy_ranks, legacy_scores = _legacy(scores, mates)
    best_groups = enrolled.groups[scores.argmax(axis=1)] if len(gallery) else np.full(len(probes), -1)
    rest = np.where(enrolled.groups == best_groups[:, None], -np.inf, scores).max(axis=1, initial=-np.inf)
    return (
        *(mates.any(axis=1), ranks, mate_scores, scores.max(axis=1, initial=-np.inf), legacy_ranks, legacy_scores),
        *(_by_group(ahead, members), _by_group(legacy_ahead, members), best_groups, rest),
    )


def _by_group(flags: Booleans, members: Floats) -> NDArray[np.int32]:
    """Number of flags (n, G) in each group of columns."""
    return np.rint(flags @ members).astype(np.int32)


def _legacy(scores: Floats, mates: Booleans) -> tuple[Booleans, Integers, Floats]:
    """Templates before the best mate where the last of equal scores is the best, its rank and its score."""
    best = np.where(mates, scores, -np.inf).max(axis=1, initial=-np.inf)
    numbers = np.arange(scores.shape[1])
    last = np.where(mates & (scores == best[:, None]), numbers, -1).max(axis=1, initial=-1)
    ties = (scores == best[:, None]) & (numbers > last[:, None])
    ahead = ~mates & ((scores > best[:, None]) | ties)
    return ahead, np.where(last >= 0, 1 + np.count_nonzero(ahead, axis=1), NEVER), best


def tpir_at_fpir(found: GallerySearch, fpir: float) -> float:
    """Rate of probes with a mate that are identified: found at rank 1 with a score that reaches the threshold.

    The threshold is the ``int(n · fpir)``-th highest of the best scores of the n probes without a mate, of which as
    many (more where they tie) raise a false alarm. Where that is the 0th it lies just above the highest.

    Args:
        found: Results of P probes.
        fpir: Rate of false alarms, in (0, 1].

    Returns:
        The rate; not a number where no probe has a mate or none has none.
    """
    alarms = np.sort(found.best_scores[~found.mated])[::-1]
    if not len(alarms) or not found.mated.any():
        return np.nan
    allowed = int(len(alarms) * fpir)
    threshold = alarms[allowed - 1] if allowed else np.nextafter(alarms[0], np.inf)
    hits = (found.ranks[found.mated] == 1) & (found.mate_scores[found.mated] >= threshold)
    return float(np.mean(hits))
