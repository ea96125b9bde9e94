"""Records behind a row and a column of a table, and their values."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aroface.errors import InputError
from aroface.humanize import one_of
from aroface.reporting.records import Record, RecordedExperiment, check_comparable, select
from aroface.reporting.statistics.samples import Floats, Sample, deviation_floor, mean_of
from aroface.reporting.tables.spec import EMPTY, At, Column, RowSpec, Spec

NO_PEOPLE = "not every record has the metric without groups of people"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table together with the experiment whose records fill it, if it has one."""

    row: RowSpec
    experiment: RecordedExperiment | None


@dataclass(frozen=True, slots=True)
class CellValues:
    """The values of one experiment in one column.

    Attributes:
        sample: Fractions by seed.
        records: Records they come from, in the order of benchmarks and seeds.
    """

    sample: Sample
    records: tuple[Record, ...]

    @property
    def values(self) -> Mapping[int, float]:
        """Seed to fraction."""
        return self.sample.values


def lines(
    spec: Spec,
    records: Sequence[Record],
    experiments: Iterable[RecordedExperiment] | None = None,
    labels: Mapping[str, str] = EMPTY,
) -> tuple[Line, ...]:
    """The rows of a table, each with its experiment.

    Args:
        spec: Table.
        records: All records that count.
        experiments: Experiments of the configuration, in order; None takes those that have records.
        labels: Printed names of methods and data sets by their keys; a key without one is printed itself.

    Raises:
        InputError: A row's experiment leaves open which of several is meant, or two experiments get the same name.
    """
    if experiments is None:
        wanted = {column.benchmark for column in spec.columns}
        experiments = sorted(
            {record.experiment for record in records if record.benchmark in wanted},
            key=lambda each: (each.dataset, each.arch, each.method),
        )
    known = list(dict.fromkeys(experiments))
    if spec.rows is not None:
        return tuple(Line(row, _match(spec, row, known)) for row in spec.rows)
    table = [Line(_experiment_row(spec, each, labels), each) for each in known]
    seen: dict[str, RecordedExperiment | None] = {}
    for line in table:
        if line.row.key in seen:
            raise InputError(
                f"{seen[line.row.key]} and {line.experiment} are both named {line.row.key}",
                file=spec.path,
                remedy="add a row header that tells them apart, such as arch",
            )
        seen[line.row.key] = line.experiment
    return _by_block(spec, table)


def measure(
    spec: Spec, column: Column, experiment: RecordedExperiment, records: Sequence[Record], quality: str | None = None
) -> CellValues:
    """The values of ``experiment`` in ``column``; empty where there is no record.

    Args:
        spec: Table.
        column: One of its columns.
        experiment: Experiment of the values.
        records: All records that count.
        quality: Quality of the row, for a column at a point of a sweep that leaves it to the rows.

    Raises:
        InputError: The records are ambiguous (see :func:`aroface.reporting.records.select`), or lack the metric or the
            point of the sweep.
    """
    if column.average_of:
        averaged = [measure(spec, spec.column(name), experiment, records, quality) for name in column.average_of]
        sample = mean_of([cell.sample for cell in averaged])
        used = tuple(record for cell in averaged for record in cell.records if record.seed in sample.values)
        return CellValues(sample, used)
    assert column.benchmark is not None and column.metric is not None, "the schema asks for both or average_of"
    matching = select(records, experiment, column.benchmark)
    at = point_of(column, quality)
    if at is None or at.factor is None or at.level is None:
        name = column.metric if at is None else f"{column.metric}_{at.quality}"
        return CellValues(metric_sample(matching, name), matching)
    values = {record.seed: _at(record, column.metric, at) for record in matching}
    return CellValues(Sample(values, lacking=NO_PEOPLE), matching)


def metric_sample(records: Sequence[Record], metric: str) -> Sample:
    """The values of a metric by seed, with those without each group of people where all records have them.

    Args:
        records: Records of one experiment on one benchmark, one for each seed.
        metric: Name of the metric.

    Raises:
        InputError: A record lacks the metric.
    """
    values = {record.seed: _value(record, metric) for record in records}
    floor = max((deviation_floor(record.resolution.get(metric, 0.0)) for record in records), default=0.0)
    left_out: dict[str, dict[int, Floats]] = {}
    for record in records:
        people, groups = _left_out(record, metric)
        left_out.setdefault(people, {})[record.seed] = groups
    whole = len(left_out) == 1 and "" not in left_out
    return Sample(values, left_out if whole else {}, floor, "" if whole else NO_PEOPLE)


