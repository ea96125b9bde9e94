"""Filling a table: from a specification and the records to finished digits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from aroface.reporting.records import Record, RecordedExperiment
from aroface.reporting.rounding import percent, rounded
from aroface.reporting.statistics.intervals import best_interval, estimate, on_this_benchmark, one_further_run
from aroface.reporting.statistics.multiplicity import Judge, best_rows
from aroface.reporting.statistics.samples import difference
from aroface.reporting.tables.caption import caption, legend
from aroface.reporting.tables.cells import CellValues, Line, check_columns, lines, measure
from aroface.reporting.tables.emphasis import Mark, mark_best
from aroface.reporting.tables.grid import Cell, Grid, GridRow, Leaf, Mode, Part, heading_of
from aroface.reporting.tables.seed_notes import header, notes, seeds_of
from aroface.reporting.tables.sources import Source, marks
from aroface.reporting.tables.spec import ASIDE, EMPTY, Column, Layout, RowSpec, Seeds, Spec
from aroface.reporting.text import with_percent_signs

PARTS: dict[Mode, tuple[Part, ...]] = {
    "reported": ("reported",),
    "reproduced": ("reproduced",),
    "both": ("reported", "reproduced"),
    "delta": ("reported", "reproduced", "difference"),
}


def build(
    spec: Spec,
    records: Sequence[Record],
    mode: Mode,
    *,
    experiments: Iterable[RecordedExperiment] | None = None,
    labels: Mapping[str, str] = EMPTY,
    caption_note: str | None = None,
) -> Grid:
    """Fill the table that ``spec`` describes.

    Args:
        spec: Table.
        records: All records that count.
        mode: Values to print; a column for which nobody reported anything has only reproduced values in the modes
            ``both`` and ``delta``.
        experiments: Experiments of the configuration; None takes those that have records.
        labels: Printed names of methods and data sets.
        caption_note: Stands in the caption instead of the specification's own note.

    Raises:
        InputError: Records that are ambiguous, not comparable, or without the metric; see ``measure`` and ``records``.
    """
    if mode == "reported" and experiments is None and spec.published:
        experiments = [RecordedExperiment(**each.experiment) for each in spec.published]
    table = lines(spec, records, experiments, labels)
    leaves = _leaves(spec, mode, table)
    measured: dict[tuple[str, str], CellValues] = {}
    if mode != "reported":
        measured = {
            (line.row.key, column.id): measure(spec, column, line.experiment, records, line.row.quality)
            for line in table
            for column in spec.columns
            if line.experiment is not None
        }
        check_columns(measured.values())
    ids = {line.row.id: line.row.key for line in table if line.row.id}
    judge = _interval_of(measured.values())
    marked = {} if mode == "reproduced" else marks(_sources(spec, table))
    cells = [
        [_cell(line.row, leaf, measured, ids, spec.seeds, spec.layout, judge, marked) for leaf in leaves]
        for line in table
    ]
    blocks = [spec.block_by and line.row.headers[spec.block_by] for line in table]
    rows = [
        _row(spec, mode, table, index, blocks, _emphasised(spec, line.row, leaves, row))
        for index, (line, row) in enumerate(zip(table, cells, strict=True))
    ]
    if spec.emphasis.rule != "none":
        rows = _with_best(spec, table, leaves, rows, blocks, measured, judge)
    starred = any(row.star for row in rows)
    counted = mode != "reported" and spec.seeds.count == "column"
    beside = spec.layout.parts == "beside" and len({leaf.part for leaf in leaves}) > 1
    on_seeds = () if mode == "reported" else notes(spec, table, rows, measured, judge)
    return Grid(
        name=spec.name,
        label=spec.label,
        caption=caption(spec, mode, leaves, rows, caption_note),
        row_headers=(*(header.label for header in spec.row_headers), *([header()] if counted else [])),
        leaves=leaves,
        rows=tuple(_counted(row) for row in rows) if counted else tuple(rows),
        footnote=spec.rerun_footnote if starred else None,
        layout=_tight(spec.layout) if beside else spec.layout,
        notes=(*legend(spec, mode, leaves, rows, faces=judge is best_interval), *on_seeds),
        sources={mark: source for source, mark in marked.items()},
        aside=tuple(number for number, each in enumerate(spec.row_headers) if each.key == ASIDE),
        short_caption=spec.short_caption and with_percent_signs(spec.short_caption),
    )


def _sources(spec: Spec, table: Sequence[Line]) -> Iterator[Source]:
    """The sources of values that are not the authors', in the order of rows and columns."""
    for line in table:
        yield from (value.source for column in spec.columns if (value := line.row.published.get(column.id)))


