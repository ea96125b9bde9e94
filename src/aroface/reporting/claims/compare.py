"""Reported against reproduced, cell by cell: does the reproduction hold?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Literal, Unpack

from aroface.errors import InputError
from aroface.reporting.claims.gap_causes import causes
from aroface.reporting.records import Record, RecordedExperiment, Selection, load_records, selected
from aroface.reporting.rounding import percent, rounded
from aroface.reporting.statistics.intervals import SeedInterval, estimate, one_further_run
from aroface.reporting.tables.cells import Line, check_columns, lines, measure
from aroface.reporting.tables.grid import on_one_line
from aroface.reporting.tables.sources import Published, Source
from aroface.reporting.tables.spec import Column, RowSpec, Spec, read_spec

Closeness = Literal["holds", "differs", "check the preprocessing", "not enough seeds", "not reproduced yet"]
RunOrigin = Literal["released", "trained"]

TOLERANCES: Mapping[RunOrigin, Decimal] = {"released": Decimal("0.1"), "trained": Decimal("1.5")}
"""Points by which a reproduced value may differ, by where its weights come from.

A released checkpoint differs by hardware and decoding alone, and on a benchmark whose table lists evaluations of the
same weights by as much as any two of those (:func:`released_tolerance`). Networks that others trained again by
AdaFace's recipe came out .3 points lower on IJB and 1.2 on TinyFace (AdaFace #39 and #76), so 1.5 of a network trained
again.
"""

CHECK = Decimal(5)
"""Points beyond which no seed explains a gap: public threads on such gaps end in the preprocessing (``hints``)."""


@dataclass(frozen=True, slots=True)
class ValueComparison:
    """One reported value and what became of it.

    Attributes:
        table: Name of the table.
        row: Row's address.
        column: Column's id.
        heading: Column's heading with that of its group.
        reported: Authors' digits, or those of the publisher, in per cent.
        reproduced: Mean over seeds, in per cent; None where there is no result.
        sd: Standard deviation over seeds; None for one seed.
        further: Interval of one further seed with a probability of 95 %, which the authors' run may be taken for; None
            for one seed.
        seeds: Number of seeds.
        source: Origin of the weights; None where there is no result.
        difference: Reproduced minus reported, of printed digits, with its sign.
        tolerance: Tolerance by the source.
        verdict: Verdict on the difference.
        causes: Likely ones, where the preprocessing is to be checked.
        publisher: Source of a value that is not the authors'; None of theirs.
    """

    table: str
    row: str
    column: str
    heading: str
    reported: str
    verdict: Closeness
    reproduced: str | None = None
    sd: str | None = None
    further: tuple[str, str] | None = None
    seeds: int = 0
    source: RunOrigin | None = None
    difference: str | None = None
    tolerance: Decimal | None = None
    causes: tuple[str, ...] = ()
    publisher: Source | None = None


@dataclass(frozen=True, slots=True)
class EvaluationSpread:
    """The largest difference between two evaluations of the same weights.

    Attributes:
        points: The difference.
        column: Column of the values.
        weights: Description of the weights.
        values: The two values, the smaller one first.
    """

    points: Decimal
    column: Column
    weights: str
    values: tuple[Published, Published]

    def __str__(self) -> str:
        low, high = (f"{value.digits} by {value.source.name}" for value in self.values)
        return f"{self.weights} have {low} and {high} in {heading(self.column)}"


@dataclass(frozen=True, slots=True)
class Report:
    """All comparisons.

    Attributes:
        comparisons: Comparisons in the order of tables, rows and columns.
        others: Rows, by table, of models that only their own authors can make: reported, and not reproduced here.
        spreads: Largest spread of each benchmark, by table, that is above the tolerance of released weights elsewhere.
    """

    comparisons: tuple[ValueComparison, ...]
    others: Mapping[str, tuple[str, ...]]
    spreads: Mapping[str, Mapping[str, EvaluationSpread]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """True if no reproduced value differs, also if nothing was reproduced."""
        return not any(each.verdict in ("differs", "check the preprocessing") for each in self.comparisons)


def compare(
    specs: Iterable[Spec],
    records: str | PathLike[str],
    **shown: Unpack[Selection],
) -> Report:
    """Compare each value in print, the authors' or one with its source, with the records.

    Args:
        specs: Tables.
        records: Folder of the records.
        shown: See :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: Records that are invalid, ambiguous or not comparable.
    """
    runs, known, labels = selected(shown)
    loaded_records = load_records(records, runs)
    comparisons: list[ValueComparison] = []
    others: dict[str, tuple[str, ...]] = {}
    spreads: dict[str, Mapping[str, EvaluationSpread]] = {}
    for spec in specs:
        table = lines(spec, loaded_records, known, labels)
        check_columns(
            measure(spec, column, line.experiment, loaded_records, line.row.quality)
            for line in table
            if line.experiment
            for column in spec.columns
        )
        others[spec.name] = tuple(line.row.key for line in table if _printed(line.row) and line.experiment is None)
        spreads[spec.name] = widest_spreads(spec)
        comparisons += [
            _compare(spec, line, line.experiment, column, value, loaded_records, spreads[spec.name])
            for line in table
            for column in spec.columns
            if line.experiment and (value := line.row.known(column.id)) is not None
        ]
    wide = {name: {key: each for key, each in widest.items() if _exceeds(each)} for name, widest in spreads.items()}
    return Report(tuple(comparisons), others, {name: widest for name, widest in wide.items() if widest})


def widest_spreads(spec: Spec) -> dict[str, EvaluationSpread]:
    """The largest difference between evaluations of the same weights that a table lists, for each of its benchmarks."""
    widest: dict[str, EvaluationSpread] = {}
    for evaluation in spec.evaluations:
        for name, values in evaluation.values.items():
            column = spec.column(name)
            ordered = sorted(values, key=lambda value: Decimal(value.digits))
            low, high = ordered[0], ordered[-1]
            points = Decimal(high.digits) - Decimal(low.digits)
            benchmark = column.benchmark
            if benchmark and (benchmark not in widest or points > widest[benchmark].points):
                widest[benchmark] = EvaluationSpread(points, column, evaluation.weights, (low, high))
    return widest


def released_tolerance(spread: EvaluationSpread | None) -> Decimal:
    """Points by which released weights may differ, on a benchmark with this spread between evaluations."""
    return spread.points if spread and _exceeds(spread) else TOLERANCES["released"]


def _exceeds(spread: EvaluationSpread) -> bool:
    return spread.points > TOLERANCES["released"]


def _printed(row: RowSpec) -> bool:
    return bool(row.reported or row.published)


def reported_specs(folder: str | PathLike[str], tables: Collection[str] | None = None) -> list[Spec]:
    """The specifications with values in print, the authors' or others', in a folder, in the order of their names.

    Args:
        folder: Such as ``paper_tables/specs``.
        tables: Names of those that are wanted, in their order; None for all.

    Raises:
        InputError: There are none, or not the one that is wanted.
    """
    specs = {spec.name: spec for spec in map(read_spec, sorted(Path(folder).glob("*.yaml"))) if spec.compares}
    if not specs:
        raise InputError("no tables with reported values", file=folder, expected="specifications of tables, as YAML")
    for name in tables or ():
        if name not in specs:
            raise InputError(
                f"no table {name!r} with reported values", file=folder, expected=f"one of {', '.join(specs)}"
            )
    return [specs[name] for name in dict.fromkeys(tables)] if tables else [*specs.values()]


def heading(column: Column) -> str:
    """A column's heading with that of its group, in one line."""
    return " ".join(on_one_line(text) for text in (column.group, column.label) if text)


