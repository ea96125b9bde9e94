"""Outcome of evaluating one benchmark, under any protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aroface.evaluation.statistics.jackknife import LeaveOut


@dataclass(frozen=True, slots=True)
class Outcome:
    """The measured part of a record.

    Attributes:
        metrics: Values by name; rates are fractions in [0, 1].
        intervals: Intervals (low, high) by name of a metric, 95 % of its bootstrap; under ``{metric}_binomial`` the
            exact interval of as many independent trials.
        counts: Numbers of pairs, probes, gallery images, bootstrap replicates.
        jackknife: Metrics without each group of people, by sampling unit.
        series: Points of a sweep, empty for protocols without one.
        curves: Operating curves by name, see :mod:`aroface.evaluation.metrics.operating_curves`.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    counts: Mapping[str, int]
    jackknife: Sequence[LeaveOut] = ()
    series: Sequence[Mapping[str, Any]] = ()
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