def _interval_of(measured: Iterable[CellValues]) -> Judge:
    """The interval of all differences of a table: on faces like these where all of its values allow it."""
    several = [each.sample for each in measured if len(each.values) > 1]
    return best_interval if several and all(sample.left_out for sample in several) else on_this_benchmark


def _counted(row: GridRow) -> GridRow:
    """The row with its number of seeds as one more header."""
    seeds = seeds_of(row.cells)
    return replace(row, headers=(*row.headers, seeds), full_headers=(*row.full_headers, seeds))


def _tight(layout: Layout) -> Layout:
    """The layout of a table whose columns are doubled or trebled: smaller type, closer columns."""
    size = "footnotesize" if layout.size in ("normalsize", "small") else layout.size
    return replace(layout, size=size, gap_pt=min(layout.gap_pt, 3.5))


def _leaves(spec: Spec, mode: Mode, table: Sequence[Line]) -> tuple[Leaf, ...]:
    reported = {name for line in table for name in (*line.row.reported, *line.row.published)}
    published = any(line.row.published for line in table)
    column_parts: list[tuple[Column, Part]] = []
    for column in spec.columns:
        parts = PARTS[mode] if mode == "reported" or column.id in reported else ("reproduced",)
        column_parts += [(column, part) for part in parts]
    several = len({part for _, part in column_parts}) > 1
    return tuple(
        Leaf(column, part, _path(column, heading_of(part, published) if several else ""))
        for column, part in column_parts
    )


def _path(column: Column, part: str) -> tuple[str, ...]:
    return tuple(map(with_percent_signs, (column.group or "", column.label, part)))


def _cell(
    row: RowSpec,
    leaf: Leaf,
    measured: Mapping[tuple[str, str], CellValues],
    ids: Mapping[str, str],
    seeds: Seeds,
    layout: Layout,
    judge: Judge,
    marked: Mapping[Source, str],
) -> Cell:
    column = leaf.column
    if row.difference:
        pair = [measured.get((ids[name], column.id)) for name in row.difference]
        compared = _compared(column, *pair, layout=layout, judge=judge) if leaf.part == "reproduced" else Cell()
        return replace(compared, interval=None, half=None) if seeds.spread == "none" else compared
    reported = _reported(row, column, marked)
    if leaf.part == "reported":
        return reported
    measurement = measured.get((row.key, column.id))
    reproduced = _reproduced(column, measurement, seeds) if measurement else Cell()
    if leaf.part == "reproduced":
        return reproduced
    if reported.number is None or reproduced.number is None:
        return Cell()
    # Printed digits are subtracted, so that a reader who checks the sum finds it right.
    gap = Decimal(reproduced.number) - Decimal(reported.number)
    return Cell(rounded(gap, column.decimals, signed=True), seeds=reproduced.seeds)


def _reported(row: RowSpec, column: Column, marked: Mapping[Source, str]) -> Cell:
    published = row.published.get(column.id)
    digits = published.digits if published else row.reported.get(column.id)
    if digits is not None and column.reported_digits == "column":
        digits = rounded(Decimal(digits), column.decimals)
    return Cell(digits, mark=marked.get(published.source) if published else None)


def _reproduced(column: Column, measurement: CellValues, seeds: Seeds) -> Cell:
    estimated = estimate(measurement.values)
    if estimated is None:
        return Cell()
    predicted = one_further_run(measurement.sample) if seeds.spread == "prediction" else None
    if predicted and predicted.low is not None and predicted.high is not None:
        interval = (percent(predicted.low, column.decimals), percent(predicted.high, column.decimals))
        return Cell(percent(estimated.mean, column.decimals), interval=interval, seeds=estimated.n)
    sd = None if estimated.sd is None or seeds.spread == "none" else percent(estimated.sd, column.decimals)
    return Cell(percent(estimated.mean, column.decimals), sd, seeds=estimated.n)


