"""Comparison of two runs on a benchmark: tests that pair their results on the same pairs of images or probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.protocols.registry import protocol_of
from aroface.evaluation.statistics import bootstrap
from aroface.evaluation.statistics.bootstrap import Floats
from aroface.evaluation.statistics.exact import mcnemar
from aroface.evaluation.statistics.weighted_metrics import Booleans, WeightedMetrics

_FREE_OPTIONS = ("color", "metric")
_DECIMALS = 12  # of a difference; the rest is rounding


@dataclass(frozen=True, slots=True)
class Discordance:
    """Items that one run hit and the other missed.

    Attributes:
        only_first: Number of items hit by the first run alone.
        only_second: Number of items hit by the second run alone.
        p_value: Probability by McNemar's exact test.
    """

    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of two runs.

    Attributes:
        metric: Name of the metric.
        first: Value of the first run.
        second: Value of the second run.
        interval: 95 % bootstrap interval of the difference.
        p_value: Two-sided p-value of no difference, by the same bootstrap.
        discordance: Discordant items, of metrics that are a fraction of hits.
    """

    metric: str
    first: float
    second: float
    interval: tuple[float, float]
    p_value: float
    discordance: Discordance | None

    @property
    def difference(self) -> float:
        """The second run's value minus the first's."""
        return self.second - self.first


def compare(
    first: StoredFeatures,
    second: StoredFeatures,
    metrics: Sequence[str] | None = None,
    *,
    replicates: int = bootstrap.REPLICATES,
    seed: int = bootstrap.SEED,
) -> list[MetricComparison]:
    """Compare two runs on one benchmark.

    Both are resampled by the same draws of items, so that items hard for both cancel. The p-value is that of the
    inverted percentile interval: twice the share of replicates, one added to their number, in which the difference is
    zero or of the other sign; so it is at least ``2 / (replicates + 1)``. Training seeds are no part of it: it speaks
    of these two networks. Neither is the number of metrics that are compared.

    Args:
        first: Features of the one run.
        second: Features of the other run, of the same benchmark and protocol.
        metrics: Names as in a record; by default all. Of a sensitivity sweep, those of the undistorted variants.
        replicates: Number of replicates of the bootstrap.
        seed: Seed of its draws.

    Raises:
        InputError: The features are of other data or made with other options, of an unknown protocol, or
            there is no such metric.
    """
    protocol = protocol_of(first)
    _check_same_items(first, second)
    ours, theirs = protocol.weighted_metrics(first), protocol.weighted_metrics(second)
    rows = []
    for one, other in zip(ours, theirs, strict=True):
        names = [name for name in one.values() if name in other.values() and not name.endswith("_std")]
        if metrics is None or not set(metrics).isdisjoint(names):
            rows += _compare(one, other, names, replicates=replicates, seed=seed)
    known = {row.metric: row for row in rows}
    for name in metrics or ():
        if name not in known:
            everything = ", ".join(name for one in ours for name in one.values() if not name.endswith("_std"))
            raise InputError(f"no metric {name!r}", file=first.folder, expected=f"one of {everything}")
    return [known[name] for name in metrics] if metrics is not None else rows


def _check_same_items(first: StoredFeatures, second: StoredFeatures) -> None:
    for what, one, other in zip(("protocol", "data", "options"), _identity(first), _identity(second), strict=True):
        if one != other:
            expected = f"{one} as in {first.folder}"
            raise InputError(f"{what} {other}", file=second.folder, expected=expected, remedy="embed both alike")
    ours, theirs = first.arrays, second.arrays
    unequal = [name for name in ours if name not in theirs or not np.array_equal(ours[name], theirs[name])]
    if unequal:
        expected = f"that of {first.folder}, of the same data"
        raise InputError("another array", file=second.folder, where=f"{unequal[0]}.npy", expected=expected)


def _identity(features: StoredFeatures) -> tuple[str, str, dict[str, Any]]:
    """Data and options that two runs must have in common; each may take its own order of colours."""
    protocol = features.index["protocol"]
    options = {name: value for name, value in protocol["options"].items() if name not in _FREE_OPTIONS}
    return protocol["name"], features.index["benchmark_manifest_hash"], options


def _compare(
    one: WeightedMetrics, other: WeightedMetrics, names: Sequence[str], **draws: int
) -> list[MetricComparison]:
    first, second = one.values(), other.values()
    samples, others = one.samples(**draws), other.samples(**draws)
    rows = []
    for name in names:
        differences = np.round(others[name] - samples[name], _DECIMALS)
        discordance = _discordance(one.hits[name], other.hits[name]) if name in one.hits else None
        ends, chance = bootstrap.interval(differences), _p_value(differences)
        rows.append(MetricComparison(name, first[name], second[name], ends, chance, discordance))
    return rows


def _p_value(differences: Floats) -> float:
    fewer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (int(fewer) + 1) / (len(differences) + 1))


def _discordance(first: Booleans, second: Booleans) -> Discordance:
    only_first, only_second = int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))
    return Discordance(only_first, only_second, mcnemar(only_first, only_second))


def table(rows: Sequence[MetricComparison]) -> str:
    """Comparisons as lines of text, under a heading."""
    width = max(len("metric"), *(len(row.metric) for row in rows))
    lines = [f"{'metric':{width}}  {'A':>7}  {'B':>7}  {'B − A':>8}  {'95 % interval':^18}  {'p':>7}  {'McNemar p':>9}"]
    for row in rows:
        low, high = row.interval
        exact = "" if row.discordance is None else f"{_small(row.discordance.p_value):>9}"
        numbers = f"{row.first:7.4f}  {row.second:7.4f}  {row.difference:+8.4f}  [{low:+.4f}, {high:+.4f}]"
        lines.append(f"{row.metric:{width}}  {numbers}  {_small(row.p_value):>7}  {exact}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def _small(probability: float) -> str:
    return f"{probability:.4f}" if probability >= 1e-4 else "<0.0001"
