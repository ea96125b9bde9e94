"""Jackknife over people, a group of them left out at a time: what another draw of people would change.

A metric is computed anew without each group. How far these values scatter gives the standard error of the metric, and
for two networks measured on the same people the covariance of their metrics, so that difficult people cancel in a
difference. Nothing is drawn at random but the groups, which depend on the benchmark alone: values of one benchmark
are comparable group by group, whichever network, seed or machine they come from.

A left-out person is missing as a probe and in the gallery, in genuine pairs and among impostors. A bootstrap would
draw a person twice, who would then be a twin of their own in the gallery.

What a pair of people alone brings about, as one who is taken for another by chance, is gone without either of the two:
it counts twice in the jackknife, which is an upper bound (Efron and Stein). A metric whose pairs are known has it taken
off once; see :func:`pair_variance`.

Source: Efron and Stein, "The jackknife estimate of variance", Ann. Statist. 9, 1981; Shao and Tu, "The Jackknife and
Bootstrap", 1995, section 2.3 (leaving out groups, for thresholds that are order statistics).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtr, stdtrit

from aroface.evaluation.statistics.bootstrap import LEVEL
from aroface.evaluation.statistics.exact import clopper_pearson

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GROUPS = 100
"""Most groups that people are divided into; fewer people are left out one by one."""
_ROUNDING = 1e-12
_LEAST_PAIRED = 10  # groups, of which pairs tell their variance


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Metrics of a benchmark without each group of units.

    Attributes:
        unit: Sampling unit.
        units: Number of units on the benchmark.
        values: (G,) values of each metric, group by group.
    """

    unit: Literal["people", "pairs"]
    units: int
    values: Mapping[str, Floats]

    def finite(self) -> LeaveOut:
        """The metrics that are defined without any one of at least two groups."""
        values = {name: each for name, each in self.values.items() if len(each) > 1 and np.isfinite(each).all()}
        return replace(self, values=values)


def groups_of(strata: NDArray[Any]) -> Integers:
    """Group of each of N units, (N,), from 0; units of one stratum are spread over all groups.

    Args:
        strata: (N,) label of each unit, such as the galleries that a person is enrolled in.
    """
    order = np.lexsort((np.random.default_rng(len(strata)).permutation(len(strata)), strata))
    groups = np.empty(len(strata), np.int64)
    groups[order] = np.arange(len(strata)) % min(GROUPS, max(len(strata), 1))
    return groups


def covariance(first: Floats, second: Floats) -> float:
    """Covariance of two metrics over draws of people, from their values (G,) without each of the same groups."""
    count = len(first)
    return float((count - 1) / count * np.sum((first - first.mean()) * (second - second.mean())))


def standard_error(left_out: Floats) -> float:
    """Standard error of a metric over draws of people, from its values (G,) without each group."""
    return float(np.sqrt(covariance(left_out, left_out)))


def pair_variance(together: Floats) -> float:
    """Variance of a metric by what pairs of groups bring about alone: the interaction of a two-way layout.

    From the change by each pair of groups their own mean effects are taken, which are differences between people. The
    rest varies from pair to pair.

    Args:
        together: (G, G) change of the metric by what each two groups do together, symmetric; its diagonal is of no
            account.
    """
    count = len(together)
    if count < _LEAST_PAIRED:
        return 0.0
    between = ~np.eye(count, dtype=np.bool_)
    changes = np.where(between, together, 0.0)
    mean = changes.sum() / (count * (count - 1))
    effects = (changes.sum(axis=1) - (count - 1) * mean) / (count - 2)
    rest = (changes - mean - effects[:, None] - effects)[between]
    return float(np.sum(rest**2)) / 2 * (count - 1) / (count - 3)  # by its degrees of freedom, G (G - 3) / 2


