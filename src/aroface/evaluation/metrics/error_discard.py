"""Error against discard: what a false non-match rate becomes when the poorest comparisons are left out.

A measure of quality is as good as the errors that it finds. Comparisons are discarded in the order of their quality,
that of the poorer image, and the false non-match rate (FNMR) of the others is told: at the threshold of all
comparisons (fixed), or at the threshold that the same FMR asks for among the impostors that stay (estimated again).

Source: Grother and Tabassi, "Performance of biometric quality measures", TPAMI 29, 2007; Schlett et al.,
"Considerations on the evaluation of biometric quality assessment algorithms", TBIOM 2023 (partial areas).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from aroface.evaluation.metrics.score_thresholds import threshold_at

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
ThresholdRule = Literal["fixed", "estimated again"]

RULES: tuple[ThresholdRule, ...] = ("fixed", "estimated again")
SHARES: Floats = np.arange(21) / 40
"""Shares of genuine comparisons that are discarded."""
AREA = 0.2
"""Share up to which areas are taken: more is hardly ever discarded in earnest."""

_TIES = 1601  # purpose of the random stream


@dataclass(frozen=True, slots=True, eq=False)
class DiscardCurve:
    """Error rates after discarding the poorest comparisons, at K shares.

    Attributes:
        rule: Threshold: ``fixed`` for that of all comparisons, or ``estimated again``.
        shares: (K,) shares of the genuine comparisons that are discarded, as they come out.
        impostor_shares: (K,) shares of the impostor comparisons of the same quality, discarded with them.
        genuine: (K,) numbers of genuine comparisons that stay.
        rejected: (K,) numbers of those that are rejected.
        accepted: (K,) numbers of impostor comparisons that stay and are accepted.
        fnmr: (K,) false non-match rates.
        fmr: (K,) false match rates of the impostor comparisons that stay.
    """

    rule: ThresholdRule
    shares: Floats
    impostor_shares: Floats
    genuine: Integers
    rejected: Integers
    accepted: Integers
    fnmr: Floats
    fmr: Floats

    def steady(self, few: int) -> Booleans:
        """Flags (K,) of the shares whose FNMR rests on ``few`` errors at least.

        False rejects count, and false accepts where these choose the threshold anew.
        """
        as_before = (np.arange(len(self.shares)) == 0) | (self.rule == "fixed")
        return np.asarray((self.rejected >= few) & ((self.accepted >= few) | as_before))

    @property
    def gain(self) -> float:
        """Share of the errors within reach that is avoided: 1 for the ideal order, 0 for a random one, less for worse.

        Areas under the FNMR up to a discarded share of :data:`AREA`: that of a random order, which keeps the FNMR,
        less this one, by the same of the ideal order, which discards the errors first. Not a number without errors.
        """
        within = self.shares <= AREA + 1e-9
        shares = self.shares[within]
        reach = np.trapezoid(self.fnmr[0] - ideal_fnmr(self.fnmr[0], shares), shares)
        return float(np.trapezoid(self.fnmr[0] - self.fnmr[within], shares) / reach) if reach > 0 else float("nan")


def ideal_fnmr(fnmr: float, shares: Floats) -> Floats:
    """FNMR (K,) after discarding shares (K,) of the genuine comparisons, those with errors first."""
    return np.asarray(np.maximum(fnmr - shares, 0) / (1 - shares))


def random_band(curve: DiscardCurve) -> tuple[Floats, Floats]:
    """FNMR (K,) within which 95 % of the random orders of the same comparisons stay at each share (hypergeometric)."""
    total, errors = int(curve.genuine[0]), int(curve.rejected[0])
    ends = [hypergeom.ppf(level, total, errors, curve.genuine) / curve.genuine for level in (0.025, 0.975)]
    return ends[0], ends[1]


def pair_quality(images: Floats) -> Floats:
    """Quality (N,) of pairs from that of their images (2N,), the poorer one's; none at all is the poorest."""
    return np.asarray(np.nan_to_num(images, nan=-np.inf).reshape(-1, 2).min(axis=1))


def discard_curve(
    scores: Floats, same: Booleans, quality: Floats, fmr: float, rule: ThresholdRule, shares: Floats = SHARES
) -> DiscardCurve:
    """Discard the poorest comparisons by steps.

    The steps are shares of the genuine comparisons; impostor comparisons below the quality of a step go with it. Equal
    qualities are discarded in a random order, which is the same for all measures of quality.

    Args:
        scores: (N,) scores, larger for more similar faces.
        same: (N,) labels, true for genuine comparisons; both kinds must occur.
        quality: (N,) qualities, larger for better.
        fmr: Wished FMR, in (0, 1).
        rule: Threshold.
        shares: (K,) shares, ascending from 0, below 1.
    """
    ties = np.random.default_rng(_TIES).permutation(len(scores))
    order = np.lexsort((ties, quality))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    of_genuine = np.sort(places[same])
    cuts = [int(of_genuine[min(int(share * len(of_genuine) + 1e-9), len(of_genuine) - 1)]) for share in shares]
    fixed = _threshold(scores, same, fmr)
    columns: dict[str, list[int]] = {name: [] for name in ("genuine", "rejected", "accepted", "impostors")}
    for number, cut in enumerate(cuts):
        stay = places >= cut if number else np.ones(len(scores), np.bool_)
        others = scores[stay & ~same]
        estimated = rule == "estimated again" and len(others)
        threshold = _threshold(scores[stay], same[stay], fmr) if estimated else fixed
        genuine = scores[stay & same]
        columns["genuine"].append(len(genuine))
        columns["rejected"].append(int(np.count_nonzero(genuine < threshold)))
        columns["impostors"].append(len(others))
        columns["accepted"].append(int(np.count_nonzero(others >= threshold)))
    kept, rejected, accepted, impostors = (np.array(column, np.int64) for column in columns.values())
    return DiscardCurve(
        rule,
        1 - kept / kept[0],
        1 - impostors / impostors[0],
        kept,
        rejected,
        accepted,
        rejected / kept,
        np.where(impostors > 0, accepted / np.maximum(impostors, 1), np.nan),
    )


def _threshold(scores: Floats, same: Booleans, fmr: float) -> float:
    return threshold_at(np.sort(scores[~same]), np.sort(scores[same]), fmr)
