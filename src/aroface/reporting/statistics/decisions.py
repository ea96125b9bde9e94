"""Verdicts by one rule: confirmed or refuted by a whole interval on one side of a bound, else not enough data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Literal

import numpy as np
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

from aroface.evaluation.statistics.multiplicity import holm
from aroface.reporting.rounding import exact
from aroface.reporting.statistics.intervals import CONFIDENCE, SeedInterval, best_interval, standard_error
from aroface.reporting.statistics.samples import Sample, mean_of

Verdict = Literal["confirmed", "refuted", "not enough data"]
UNKNOWN: Verdict = "not enough data"
POWER = 0.8
_LARGE = 1000.0  # degrees of freedom at which a t distribution is the normal one
_PROBABILITIES = (np.arange(200) + 0.5) / 200
MOST_SEEDS = 100
"""Seeds beyond which nobody trains: what would take more is said to be out of reach."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Verdict on a claim over several cells.

    Attributes:
        verdict: Verdict on the claim.
        pooled: Mean of the cells; None where they share no seed, or one of them has no values.
        cells: Interval of each cell; None where it has no values.
        verdicts: Verdict of each cell: refuted after Holm's correction, confirmed by its own interval.
    """

    verdict: Verdict
    pooled: SeedInterval | None
    cells: tuple[SeedInterval | None, ...]
    verdicts: tuple[Verdict, ...]


def decide(low: Decimal | None, high: Decimal | None, bound: Decimal) -> Verdict:
    """Confirmed if the whole interval lies above ``bound``, refuted if below, else not enough data."""
    if low is None or high is None:
        return UNKNOWN
    if low > bound:
        return "confirmed"
    return "refuted" if high < bound else UNKNOWN


def judge_cells(cells: Sequence[Sample], bound: Decimal) -> Decision:
    """Judge whether the cells of a claim lie above ``bound``.

    Confirmed if the 95 % interval of their mean, seed by seed, lies above it: a false confirmation has at most 2.5 %.
    Refuted if that interval lies below it, or any cell does by a one-sided test of 2.5 % after Holm's correction over
    the cells: a false refutation has at most 5 %. Against a margin, this is one of the two one-sided tests of
    equivalence.

    Args:
        cells: Differences, or other values, of each cell by seed; without values where there is no result.
        bound: Bound, as a fraction.

    Source: Schuirmann 1987 (two one-sided tests); Holm 1979.
    """
    found = tuple(best_interval(cell) for cell in cells)
    adjusted = holm([1.0 if each is None else each.tail(bound, "below") for each in found])
    level = (1 - CONFIDENCE) / 2
    verdicts: list[Verdict] = []
    for each, p in zip(found, adjusted, strict=True):
        alone = UNKNOWN if each is None else decide(each.low, each.high, bound)
        verdicts.append("refuted" if p < level else UNKNOWN if alone == "refuted" else alone)
    pooled = best_interval(mean_of(cells)) if cells else None
    whole = UNKNOWN if pooled is None else decide(pooled.low, pooled.high, bound)
    return Decision("refuted" if "refuted" in verdicts else whole, pooled, found, tuple(verdicts))


def seeds_that_decide(found: SeedInterval, bound: Decimal, most: int = MOST_SEEDS) -> int | None:
    """Least number of seeds at which an interval of this mean and spread would leave ``bound`` out.

    Returns:
        None where ``most`` seeds would not do; :func:`out_of_reach` says why.
    """
    distance = abs(float(found.mean - bound))
    for seeds in range(2, most + 1):
        error, degrees = standard_error(found.spread, found.shared, seeds, one_run=found.one_run)
        if float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error < distance:
            return seeds
    return None


def out_of_reach(found: SeedInterval, bound: Decimal) -> Literal["people", "reported run", "seeds"]:
    """Reason why no number of seeds decides: the people, the reported run's own spread, or that too many are needed."""
    distance = abs(float(found.mean - bound))
    least = float(ndtri((1 + CONFIDENCE) / 2))
    if found.shared and least * math.sqrt(found.shared) >= distance:
        return "people"
    return "reported run" if found.one_run and least * math.sqrt(found.spread) >= distance else "seeds"


def smallest_effect(found: SeedInterval) -> Decimal | None:
    """Distance from a bound at which such an interval decides in 80 % of cases; None without an interval.

    Few seeds tell their own spread poorly, which the distance makes up for: the 80 % are those of all experiments that
    are told such a distance and made once more, whatever spread they happened to find.
    """
    return None if found.error is None else exact(_visible_errors(found.degrees)) * found.error


@cache
def _visible_errors(degrees: float) -> float:
    """Distance, in estimated standard errors, at which a further t test of the same size rejects in 80 % of cases.

    Args:
        degrees: Degrees of freedom of both standard errors.
    """
    from scipy.optimize import brentq  # a slow import that few commands need

    critical = float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
    if degrees > _LARGE:
        return critical + float(ndtri(POWER))
    estimates = np.sqrt(2 * gammaincinv(degrees / 2, _PROBABILITIES) / degrees)  # of the error, by the error itself
    told, found = estimates[:, None], estimates

    def missing(errors: float) -> float:
        return float(np.mean(ndtr(errors * told - critical * found))) - POWER

    return float(brentq(missing, 0, 100 * critical))
