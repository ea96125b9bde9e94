"""What evaluating one benchmark yields, whatever its protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """The measured part of a record.

    Attributes:
        metrics: name to value; rates are fractions in [0, 1].
        intervals: name of a metric to its 95 % bootstrap interval, (low, high); under ``{metric}_binomial`` the exact
            interval of as many independent trials.
        counts: what was measured on: pairs, probes, gallery images, bootstrap replicates.
        series: points of a sweep, empty for protocols without one.
        curves: operating curves by name, see :mod:`aroface.evaluation.metrics.operating_curves`.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    counts: Mapping[str, int]
    series: Sequence[Mapping[str, Any]] = ()
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
