"""From the values of several seeds to what is printed: mean, spread, paired difference, rounding."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean of a metric over seeds.

    Attributes:
        mean: fraction in [0, 1].
        sd: sample standard deviation (n − 1) over the seeds; None for one seed.
        n: number of seeds.
    """

    mean: Decimal
    sd: Decimal | None
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean difference of two methods over the seeds that both have.

    Attributes:
        mean: difference of fractions, in [-1, 1].
        low: lower end of the 95 % confidence interval; None for one seed.
        high: upper end; None for one seed.
        n: number of seeds.
        p_value: P value of no difference, two-sided, by the paired t test; None where there is no interval.
    """

    mean: Decimal
    low: Decimal | None
    high: Decimal | None
    n: int
    p_value: float | None = None


def estimate(values: Mapping[int, float]) -> Estimate | None:
    """Mean and sample standard deviation of ``values`` (seed to fraction); None if there are none."""
    numbers = [_exact(value) for value in values.values()]
    if not numbers:
        return None
    return Estimate(statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))


def mean_interval(values: Mapping[int, float]) -> Difference | None:
    """Mean of ``values`` (seed to any number) with Student's t interval of 95 % (n − 1 degrees of freedom).

    Returns:
        None if there are no values; no interval and no p-value for one, a p-value of 0 or 1 where none differs.
    """
    found = estimate(values)
    if found is None or found.sd is None:
        return None if found is None else Difference(found.mean, None, None, found.n)
    error = found.sd / Decimal(found.n).sqrt()
    half = _quantile(found.n) * error
    return Difference(found.mean, found.mean - half, found.mean + half, found.n, _p_value(found.mean, error, found.n))


def paired_difference(of: Mapping[int, float], minus: Mapping[int, float]) -> Difference | None:
    """Mean of ``of − minus`` over the seeds in both, with Student's t interval (n − 1 degrees of freedom).

    Runs of one seed share data order and initialisation, so pairing by seed removes what the two have in common.

    Returns:
        None if the two share no seed.
    """
    return mean_interval({seed: float(_exact(of[seed]) - _exact(minus[seed])) for seed in sorted({*of} & {*minus})})


def prediction_interval(values: Mapping[int, float]) -> tuple[Decimal, Decimal] | None:
    """Prediction interval (95 %) of one further seed, for normally distributed seeds.

    Mean ± t · sd · √(1 + 1/n), t of n − 1 degrees of freedom: wider than the interval of the mean, for a further seed
    varies as the others do and the mean is known from n seeds only.

    Returns:
        None for fewer than two seeds.
    """
    found = estimate(values)
    if found is None or found.sd is None:
        return None
    half = _quantile(found.n) * found.sd * (1 + Decimal(1) / found.n).sqrt()
    return found.mean - half, found.mean + half


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted by Holm's step-down method: at most 5 % of tables have a false finding.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _quantile(n: int) -> Decimal:
    return _exact(float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)))


def _p_value(mean: Decimal, error: Decimal, n: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(float(mean / error))))


def percent(fraction: Decimal, decimals: int, *, signed: bool = False) -> str:
    """A fraction as the digits of a percentage, rounded half up (``'%.2f'`` rounds the binary number: 2.675 to 2.67).

    Args:
        fraction: the value.
        decimals: digits after the point.
        signed: True if a positive value gets a plus sign. Zero never has a sign.
    """
    return rounded(fraction * 100, decimals, signed=signed)


def rounded(value: Decimal, decimals: int, *, signed: bool = False) -> str:
    """``value`` with ``decimals`` digits after the point; see :func:`percent`."""
    number = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    if number == 0:
        return str(abs(number))
    return f"{number:+f}" if signed else f"{number:f}"


def _exact(value: float) -> Decimal:
    """The decimal number that was written in the record, not its nearest binary neighbour."""
    return Decimal(repr(value))
