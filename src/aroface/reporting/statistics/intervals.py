"""Intervals over seeds: on this benchmark, on faces like these, and of one further run.

*On this benchmark* asks what further seeds would give on the same images: Student's t over seeds. *On faces like
these* asks what they would give on other people of the same kind: seeds are readers and people are cases of Obuchowski
and Rockette's analysis, both random. With values x of n seeds, standard deviation s, and c the mean covariance of two
seeds' values over draws of people (jackknife), the variance of the mean is s²/n + max(c, 0), with Hillis's degrees of
freedom (s²/n + max(c, 0))² / ((s²/n)² / (n − 1)). For a difference of two methods, x and c are those of the differences
seed by seed, which is the analysis of two treatments. It is never narrower than the interval on this benchmark.

Source: Obuchowski and Rockette, Commun. Stat. Simul. Comput. 24, 1995; Hillis, "A comparison of denominator degrees of
freedom methods for multiple observer ROC analysis", Stat. Med. 26, 2007.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Literal

from scipy.special import stdtr, stdtrit

from aroface.evaluation.statistics.jackknife import covariance
from aroface.reporting.rounding import exact
from aroface.reporting.statistics.samples import Sample

CONFIDENCE = 0.95
EQUAL = 1e-12
"""Standard deviation below which seeds are equal: shares of counts differ by rounding of binary numbers."""
Scope = Literal["this benchmark", "faces like these", "one further run"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean of a metric over seeds.

    Attributes:
        mean: Fraction in [0, 1].
        sd: Sample standard deviation (n − 1) over the seeds; None for one seed.
        n: Number of seeds.
    """

    mean: Decimal
    sd: Decimal | None
    n: int


