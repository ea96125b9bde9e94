"""Jackknife over people, a group of them left out at a time: what another draw of people would change.

A metric is computed anew without each group. How far these values scatter gives the standard error of the metric, and
for two networks measured on the same people the covariance of their metrics, so that difficult people cancel in a
difference. Nothing is drawn at random but the groups, which depend on the benchmark alone: values of one benchmark
are comparable group by group, whichever network, seed or machine they come from.

A left-out person is missing as a probe and in the gallery, in genuine pairs and among impostors. A bootstrap would
draw a person twice, who would then be a twin of their own in the gallery.

Source: Efron and Stein, "The jackknife estimate of variance", Ann. Statist. 9, 1981; Shao and Tu, "The Jackknife and
Bootstrap", 1995, section 2.3 (leaving out groups, for thresholds that are order statistics).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GROUPS = 100
"""Most groups that people are divided into; fewer people are left out one by one."""


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