def _compared(column: Column, of: CellValues | None, minus: CellValues | None, *, layout: Layout, judge: Judge) -> Cell:
    comparison = judge(difference(of.sample, minus.sample)) if of and minus else None
    if comparison is None:
        return Cell()
    interval, half = None, None
    if comparison.low is not None and comparison.high is not None:
        interval = (percent(comparison.low, column.decimals), percent(comparison.high, column.decimals))
        half = percent((comparison.high - comparison.low) / 2, column.decimals) if layout.interval == "half" else None
    return Cell(
        percent(comparison.mean, column.decimals, signed=True), interval=interval, half=half, seeds=comparison.n
    )


def _emphasised(spec: Spec, row: RowSpec, leaves: Sequence[Leaf], cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with the authors' own bold on their own values."""
    if spec.emphasis.rule != "as_paper" or not row.ours:
        return tuple(cells)
    return tuple(
        replace(cell, emphasis="bold") if cell.number is not None and leaf.part == "reported" else cell
        for leaf, cell in zip(leaves, cells, strict=True)
    )


def _row(
    spec: Spec, mode: Mode, table: Sequence[Line], index: int, blocks: Sequence[str | None], cells: tuple[Cell, ...]
) -> GridRow:
    row = table[index].row
    above = table[index - 1].row if index else None
    rule = index > 0 and blocks[index] != blocks[index - 1]
    shown = tuple(
        ""
        if header.once and above and not rule and above.headers[header.key] == row.headers[header.key]
        else row.headers[header.key]
        for header in spec.row_headers
    )
    shows_reported = mode != "reproduced"
    return GridRow(
        key=row.key,
        runs=any(each is not None for each in (table[index].experiment, row.experiment, row.difference)),
        compares=row.difference is not None,
        headers=shown,
        full_headers=tuple(row.headers.values()),
        cells=cells,
        rule=rule,
        gap=not rule and row.difference is not None and above is not None and above.difference is None,
        bold=row.ours and spec.emphasis.rule == "as_paper" and shows_reported,
        star=row.rerun and shows_reported,
        remark=_remark(row) if row.as_printed and shows_reported else None,
        id=row.id,
        corrected=_corrected(row) if shows_reported else {},
    )


def _corrected(row: RowSpec) -> dict[int, str]:
    """Positions of the headers that the authors print otherwise, and what they print."""
    return {number: row.as_printed[key] for number, key in enumerate(row.headers) if key in row.as_printed}


def _remark(row: RowSpec) -> str:
    printed = ", ".join(text for key, text in row.as_printed.items() if key != "reason")
    return f"{row.key}: the authors print {printed} here. {row.as_printed['reason']}"


def _with_best(
    spec: Spec,
    table: Sequence[Line],
    leaves: Sequence[Leaf],
    rows: Sequence[GridRow],
    blocks: Sequence[str | None],
    measured: Mapping[tuple[str, str], CellValues],
    judge: Judge,
) -> list[GridRow]:
    """The rows with the best of a column marked: reported values by their digits, reproduced ones by tests."""
    scopes = blocks if spec.emphasis.within == "block" else [None] * len(rows)
    cells = [list(row.cells) for row in rows]
    for scope in dict.fromkeys(scopes):
        inside = [i for i, line in enumerate(table) if scopes[i] == scope and line.row.difference is None]
        for j, leaf in enumerate(leaves):
            marks: Sequence[Mark | None]
            if leaf.part == "reproduced":
                cell_values = [measured.get((table[i].row.key, leaf.column.id)) for i in inside]
                samples = [None if each is None else each.sample for each in cell_values]
                marks = ["bold" if best else None for best in best_rows(samples, leaf.column.better, judge)]
            elif leaf.part == "reported" and spec.emphasis.rule == "best_second":
                marks = mark_best([cells[i][j].number for i in inside], leaf.column.better)
            else:
                continue
            for i, mark in zip(inside, marks, strict=True):
                cells[i][j] = replace(cells[i][j], emphasis=mark)
    return [replace(row, cells=tuple(each)) for row, each in zip(rows, cells, strict=True)]
