"""Rows of a column that are not significantly worse than its best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal

from aroface.evaluation.statistics.multiplicity import holm
from aroface.reporting.statistics.intervals import CONFIDENCE, SeedInterval, best_interval
from aroface.reporting.statistics.samples import Sample, difference

SIGNIFICANT = 1 - CONFIDENCE
Judge = Callable[[Sample], SeedInterval | None]
"""Choice of the interval that a difference is judged by."""


def best_rows(
    samples: Sequence[Sample | None],
    better: Literal["higher", "lower"] = "higher",
    interval: Judge = best_interval,
) -> list[bool]:
    """Mark the rows of a column that are not significantly worse than its best, over common seeds.

    All pairs of rows are tested, not only those with the best, and corrected by Holm: the best is chosen by the data,
    so that tests against it alone would mark rows in 6 to 12 % of columns in which nothing differs.

    Args:
        samples: Values of each row; None or empty where there are none.
        better: Good end of the scale.
        interval: Interval of a difference of two rows, from their difference seed by seed.

    Returns:
        One mark for each row; none at all where no row is significantly worse than the best. A row that cannot be
        tested against the best, for want of common seeds or of a known resolution, has no mark.
    """
    rows = [index for index, sample in enumerate(samples) if sample is not None and sample.values]
    marks = [False] * len(samples)
    if len(rows) < 2:
        return marks
    sign = 1 if better == "higher" else -1
    means = {row: sign * _mean(samples[row]) for row in rows}
    best = max(rows, key=means.__getitem__)
    pairs = [(one, other) for number, one in enumerate(rows) for other in rows[number + 1 :]]
    tests = {pair: _p_value(samples[pair[0]], samples[pair[1]], interval) for pair in pairs}
    tested = {pair: p for pair, p in tests.items() if p is not None}
    adjusted = dict(zip(tested, holm([*tested.values()]), strict=True))
    beside = {row: adjusted.get((min(best, row), max(best, row))) for row in rows if row != best}
    if not any(p is not None and p < SIGNIFICANT for p in beside.values()):
        return marks
    for row in rows:
        p = beside.get(row)
        marks[row] = row == best or (p is not None and p >= SIGNIFICANT)
    return marks


def _mean(sample: Sample | None) -> float:
    assert sample is not None, "rows without values are left out"
    return sum(sample.values.values()) / len(sample.values)


def _p_value(of: Sample | None, minus: Sample | None, interval: Judge) -> float | None:
    """P value of no difference, two-sided; None where it is not known."""
    assert of is not None and minus is not None, "rows without values are left out"
    found = interval(difference(of, minus))
    if found is None or found.n < 2:
        return None
    if found.error is None:
        return 1.0 if found.mean == 0 else None
    return 2 * found.tail(Decimal(0), "below" if found.mean < 0 else "above")
