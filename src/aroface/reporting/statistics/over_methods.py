"""A gain over several methods: does it hold for methods like these, and is it the same for all of them?

The gain of method m at seed k is y_mk = mu + a_m + b_k + e_mk: methods and seeds are both random, and the methods share
their seeds (initialisation and order of the data). With the mean squares of this two-way layout without replication,

- the variance of the mean gain is (MS_methods + max(MS_seeds − MS_rest, 0)) / (M K), with Satterthwaite's degrees of
  freedom,
- the variance of a method's own gain is (MS_methods − MS_rest) / K, at least 0,
- I² is the share of the spread of the methods' mean gains that is more than chance, 1 − MS_rest / MS_methods.

Draws of people add the covariance that all gains share, as in :mod:`aroface.reporting.statistics.intervals`.

Source: Searle, Casella and McCulloch, "Variance Components", 1992; Higgins and Thompson, "Quantifying heterogeneity in
a meta-analysis", Stat. Med. 21, 2002 (I²).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri, stdtrit
from scipy.stats import trim_mean

from aroface.reporting.rounding import exact
from aroface.reporting.statistics.decisions import POWER, smallest_effect
from aroface.reporting.statistics.intervals import CONFIDENCE, EQUAL, Scope, SeedInterval, people_variance
from aroface.reporting.statistics.samples import Sample, mean_of

Floats = NDArray[np.float64]

PERMUTATIONS = 9999
DRAWS = 9999
_SEED = 2719
_CHUNK = 1000  # draws that are in memory at once


@dataclass(frozen=True, slots=True)
class MethodsGain:
    """Mean gain over methods with its 95 % interval, methods and seeds both random.

    Attributes:
        mean: Difference of fractions.
        error: Standard error.
        degrees: Degrees of freedom of Student's t.
        methods: Number of methods.
        seeds: Number of seeds that all methods share.
        scope: Population of faces that the interval speaks of.
        method_sd: Standard deviation of the methods' own gains, chance taken off; at least 0.
        inconsistency: I², 0 … 1.
        interaction: P value of all methods gaining the same, by permutation.
        visible_sd: Standard deviation of the methods' gains that this test would see in 80 % of cases.
    """

    mean: Decimal
    error: Decimal
    degrees: float
    methods: int
    seeds: int
    scope: Scope
    method_sd: float
    inconsistency: float
    interaction: float
    visible_sd: float

    @property
    def half(self) -> Decimal:
        """Half the width of the 95 % interval."""
        return exact(float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2))) * self.error

    @property
    def low(self) -> Decimal:
        """Lower end of the 95 % interval."""
        return self.mean - self.half

    @property
    def high(self) -> Decimal:
        """Upper end of the 95 % interval."""
        return self.mean + self.half

    @property
    def smallest(self) -> Decimal:
        """Distance from a bound at which such an interval decides in 80 % of cases."""
        found = smallest_effect(SeedInterval(self.mean, self.error, self.degrees, self.seeds, self.scope))
        assert found is not None, "there is an error"
        return found


def gain_over_methods(cells: Sequence[Sample], permutations: int = PERMUTATIONS) -> MethodsGain | None:
    """Mean gain over methods and seeds, and whether it differs between methods.

    Args:
        cells: Gain of each method by seed.
        permutations: Number of permutations of the test of equal gains.

    Returns:
        None with fewer than two methods, fewer than two seeds that all share, or gains that are all equal.
    """
    seeds = _common_seeds(cells)
    if len(cells) < 2 or len(seeds) < 2:
        return None
    gains = np.array([[cell.values[seed] for seed in seeds] for cell in cells])
    methods, of_seeds, rest = mean_squares(gains)
    floor = float(np.mean([cell.floor**2 for cell in cells]))  # variance that the metric's resolution hides
    rest = max(rest, floor)
    methods = max(methods, floor) or rest  # means that agree by chance
    if methods + max(of_seeds - rest, 0.0) <= EQUAL**2:
        return None
    pooled, shape = mean_of(cells), (len(cells), len(seeds))
    shared = people_variance(pooled) if pooled.left_out else 0.0
    error, degrees = _standard_error(methods, of_seeds, rest, shape, shared)
    return MethodsGain(
        exact(float(gains.mean())),
        exact(error),
        degrees,
        *shape,
        "faces like these" if pooled.left_out else "this benchmark",
        method_sd=math.sqrt(max(methods - rest, 0.0) / len(seeds)),
        inconsistency=max(0.0, 1 - rest / methods) if methods else 0.0,
        interaction=interaction_p(gains, permutations),
        visible_sd=_visible_sd(rest, shape),
    )


def mean_squares(gains: Floats) -> tuple[float, float, float]:
    """Mean squares of methods, of seeds, and of what is left, of gains (M, K)."""
    of_methods, of_seeds, whole = gains.mean(axis=1), gains.mean(axis=0), gains.mean()
    count, seeds = gains.shape
    rest = gains - of_methods[:, None] - of_seeds + whole
    return (
        float(seeds * np.square(of_methods - whole).sum() / (count - 1)),
        float(count * np.square(of_seeds - whole).sum() / (seeds - 1)),
        float(np.square(rest).sum() / ((count - 1) * (seeds - 1))),
    )


def interaction_p(gains: Floats, permutations: int = PERMUTATIONS) -> float:
    """P value of all methods gaining the same: their labels are permuted within each seed.

    Where no method differs, the gains at one seed are exchangeable, so that the share of permutations whose methods'
    means scatter as much is a p-value at any number of seeds; an F test would trust a spread estimated from few.

    Args:
        gains: Gain of method m at seed k, (M, K).
        permutations: Number of random permutations; the data themselves are one more.
    """
    rng = np.random.default_rng(_SEED)
    drawn = rng.permuted(np.broadcast_to(gains, (permutations, *gains.shape)), axis=1)
    scatter = np.var(drawn.mean(axis=2), axis=1)
    observed = np.var(gains.mean(axis=1))
    return float((1 + np.count_nonzero(scatter >= observed * (1 - EQUAL))) / (permutations + 1))


def interquartile_mean(cells: Mapping[str, Sequence[Sample]], draws: int = DRAWS) -> tuple[float, float, float] | None:
    """Interquartile mean of these methods' gains on several benchmarks, with a 95 % interval by stratified bootstrap.

    Seeds are drawn with replacement, the same ones for all methods and benchmarks, which share them. The interval is
    Student's t with the draws' standard deviation times √(K / (K − 1)), because draws of K seeds scatter less than
    seeds do.

    Args:
        cells: For each benchmark the gain of each method by seed, the methods in one order.
        draws: Number of draws.

    Returns:
        Mean and both ends, or None where benchmarks and methods share fewer than two seeds.

    Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
    """
    seeds = _common_seeds([cell for column in cells.values() for cell in column])
    if len(seeds) < 2:
        return None
    gains = np.array([[[cell.values[seed] for seed in seeds] for cell in column] for column in cells.values()])
    whole = float(trim_mean(gains, 0.25, axis=None))
    rng = np.random.default_rng(_SEED)
    count = len(seeds)
    found = np.empty(draws)
    for start in range(0, draws, _CHUNK):
        chosen = rng.integers(count, size=(min(_CHUNK, draws - start), count))
        drawn = np.moveaxis(gains[:, :, chosen], 2, 0).reshape(len(chosen), -1)
        found[start : start + _CHUNK] = trim_mean(drawn, 0.25, axis=1)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * found.std() * math.sqrt(count / (count - 1))
    return whole, whole - half, whole + half


def _common_seeds(cells: Sequence[Sample]) -> list[int]:
    return sorted(set.intersection(*({*cell.values} for cell in cells))) if cells else []


def _standard_error(
    methods: float, of_seeds: float, rest: float, shape: tuple[int, int], shared: float
) -> tuple[float, float]:
    """Standard error of the mean gain and its degrees of freedom.

    Seeds count where they scatter more than what is left; a negative variance would make the interval too narrow. With
    people random, the wider of the intervals with and without their share counts, as over seeds.
    """
    count, seeds = shape
    squares = methods**2 / (count - 1)
    if of_seeds > rest:
        squares += of_seeds**2 / (seeds - 1) + rest**2 / ((count - 1) * (seeds - 1))
    total = methods + max(of_seeds - rest, 0.0)
    random, degrees = total / (count * seeds), max(total**2 / squares, 1.0)
    people = random + shared
    analyses = [(math.sqrt(random), degrees), (math.sqrt(people), degrees * (people / random) ** 2)]
    return max(analyses, key=lambda each: each[0] * float(stdtrit(each[1], (1 + CONFIDENCE) / 2)))


def _visible_sd(rest: float, shape: tuple[int, int]) -> float:
    """Standard deviation of methods' gains that an F test of 5 % sees in 80 % of cases."""
    count, seeds = shape
    of = (count - 1, (count - 1) * (seeds - 1))
    ratio = float(fdtri(*of, CONFIDENCE) / fdtri(*of, 1 - POWER))
    return math.sqrt(rest * (ratio - 1) / seeds)
