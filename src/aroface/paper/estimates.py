"""From the values of several seeds to what is printed: mean, spread, paired difference, rounding."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from scipy.special import stdtrit

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
    """

    mean: Decimal
    low: Decimal | None
    high: Decimal | None
    n: int


def estimate(values: Mapping[int, float]) -> Estimate | None:
    """Mean and sample standard deviation of ``values`` (seed to fraction); None if there are none."""
    numbers = [_exact(value) for value in values.values()]
    if not numbers:
        return None
    return Estimate(statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))


def paired_difference(of: Mapping[int, float], minus: Mapping[int, float]) -> Difference | None:
    """Mean of ``of − minus`` over the seeds in both, with Student's t interval (n − 1 degrees of freedom).

    Runs of one seed share data order and initialisation, so pairing by seed removes what the two have in common.

    Returns:
        None if the two share no seed.
    """
    gaps = estimate({seed: float(_exact(of[seed]) - _exact(minus[seed])) for seed in sorted({*of} & {*minus})})
    if gaps is None or gaps.sd is None:
        return None if gaps is None else Difference(gaps.mean, None, None, gaps.n)
    quantile = _exact(float(stdtrit(gaps.n - 1, (1 + CONFIDENCE) / 2)))
    half = quantile * gaps.sd / Decimal(gaps.n).sqrt()
    return Difference(gaps.mean, gaps.mean - half, gaps.mean + half, gaps.n)


def percent(fraction: Decimal, decimals: int, *, signed: bool = False) -> str:
    """A fraction as the digits of a percentage, rounded half up (``'%.2f'`` rounds the binary number: 2.675 to 2.67).

    Args:
        fraction: the value.
        decimals: digits after the point.
        signed: whether a positive value gets a plus sign. Zero never has a sign.
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
