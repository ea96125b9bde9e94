"""Curves of a metric against the size of the alignment error, from sensitivity records."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from aroface.errors import InputError
from aroface.reporting.records import (
    Record,
    RecordedExperiment,
    Selection,
    check_comparable,
    load_records,
    select,
    selected,
)
from aroface.reporting.text import FULL_QUALITY, SENSITIVITY

FACTORS = ("scale", "rotation", "shift", "joint")
Points = Mapping[tuple[str, str, float], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One method at one quality under one kind of error.

    Attributes:
        quality: ``hq``, or ``r`` and the resolution in pixels that the probes were reduced to.
        factor: Kind of alignment error.
        levels: Sizes of the error in the factor's unit, ascending, with 0 for none.
        values: Values of the metric, fractions in [0, 1], mean over seeds.
        low: Lower end of the 95 % interval, mean over seeds.
        high: Upper end.
        significant: True where in every seed the interval of the drop lies above zero.
        drop: Undistorted value minus this one, mean over seeds.
        drop_low: Lower end of its 95 % interval, mean over seeds.
        drop_high: Upper end.
    """

    quality: str
    factor: str
    levels: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    significant: tuple[bool, ...]
    drop: tuple[float, ...]
    drop_low: tuple[float, ...]
    drop_high: tuple[float, ...]


def sensitivity_records(
    records: Sequence[Record], benchmark: str, experiments: Sequence[RecordedExperiment] | None = None
) -> dict[RecordedExperiment, tuple[Record, ...]]:
    """The sensitivity records of each experiment on ``benchmark``; see :func:`records_of`."""
    return records_of((SENSITIVITY,), records, benchmark, experiments)


@dataclass(frozen=True, slots=True)
class SweepRecords:
    """Records of a sweep of alignment errors, and their curves.

    Attributes:
        records: Records of each experiment, one a seed.
        curves: Curves of each experiment by quality and factor.
    """

    records: Mapping[RecordedExperiment, tuple[Record, ...]]
    curves: Mapping[RecordedExperiment, Mapping[tuple[str, str], Curve]]

    @property
    def paths(self) -> list[Path]:
        """Files of the records."""
        return [record.path for group in self.records.values() for record in group]

    @property
    def seeds(self) -> list[int]:
        """Numbers of seeds of the experiments, each once, ascending."""
        return sorted({len(group) for group in self.records.values()})


def load_sweep(folder: str | PathLike[str], benchmark: str, metric: str, shown: Selection) -> SweepRecords:
    """Read the records that a figure of alignment errors shows.

    Args:
        folder: Folder of the records.
        benchmark: Key of a benchmark with protocol ``sensitivity``.
        metric: Metric of the series.
        shown: Choice of runs and experiments.

    Raises:
        InputError: There are no such records, or they are ambiguous or not comparable.
    """
    runs, experiments, _ = selected(shown)
    records = sensitivity_records(load_records(folder, runs), benchmark, experiments)
    return SweepRecords(records, {experiment: curves(group, metric) for experiment, group in records.items()})


def records_of(
    protocols: Sequence[str],
    records: Sequence[Record],
    benchmark: str,
    experiments: Sequence[RecordedExperiment] | None = None,
) -> dict[RecordedExperiment, tuple[Record, ...]]:
    """The records of each experiment on ``benchmark``, one a seed; experiments without any are left out.

    Args:
        protocols: Protocols of which the benchmark must have one.
        records: Records that count.
        benchmark: Key of the benchmark.
        experiments: Experiments that are shown, in order; None takes all that have records.

    Raises:
        InputError: There are none at all, the benchmark is of another protocol, or they are not comparable.
    """
    protocol = " or ".join(protocols)
    if experiments is None:
        experiments = sorted({record.experiment for record in records if record.benchmark == benchmark})
    chosen = {experiment: select(records, experiment, benchmark) for experiment in experiments}
    chosen = {experiment: group for experiment, group in chosen.items() if group}
    every = [record for group in chosen.values() for record in group]
    for record in every:
        if record.protocol["name"] not in protocols:
            raise InputError(f"protocol {record.protocol['name']}", file=record.path, expected=protocol)
    if not every:
        known = sorted({record.benchmark for record in records if record.protocol["name"] in protocols})
        raise InputError(
            f"no records of {benchmark}",
            expected=f"one of {', '.join(known)}" if known else f"records of protocol {protocol}",
            remedy=None if known else "run aroface evaluate on the features of such a benchmark first",
        )
    check_comparable(every)
    return chosen


def curves(records: Sequence[Record], metric: str) -> dict[tuple[str, str], Curve]:
    """The curves of one experiment by quality and factor, averaged over its seeds.

    Args:
        records: Sensitivity records of one experiment, one a seed.
        metric: Metric of the series.

    Raises:
        InputError: A record has no such metric, or not the points of the first.
    """
    seeds = [_points(record, metric) for record in records]
    for record, points in zip(records, seeds, strict=True):
        if points.keys() != seeds[0].keys():
            raise InputError("another sweep", file=record.path, expected=f"the levels of {records[0].run}")
    return {
        (quality, factor): _curve(quality, factor, seeds)
        for quality, factor in dict.fromkeys((quality, factor) for quality, factor, _ in seeds[0])
    }


def _curve(quality: str, factor: str, seeds: Sequence[Points]) -> Curve:
    levels = tuple(sorted(level for each, kind, level in seeds[0] if (each, kind) == (quality, factor)))
    points = [[seed[quality, factor, level] for seed in seeds] for level in levels]

    def means(key: str) -> tuple[float, ...]:
        return tuple(statistics.fmean(point[key] for point in alike) for alike in points)

    significant = tuple(all(point["drop_low"] > 0 for point in alike) for alike in points)
    ends = means("value"), means("low"), means("high")
    return Curve(quality, factor, levels, *ends, significant, means("drop"), means("drop_low"), means("drop_high"))


def qualities(found: Sequence[Mapping[tuple[str, str], Curve]], low: str | None = None) -> tuple[str, ...]:
    """Full quality and one low quality, for a figure that has room for two.

    Args:
        found: Curves of each experiment.
        low: Low quality; None takes the lowest resolution.

    Raises:
        InputError: There is no such quality.
    """
    every = {quality for each in found for quality, _ in each}
    full = (FULL_QUALITY,) if FULL_QUALITY in every else ()
    reduced = sorted(every - {FULL_QUALITY}, key=lambda name: int(name[1:]))
    if low is None:
        return (*full, *reduced[:1])
    if low not in reduced:
        raise InputError(f"no quality {low}", expected=f"one of {', '.join(reduced)}")
    return (*full, low)


def factors(found: Sequence[Mapping[tuple[str, str], Curve]]) -> tuple[str, ...]:
    """The kinds of error that were swept, in the order of the paper."""
    return tuple(factor for factor in FACTORS if any(factor == each for curve in found for _, each in curve))


def _points(record: Record, metric: str) -> Points:
    known = list(dict.fromkeys(point["metric"] for point in record.series))
    if metric not in known:
        raise InputError(f"no series of {metric}", file=record.path, expected=f"one of {', '.join(known)}")
    chosen = (point for point in record.series if point["metric"] == metric)
    return {(point["quality"], point["factor"], point["level"]): point for point in chosen}