def interval(
    value: float, left_out: Floats, units: int, *, trials: int | None = None, together: Floats | None = None
) -> tuple[float, float]:
    """The 95 % interval of a rate: Student's on the scale of the logit.

    The degrees of freedom are Satterthwaite's, from how unevenly the groups contribute: where a few people make all
    the difference, as near 0 and 1, the standard error is known no better than from so few. Where no group moves the
    rate, as at 0 and 1, the interval is the exact one of so many people of whom each is a hit or a miss (Clopper and
    Pearson, Biometrika 26, 1934).

    Args:
        value: Rate in [0, 1].
        left_out: (G,) values without each group.
        units: Number of people on the benchmark.
        trials: Number of people that the rate is of; by default all.
        together: (G, G) change of the rate by what each two groups do together, symmetric; see :func:`pair_variance`.

    Returns:
        Low and high; not a number with fewer than two groups, or where the rate is not defined without one.
    """
    if not _usable(value, left_out):
        return np.nan, np.nan
    error, spread = standard_error(left_out), value * (1 - value)
    if error <= _ROUNDING or spread <= 0:
        trials = units if trials is None else trials
        return clopper_pearson(value * trials, trials)
    error, share = _once(error, together)
    reach = _quantile(max(1.0, _degrees_of_freedom(left_out) * share**2)) * error / spread
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of a metric of two runs on the same people.

    Attributes:
        value: Second minus first.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Two-sided p-value of no difference.
    """

    value: float
    low: float
    high: float
    p_value: float


def difference(
    first: float,
    second: float,
    left_first: Floats,
    left_second: Floats,
    *,
    trials: int | None = None,
    together: Floats | None = None,
) -> Difference:
    """Difference of two rates on the same people, by Student's t test of the jackknife.

    No p-value is below that of G groups which all point the same way, ``2 ** (1 - G)``.

    Args:
        first: Rate of the first run.
        second: Rate of the second run.
        left_first: (G,) values of the first run without each group.
        left_second: (G,) values of the second run without the same groups.
        trials: Number of people that the rate is of. Two rates that do not differ, whoever is left out, have the
            interval of so many people among whom nobody was seen to make a difference.
        together: (G, G) change of the difference by what each two groups do together; see :func:`pair_variance`.

    Returns:
        The difference; its interval and p-value are not a number where `interval` has none.
    """
    value = second - first
    if not _usable(first, left_first) or not _usable(second, left_second):
        return Difference(value, np.nan, np.nan, np.nan)
    error = standard_error(left_second - left_first)
    if error <= _ROUNDING and abs(value) <= _ROUNDING:
        reach = 0.0 if trials is None else clopper_pearson(0, trials)[1]
        return Difference(0.0, -reach, reach, 1.0)
    error, share = _once(error, together)
    degrees = max(1.0, (len(left_first) - 1) * share**2)
    reach = _quantile(degrees) * error
    chance = 2 * float(stdtr(degrees, -abs(value) / max(error, _ROUNDING)))
    return Difference(value, value - reach, value + reach, max(chance, 2.0 ** (1 - len(left_first))))


def _once(error: float, together: Floats | None) -> tuple[float, float]:
    """The standard error with what pairs bring about counted once, and the share of the variance that is left.

    At least half is left, as where nothing but pairs counts. The variance of the variance stays as it was, so that the
    degrees of freedom fall by the square of the share.
    """
    if together is None or error <= _ROUNDING:
        return error, 1.0
    share = max(0.5, 1 - pair_variance(together) / error**2)
    return error * math.sqrt(share), share


def _usable(value: float, left_out: Floats) -> bool:
    return len(left_out) > 1 and bool(np.isfinite(value)) and bool(np.isfinite(left_out).all())


def _degrees_of_freedom(left_out: Floats) -> float:
    """Degrees of freedom of the variance that values (G,) without each group tell, between 1 and G - 1.

    Twice the squared variance by the variance of the variance, which is told by the fourth powers. For contributions
    from a normal distribution this is G.
    """
    squares = (left_out - left_out.mean()) ** 2
    total, count = float(squares.sum()), len(left_out)
    uneven = float((squares**2).sum()) - total**2 / count
    return count - 1 if 2 * total**2 >= (count - 1) * uneven else max(1.0, 2 * total**2 / uneven)


def _quantile(degrees: float) -> float:
    return float(stdtrit(degrees, (1 + LEVEL) / 2))