def _compare(
    spec: Spec,
    line: Line,
    experiment: RecordedExperiment,
    column: Column,
    value: Published | str,
    records: Sequence[Record],
    spreads: Mapping[str, EvaluationSpread],
) -> ValueComparison:
    reported, publisher = (value, None) if isinstance(value, str) else (value.digits, value.source)
    cell = (spec.name, line.row.key, column.id, heading(column), reported)
    measured = measure(spec, column, experiment, records, line.row.quality)
    estimated = estimate(measured.values)
    if estimated is None:
        return ValueComparison(*cell, "not reproduced yet", publisher=publisher)
    source: RunOrigin = "released" if all(record.released for record in measured.records) else "trained"
    reproduced = percent(estimated.mean, column.decimals)
    gap = Decimal(reproduced) - Decimal(reported)
    predicted = one_further_run(measured.sample)
    half = None if predicted is None or predicted.half is None else 100 * predicted.half
    tolerance = TOLERANCES[source] if source == "trained" else released_tolerance(spreads.get(column.benchmark or ""))
    verdict = judge(gap, half, source, tolerance)
    return ValueComparison(
        *cell,
        verdict,
        reproduced=reproduced,
        sd=None if estimated.sd is None else percent(estimated.sd, column.decimals),
        further=_ends(predicted, column),
        seeds=estimated.n,
        source=source,
        difference=rounded(gap, column.decimals, signed=True),
        tolerance=tolerance,
        causes=causes(measured.records[0]) if verdict == "check the preprocessing" else (),
        publisher=publisher,
    )


def _ends(predicted: SeedInterval | None, column: Column) -> tuple[str, str] | None:
    if predicted is None or predicted.low is None or predicted.high is None:
        return None
    return percent(predicted.low, column.decimals), percent(predicted.high, column.decimals)


def judge(gap: Decimal, half: Decimal | None, source: RunOrigin, tolerance: Decimal | None = None) -> Closeness:
    """Verdict on a difference of printed digits, in points.

    A value holds within the tolerance. Beyond it, it differs where it also lies outside the prediction interval of one
    further run, which a run of the same training does in at most 5 % of cases, whatever the number of seeds. Inside it
    holds, unless the interval is so wide that it would hold any gap up to :data:`CHECK`. With one seed nothing is known
    of what a further run would give, so that only a gap beyond :data:`CHECK` is judged; released weights have no seeds,
    and differ beyond their tolerance.

    Args:
        gap: Reproduced minus reported.
        half: Half the width of the prediction interval; None where there is none.
        source: Origin of the weights.
        tolerance: Points that a value may differ by; None for those of the source.
    """
    if abs(gap) <= (TOLERANCES[source] if tolerance is None else tolerance):
        return "holds"
    if source == "trained" and half is not None and abs(gap) <= half:
        return "holds" if half <= CHECK else "not enough seeds"
    if abs(gap) > CHECK:
        return "check the preprocessing"
    return "not enough seeds" if source == "trained" and half is None else "differs"
