"""Metrics of a run on the people of a benchmark: with all of them, and without each group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.evaluation.statistics.jackknife import LeaveOut, groups_of, interval

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PeopleMetrics:
    """Metrics that are measured on the same people.

    Attributes:
        values: Metrics by name.
        left_out: Metrics without each group of people.
        trials: Number of people that a metric is a rate of, by its name.
        resolution: Smallest step of a metric that is a share of so many items, by its name.
        hits: Hits (N,) by name of a metric that is a fraction of hits. Items that do not count for it, such as probes
            without a mate, are none.
        together: Change (G, G) by name of a metric, by what each two groups do together; see
            :func:`.jackknife.pair_variance`. Metrics that are not here have wider intervals.
    """

    values: Mapping[str, float]
    left_out: LeaveOut
    trials: Mapping[str, int]
    resolution: Mapping[str, float] = field(default_factory=dict)
    hits: Mapping[str, Booleans] = field(default_factory=dict)
    together: Mapping[str, Floats] = field(default_factory=dict)

    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each metric that has one."""
        ends = {
            name: interval(
                self.values[name],
                left,
                self.left_out.units,
                trials=self.trials.get(name),
                together=self.together.get(name),
            )
            for name, left in self.left_out.values.items()
        }
        return {name: each for name, each in ends.items() if np.isfinite(each).all()}


def mean_of_items(contributions: Mapping[str, NDArray[Any]], people: Integers) -> PeopleMetrics:
    """Metrics that are means over N items, each of which belongs to a person.

    Args:
        contributions: (N,) of each item, by name of the metric; booleans for a fraction of hits.
        people: (N,) person of each item, by any number.
    """
    _, numbers = np.unique(people, return_inverse=True)
    units = int(numbers.max()) + 1
    groups = groups_of(np.zeros(units))[numbers]
    count = int(groups.max()) + 1
    kept = len(groups) - np.bincount(groups, minlength=count)
    left_out = {}
    for name, items in contributions.items():
        sums = items.sum(dtype=np.float64) - np.bincount(groups, items, minlength=count)
        left_out[name] = np.divide(sums, kept, out=np.full(count, np.nan), where=kept > 0)
    hits = {name: items for name, items in contributions.items() if items.dtype == np.bool_}
    return PeopleMetrics(
        {name: float(items.mean()) for name, items in contributions.items()},
        LeaveOut("people", units, left_out),
        dict.fromkeys(contributions, units),
        dict.fromkeys(hits, 1 / len(numbers)),
        hits,
    )
