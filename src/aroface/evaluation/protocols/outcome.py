"""Outcome of evaluating one benchmark, under any protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aroface.evaluation.statistics.jackknife import LeaveOut
from aroface.evaluation.statistics.people_metrics import PeopleMetrics


@dataclass(frozen=True, slots=True)
class Outcome:
    """The measured part of a record.

    Attributes:
        metrics: Values by name; rates are fractions in [0, 1].
        intervals: Intervals (low, high) of 95 % by name of a metric; people are the sampling unit.
        counts: Numbers of people, pairs, probes, gallery images.
        jackknife: Metrics without each group of people, by sampling unit.
        resolution: Smallest step by name of a metric that is a share of so many items.
        series: Points of a sweep, empty for protocols without one.
        curves: Operating curves by name, see :mod:`aroface.evaluation.metrics.operating_curves`.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    counts: Mapping[str, int]
    jackknife: Sequence[LeaveOut] = ()
    resolution: Mapping[str, float] = field(default_factory=dict)
    series: Sequence[Mapping[str, Any]] = ()
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def outcome_of(
    measured: Sequence[PeopleMetrics],
    counts: Mapping[str, int],
    *,
    series: Sequence[Mapping[str, Any]] = (),
    curves: Mapping[str, Mapping[str, Any]] | None = None,
) -> Outcome:
    """The outcome of metrics that were measured with and without each group of people.

    Metrics that are not defined without some group have no part in what was left out.

    Args:
        measured: Metrics, each by another name.
        counts: Numbers of people, pairs, probes ...
        series: Points of a sweep.
        curves: Operating curves by name.
    """
    left_out = [each.left_out.finite() for each in measured]
    return Outcome(
        {name: value for each in measured for name, value in each.values.items()},
        {name: ends for each in measured for name, ends in each.intervals().items()},
        counts,
        [each for each in left_out if each.values],
        {name: step for each in measured for name, step in each.resolution.items()},
        series,
        curves or {},
    )