def _left_out(record: Record, metric: str) -> tuple[str, Floats]:
    """Name of the people that a metric was measured on, and its values without each group of them; no name without."""
    for part in sorted(record.jackknife, key=lambda part: str(part["unit"])):
        if metric in part["values"]:
            groups = np.asarray(part["values"][metric], np.float64)
            manifest = record.provenance["benchmark_manifest_hash"]
            return f"{manifest} {part['units']} {part['unit']}, {len(groups)} groups", groups
    return "", np.empty(0)


def point_of(column: Column, quality: str | None) -> At | None:
    """The point of a sweep that a column shows in a row of this quality; None where it shows none."""
    if column.at is None or column.at.quality:
        return column.at
    return replace(column.at, quality=quality)


def check_columns(measurements: Iterable[CellValues]) -> None:
    """Refuse a table in which one benchmark was measured in two ways.

    Raises:
        InputError: See :func:`aroface.reporting.records.check_comparable`.
    """
    benchmarks: dict[str, dict[str, Record]] = {}
    for measurement in measurements:
        for record in measurement.records:
            benchmarks.setdefault(record.benchmark, {})[record.run] = record
    for runs in benchmarks.values():
        check_comparable(list(runs.values()))


def _value(record: Record, metric: str) -> float:
    if metric not in record.metrics:
        raise InputError(f"no metric {metric}", file=record.path, expected=one_of(record.metrics, metric))
    return record.metrics[metric]


def _at(record: Record, metric: str, at: At) -> float:
    """The value at a point of a sweep, or the drop there."""
    assert at.factor is not None and at.level is not None, "other points are metrics of the record"
    alike = [point for point in record.series if (point["metric"], point["quality"]) == (metric, at.quality)]
    for point in alike:
        if point["factor"] == at.factor and math.isclose(point["level"], at.level):
            return float(point[at.show])
    known = ", ".join(f"{point['factor']} {point['level']:g}" for point in alike if point["level"] > 0)
    raise InputError(
        f"no {metric} at {at.quality}, {at.factor} {at.level:g}",
        file=record.path,
        expected=f"one of {known}" if known else "a metric and a quality of its series",
    )


def _match(spec: Spec, row: RowSpec, known: Collection[RecordedExperiment]) -> RecordedExperiment | None:
    wanted = row.experiment
    if wanted is None:
        return None
    if {"method", "dataset", "arch"} <= {*wanted}:
        exact = [RecordedExperiment(each["method"], each["dataset"], each["arch"]) for each in row.experiments]
        return next((each for each in exact if each in known), exact[0])
    fitting = [each for each in known if all(getattr(each, key) == value for key, value in wanted.items())]
    if len(fitting) > 1:
        raise InputError(
            f"the row fits {len(fitting)} experiments: {', '.join(map(str, fitting))}",
            file=spec.path,
            where=row.key,
            expected="one",
            remedy="give its data set, backbone and label, or render from the records of one configuration only",
        )
    return fitting[0] if fitting else None


def _experiment_row(spec: Spec, experiment: RecordedExperiment, labels: Mapping[str, str]) -> RowSpec:
    texts = {
        "method": labels.get(experiment.method, experiment.method),
        "training_set": labels.get(experiment.dataset, experiment.dataset),
        "arch": experiment.arch,
    }
    for header in spec.row_headers:
        if header.key not in texts:
            raise InputError(f"experiments have no {header.key}", file=spec.path, expected=", ".join(texts))
    described = {"method": experiment.method, "dataset": experiment.dataset, "arch": experiment.arch}
    published = next((each.values for each in spec.published if each.experiment == described), EMPTY)
    return RowSpec(headers={header.key: texts[header.key] for header in spec.row_headers}, published=published)


def _by_block(spec: Spec, found: Sequence[Line]) -> tuple[Line, ...]:
    """Bring the lines of a block together, blocks and lines in the order of their first appearance."""
    if spec.block_by is None:
        return tuple(found)
    blocks: dict[str, list[Line]] = {}
    for line in found:
        blocks.setdefault(line.row.headers[spec.block_by], []).append(line)
    return tuple(line for block in blocks.values() for line in block)
