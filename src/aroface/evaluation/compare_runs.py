"""Comparison of two runs on a benchmark: tests that pair their results on the same people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aroface.embedding.feature_store import StoredFeatures
from aroface.errors import InputError
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.registry import protocol_of
from aroface.evaluation.statistics.jackknife import Difference, difference
from aroface.evaluation.statistics.multiplicity import holm
from aroface.evaluation.statistics.people_metrics import Booleans, PeopleMetrics

_FREE_OPTIONS = ("color", "metric")


@dataclass(frozen=True, slots=True)
class Discordance:
    """Items that one run hit and the other missed.

    Attributes:
        only_first: Number of items hit by the first run alone.
        only_second: Number of items hit by the second run alone.
    """

    only_first: int
    only_second: int


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of two runs.

    Attributes:
        metric: Name of the metric.
        first: Value of the first run.
        second: Value of the second run.
        interval: 95 % interval of the difference, second minus first, over draws of people.
        p_value: Two-sided p-value of no difference, over draws of people.
        adjusted: The same, by Holm's method for all metrics that were compared.
        discordance: Discordant items, of metrics that are a fraction of hits.
    """

    metric: str
    first: float
    second: float
    interval: tuple[float, float]
    p_value: float
    adjusted: float
    discordance: Discordance | None

    @property
    def difference(self) -> float:
        """The second run's value minus the first's."""
        return self.second - self.first


def compare(
    first: StoredFeatures, second: StoredFeatures, metrics: Sequence[str] | None = None
) -> list[MetricComparison]:
    """Compare two runs on one benchmark.

    The same people are left out of both, so that those who are hard for both cancel; see
    :func:`.jackknife.difference`. Training seeds are no part of it: it speaks of these two networks.

    Args:
        first: Features of the one run.
        second: Features of the other run, of the same benchmark and protocol.
        metrics: Names as in a record; by default all. Of a sensitivity sweep, those of the undistorted variants.

    Raises:
        InputError: The features are of other data or made with other options, of an unknown protocol, or
            there is no such metric.
    """
    protocol = protocol_of(first)
    _check_same_items(first, second)
    ours, theirs = (protocol.measure(features) for features in _same_images(protocol, first, second))
    rows = [row for one, other in zip(ours, theirs, strict=True) for row in compare_metrics(one, other)]
    known = {row.metric: row for row in rows}
    for name in metrics or ():
        if name not in known:
            raise InputError(f"no metric {name!r}", file=first.folder, expected=f"one of {', '.join(known)}")
    return _adjusted([known[name] for name in metrics] if metrics is not None else rows)


def compare_metrics(one: PeopleMetrics, other: PeopleMetrics) -> list[MetricComparison]:
    """Compare the metrics of two runs that were measured on the same people, by Holm's method for all of them."""
    rows = []
    for name, left in one.left_out.values.items():
        if name not in other.left_out.values:
            continue
        both = name in one.together and name in other.together
        sample = difference(
            one.values[name],
            other.values[name],
            left,
            other.left_out.values[name],
            trials=one.trials.get(name),
            together=other.together[name] - one.together[name] if both else None,
        )
        rows.append(_row(name, one, other, sample))
    return _adjusted(rows)


def _row(name: str, one: PeopleMetrics, other: PeopleMetrics, found: Difference) -> MetricComparison:
    discordance = _discordance(one.hits[name], other.hits[name]) if name in one.hits else None
    ends = found.low, found.high
    return MetricComparison(name, one.values[name], other.values[name], ends, found.p_value, found.p_value, discordance)


def _adjusted(rows: Sequence[MetricComparison]) -> list[MetricComparison]:
    """The rows with p-values for all of them; a metric without one has no part in it."""
    tested = [row for row in rows if np.isfinite(row.p_value)]
    values = dict(zip((row.metric for row in tested), holm([row.p_value for row in tested]), strict=True))
    return [replace(row, adjusted=values.get(row.metric, row.p_value)) for row in rows]


def _check_same_items(first: StoredFeatures, second: StoredFeatures) -> None:
    for aspect, one, other in zip(("protocol", "data", "options"), _identity(first), _identity(second), strict=True):
        if one != other:
            expected = f"{one} as in {first.folder}"
            raise InputError(f"{aspect} {other}", file=second.folder, expected=expected, remedy="embed both alike")
    ours, theirs = first.arrays, second.arrays
    older = {name for name in ("images", "people") if name not in ours or name not in theirs}
    names = ours.keys() - older
    unequal = sorted(name for name in names if name not in theirs or not np.array_equal(ours[name], theirs[name]))
    if unequal:
        expected = f"that of {first.folder}, of the same data"
        raise InputError("another array", file=second.folder, where=f"{unequal[0]}.npy", expected=expected)


def _same_images(
    protocol: EvaluationProtocol, first: StoredFeatures, second: StoredFeatures
) -> tuple[StoredFeatures, StoredFeatures]:
    """Both runs with the images of pairs of either: features of before they were stored may tell other ones."""
    if protocol.images is None:
        return first, second
    images = protocol.images(second if "images" in second.arrays else first)
    one, other = (replace(each, arrays={**each.arrays, "images": images}) for each in (first, second))
    return one, other


def _identity(features: StoredFeatures) -> tuple[str, str, dict[str, Any]]:
    """Data and options that two runs must have in common; each may take its own order of colours."""
    protocol = features.index["protocol"]
    options = {name: value for name, value in protocol["options"].items() if name not in _FREE_OPTIONS}
    return protocol["name"], features.index["benchmark_manifest_hash"], options


def _discordance(first: Booleans, second: Booleans) -> Discordance:
    return Discordance(int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first)))


def table(rows: Sequence[MetricComparison]) -> str:
    """Comparisons as lines of text, under a heading."""
    width = max(len("metric"), *(len(row.metric) for row in rows))
    heads = f"{'A':>7}  {'B':>7}  {'B − A':>8}  {'95 % interval':^18}  {'p':>7}"
    lines = [f"{'metric':{width}}  {heads}  {'p (Holm)':>8}  {'only A':>6}  {'only B':>6}"]
    for row in rows:
        low, high = row.interval
        discordance = row.discordance
        alone = "" if discordance is None else f"  {discordance.only_first:6}  {discordance.only_second:6}"
        numbers = f"{row.first:7.4f}  {row.second:7.4f}  {row.difference:+8.4f}  [{low:+.4f}, {high:+.4f}]"
        lines.append(f"{row.metric:{width}}  {numbers}  {_small(row.p_value):>7}  {_small(row.adjusted):>8}{alone}")
    return "".join(f"{line}\n" for line in lines)


def _small(probability: float) -> str:
    if not np.isfinite(probability):
        return "none"
    return f"{probability:.4f}" if probability >= 1e-4 else "<0.0001"