@dataclass(frozen=True, slots=True)
class SeedInterval:
    """Mean over seeds with its uncertainty.

    Attributes:
        mean: Fraction, or difference of fractions.
        error: Standard error; None for one seed, and where all seeds are equal and nothing is known of the resolution.
        degrees: Degrees of freedom of Student's t.
        n: Number of seeds.
        scope: Population that it speaks of.
        spread: Variance of one seed's value; its share of ``error²`` falls with the number of seeds.
        shared: Variance over draws of people, which no number of seeds removes.
        one_run: True for the difference from one further run, whose own variance no number of seeds removes either.
        tested: False if equal values allow no p-value.
    """

    mean: Decimal
    error: Decimal | None
    degrees: float
    n: int
    scope: Scope
    spread: float = 0.0
    shared: float = 0.0
    one_run: bool = False
    tested: bool = True

    @property
    def half(self) -> Decimal | None:
        """Half the width of the 95 % interval; None where there is none."""
        return None if self.error is None else exact(float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2))) * self.error

    @property
    def low(self) -> Decimal | None:
        """Lower end of the 95 % interval; None where there is none."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> Decimal | None:
        """Upper end of the 95 % interval; None where there is none."""
        return None if self.half is None else self.mean + self.half

    @property
    def p_value(self) -> float | None:
        """P value of no difference, two-sided; None where there is none."""
        if self.error is None or not self.tested:
            return None
        return 2 * self.tail(Decimal(0), "below" if self.mean < 0 else "above")

    def tail(self, bound: Decimal, side: Literal["below", "above"]) -> float:
        """P value of the truth not lying on this side of ``bound``, one-sided; 1 where there is no interval.

        The larger of both analyses', for in the far tail that Holm's correction looks at, Hillis's degrees of freedom
        would reject up to seven times too often at three seeds.
        """
        if self.error is None:
            return 1.0
        distance = float(self.mean - bound) * (1 if side == "below" else -1)
        analyses = _analyses(self.spread, self.shared, self.n, self.one_run)
        return max(float(stdtr(degrees, distance / error)) for error, degrees in analyses if error)


def estimate(values: Mapping[int, float]) -> Estimate | None:
    """Mean and sample standard deviation of ``values`` (seed to fraction); None if there are none."""
    numbers = [exact(value) for value in values.values()]
    if not numbers:
        return None
    return Estimate(statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))


def on_this_benchmark(sample: Sample) -> SeedInterval | None:
    """Mean over seeds with Student's t interval (n − 1 degrees of freedom): further seeds on the same images.

    Against a single reported run it is the interval of the difference of our mean and one run, whose deviation is taken
    to be that of ours: t · s · √(1 + 1/n).

    Returns:
        None if there are no seeds.
    """
    return _interval(sample, 0.0, "this benchmark")


def on_faces_like_these(sample: Sample) -> SeedInterval | None:
    """Mean over seeds with the interval of seeds and people both random (Obuchowski and Rockette).

    Returns:
        None where the values without each group of people are not known of all seeds (``sample.lacking`` says why),
        or there are fewer than two seeds.
    """
    if len(sample.values) < 2 or not sample.left_out:
        return None
    return _interval(sample, people_variance(sample), "faces like these")


def best_interval(sample: Sample) -> SeedInterval | None:
    """The interval on faces like these where it is known, else that on this benchmark."""
    return on_faces_like_these(sample) or on_this_benchmark(sample)


def one_further_run(sample: Sample) -> SeedInterval | None:
    """Prediction interval (95 %) of one further seed: t · s · √(1 + 1/n), wider than that of the mean.

    Returns:
        None for fewer than two seeds.
    """
    if len(sample.values) < 2:
        return None
    found = Sample(sample.values, floor=sample.floor, one_run=True)
    return _interval(found, 0.0, "one further run")


def people_variance(sample: Sample) -> float:
    """Variance over draws of people that the mean over seeds keeps, however many seeds there are; at least 0.

    The mean covariance of two seeds' values, summed over independent sets of people.
    """
    pairs = list(combinations(sample.seeds, 2))
    total = sum(
        covariance(by_seed[one], by_seed[other]) / len(pairs)
        for by_seed in sample.left_out.values()
        for one, other in pairs
    )
    return max(total, 0.0)


def _interval(sample: Sample, shared: float, scope: Scope) -> SeedInterval | None:
    found = estimate(sample.values)
    if found is None:
        return None
    if found.sd is None:
        return SeedInterval(found.mean, None, math.nan, found.n, scope)
    sd = float(found.sd) if found.sd > EQUAL else 0.0
    spread = max(sd, sample.floor) ** 2
    error, degrees = standard_error(spread, shared, found.n, one_run=sample.one_run)
    return SeedInterval(
        found.mean,
        exact(error) if error else None,
        degrees,
        found.n,
        scope,
        spread,
        shared,
        sample.one_run,
        tested=sd > 0 or shared > 0,
    )


def standard_error(spread: float, shared: float, n: int, *, one_run: bool = False) -> tuple[float, float]:
    """Standard error of a mean over n seeds and its degrees of freedom: the wider of both intervals.

    Hillis's degrees of freedom are estimated from the seeds' own scatter: where two or three seeds happen to lie close
    together, they are too many, and an interval of 95 % holds 87 to 93. Never narrower than the interval over seeds
    alone, it holds 94 to 97 at any number of seeds.

    Args:
        spread: Variance of a seed's value.
        shared: Variance over draws of people that no number of seeds removes.
        n: Number of seeds.
        one_run: True for the difference from one further run.
    """
    analyses = _analyses(spread, shared, n, one_run)
    return max(analyses, key=lambda each: each[0] * float(stdtrit(each[1], (1 + CONFIDENCE) / 2)))


def _analyses(spread: float, shared: float, n: int, one_run: bool) -> list[tuple[float, float]]:
    """Standard error and degrees of freedom over seeds alone, and of Obuchowski and Rockette's analysis."""
    random = spread * (1 / n + one_run)
    return [(math.sqrt(random), n - 1.0), obuchowski_rockette(random, shared, n)]


def obuchowski_rockette(random: float, shared: float, n: int) -> tuple[float, float]:
    """Standard error of Obuchowski and Rockette's analysis, with Hillis's degrees of freedom ``ddf_H``.

    Args:
        random: Variance of the mean over seeds alone.
        shared: Variance over draws of people.
        n: Number of seeds.
    """
    total = random + shared
    return math.sqrt(total), math.inf if random == 0 else (n - 1) * (total / random) ** 2
