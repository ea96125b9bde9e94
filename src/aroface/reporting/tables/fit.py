"""Fit of a table into a line, by rule: smaller type, closer columns, no venue, parts below one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, groupby, pairwise
from math import comb

from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.grid import Grid, heading_levels
from aroface.reporting.tables.tex_cells import TexCells
from aroface.reporting.tables.type_width import FLOOR, text_width

SIZES = {"normalsize": 10, "small": 9, "footnotesize": 8, "scriptsize": 7}
"""Type sizes in points by their names in a class of 10 pt."""
CLOSEST_PT = 1.25
"""Half the space between two columns where they are closest."""
OVERHUNG_PT = 2.5
"""Same where a sign sticks out into that space."""
TOLERANCE_PT = 0.3
MOST_SPLITS = 500
PAGE_PT = 549.14
"""Height of the text on LNCS's pages."""
ONE_COLUMN_PT = 300.0
"""Width of a line above which a page has one column."""
ROUGH = 1.03
"""Heights are estimates: what is so much higher may still fit."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A table as it is set.

    Attributes:
        size: Type size in points.
        gap_pt: Half the space between two columns.
        headers: Positions of the row headers that are printed.
        blocks: Columns of cells of each part of the table, the parts standing below one another.
        width: Width in points, by estimate.
    """

    size: int
    gap_pt: float
    headers: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]
    width: float


def fitted(grid: Grid, form: TableForm) -> tuple[Fit, tuple[str, ...]]:
    """Choose type size, columns' distance and parts so that a table fits its line.

    The first of these that fits is taken: the specification's size; smaller ones, to 7 pt; closer columns, to 2.5 pt
    between two; the row headers that name no row left out; two parts, three and so on below one another, groups of
    columns being kept together where they can be.

    Args:
        grid: Table, its parts stacked.
        form: Form, with the width of the line.

    Returns:
        How the table is set, and lines on what was changed with the remedy; no line where nothing was.
    """
    return fit_cells(TexCells(grid, form))


def fit_cells(cells: TexCells) -> tuple[Fit, tuple[str, ...]]:
    """Choose how cells are set, see :func:`fitted`."""
    grid, form = cells.grid, cells.form
    measure = _Measure(cells)
    wanted = form.size or max(SIZES[grid.layout.size], FLOOR)
    sizes = [form.size] if form.size else list(range(wanted, FLOOR - 1, -1))
    gaps = _gaps(grid.layout.gap_pt, OVERHUNG_PT if measure.has_overhang(sizes[-1]) else CLOSEST_PT)
    first = Fit(wanted, gaps[0], (), (), 0.0)
    narrowest: Fit | None = None
    whole_width: float | None = None
    for headers, blocks in _structures(measure, sizes[-1], gaps[-1]):
        for size, gap in [*((size, gaps[0]) for size in sizes), *((sizes[-1], gap) for gap in gaps[1:])]:
            fit = Fit(size, gap, headers, blocks, measure.width(size, gap, headers, blocks))
            whole_width = fit.width if whole_width is None else whole_width
            if fit.width <= form.width + TOLERANCE_PT:
                return fit, _changes(grid, form, first, fit, whole_width)
            if narrowest is None or fit.width < narrowest.width:
                narrowest = fit
    assert narrowest is not None, "there is one structure at least"
    over = narrowest.width - form.width
    remedy = "choose fewer of its --columns, or give --environment sidewaystable"
    line = f"table {grid.name} is {over:.0f} pt too wide for {form.width:.0f} pt, however it is set: {remedy}"
    return narrowest, (line,)


def turned(grid: Grid, form: TableForm, page: float = PAGE_PT) -> tuple[TableForm, tuple[str, ...]]:
    """The form of a table that would be higher than its page: turned, where it fits then.

    Args:
        grid: Table, its parts stacked.
        form: Form; only that of a ``table`` across a page of one column is changed.
        page: Height of the page's text in points.

    Returns:
        The form, and a line on the change; no line where nothing was changed.
    """
    if form.environment != "table" or form.width < ONE_COLUMN_PT:
        return form, ()
    own = height(grid, fitted(grid, form)[0], form.width)
    if own <= page:
        return form, ()
    aside = replace(form, environment="sidewaystable", width=page)
    choices = [aside, *([replace(aside, size=FLOOR)] if form.size is None else [])]
    heights = [height(grid, fitted(grid, choice)[0], page) for choice in choices]
    for choice, turned_height in zip(choices, heights, strict=True):
        if turned_height <= form.width * ROUGH:
            return choice, (f"table {grid.name}, some {own:.0f} pt high, is turned on a page of {page:.0f} pt",)
    line = f"table {grid.name} is some {own:.0f} pt high for {page:.0f} pt, also turned: choose fewer of its --rows"
    return (choices[-1] if heights[-1] / form.width < own / page else form), (line,)


def height(grid: Grid, fit: Fit, width: float) -> float:
    """Rough height in points of a table with its caption and notes on a line of this width."""
    below = grid.layout.spread == "below"
    lines = sum(1 + (below and any(cell.around or cell.interval for cell in row.cells)) for row in grid.rows)
    gaps = sum(row.rule or row.gap for row in grid.rows)
    headings = sum(max(text.count("\n") for text, _ in level) + 1 for level in heading_levels(grid))
    bodies = len(fit.blocks) * (1.25 * fit.size * (lines + headings) + 6 * gaps + 24)
    notes = [" ".join(grid.notes), *map(str, grid.sources.values()), grid.footnote or ""]
    return bodies + _text(grid.caption, 10, width) + sum(_text(note, fit.size, width) for note in notes)


def _text(text: str, size: float, width: float) -> float:
    """Rough height of a paragraph in points, with the space above it."""
    lines = -(-len(text) * 0.5 * size // width)
    return 1.2 * size * lines + 6 if text else 0.0


def _changes(grid: Grid, form: TableForm, first: Fit, fit: Fit, width: float) -> tuple[str, ...]:
    """One line on what was changed; none where the table fits as its specification asks for."""
    left_out = [grid.row_headers[i] for i in range(len(grid.row_headers)) if i not in fit.headers]
    parts = [
        *([f"in {fit.size} pt type"] if fit.size != first.size else []),
        *([f"with columns {2 * fit.gap_pt:g} pt apart"] if fit.gap_pt != first.gap_pt else []),
        *([f"without {' and '.join(left_out)}"] if left_out else []),
        *([f"in {len(fit.blocks)} parts below one another"] if len(fit.blocks) > 1 else []),
    ]
    if not parts:
        return ()
    remedy = "--width and --environment give more room, --columns fewer numbers"
    return (f"table {grid.name}, {width:.0f} pt wide, fits {form.width:.0f} pt {', '.join(parts)}; {remedy}",)


def _gaps(widest: float, closest: float) -> list[float]:
    """Half the spaces between columns that are tried, the specification's first."""
    steps = int(max(widest - closest, 0) / 0.5 + 0.999)
    return [max(widest, closest), *(max(widest - 0.5 * (step + 1), closest) for step in range(steps))]


Structure = tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]


def _structures(measure: _Measure, size: int, gap: float) -> Iterator[Structure]:
    """Row headers and parts, the best for a reader first."""
    grid = measure.cells.grid
    every = tuple(range(len(grid.row_headers)))
    naming = tuple(i for i in every if i not in grid.aside) or every
    choices = [every] if naming == every else [every, naming]
    whole = (tuple(range(len(grid.leaves))),)
    for headers in choices:
        yield headers, whole
    groups, columns = _units(grid, groups=True), _units(grid, groups=False)
    for units in [groups] if groups == columns else [groups, columns]:
        for count in range(2, len(units) + 1):
            for headers in choices:
                yield headers, measure.best_split(units, count, size, gap, headers)


def _units(grid: Grid, *, groups: bool) -> list[tuple[int, ...]]:
    """Columns of cells that stay together: all parts of one column, or those of one group."""

    def unit(j: int) -> tuple[str, ...]:
        path = grid.leaves[j].path
        return path[:1] if groups and path[0] else path[:-1]

    return [tuple(group) for _, group in groupby(range(len(grid.leaves)), key=unit)]


def _split(units: Sequence[tuple[int, ...]], cuts: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    ends = [0, *cuts, len(units)]
    return tuple(tuple(chain(*units[start:end])) for start, end in pairwise(ends))


@dataclass
class _Measure:
    """Widths of a table's parts, each computed once."""

    cells: TexCells
    known: dict[tuple[str, int, int], float] = field(default_factory=dict)
    heads: dict[tuple[int, tuple[int, ...]], list[list[tuple[int, float]]]] = field(default_factory=dict)

    def width(self, size: int, gap: float, headers: Sequence[int], blocks: Sequence[Sequence[int]]) -> float:
        """Width of the table: TeX's own rule, by which the last column of a span takes what the span lacks."""
        columns = [self._header(size, i) for i in headers]
        count = len(columns)
        columns += [0.0] * max(map(len, blocks))
        spans: dict[int, list[tuple[int, float]]] = {}
        for block in blocks:
            for k, j in enumerate(block):
                columns[count + k] = max(columns[count + k], self._column(size, j))
            for line in self._headings(size, tuple(block)):
                start = count
                for span, width in line:
                    spans.setdefault(start + span - 1, []).append((start, width))
                    start += span
        for end in sorted(spans):
            for start, width in spans[end]:
                before = sum(columns[start:end]) + 2 * gap * (end - start)
                # A span that ends the table keeps the space behind it that single columns do not have there.
                behind = gap if end == len(columns) - 1 and start < end else 0.0
                columns[end] = max(columns[end], width + behind - before)
        return sum(columns) + 2 * gap * (len(columns) - 1)

    def best_split(
        self, units: Sequence[tuple[int, ...]], count: int, size: int, gap: float, headers: Sequence[int]
    ) -> tuple[tuple[int, ...], ...]:
        """The narrowest division of units into some parts; an even one where there are very many."""
        even = tuple(len(units) * part // count for part in range(1, count))
        many = comb(len(units) - 1, count - 1) > MOST_SPLITS
        splits = [_split(units, cuts) for cuts in ([even] if many else combinations(range(1, len(units)), count - 1))]
        return min(splits, key=lambda blocks: self.width(size, gap, headers, blocks))

    def has_overhang(self, size: int) -> bool:
        """True if a sign in the room of a digit sticks out of its column, into the space before it."""
        font = self.cells.form.font
        beyond = text_width("$+$", size, font) - text_width("0", size, font)
        return any(
            self._column(size, j) - text_width(text, size, font) < 2 * beyond
            for j, texts in enumerate(self.cells.measured)
            for text in texts
            if r"\arosign" in text
        )

    def _header(self, size: int, i: int) -> float:
        return self._widest("header", size, i, [self.cells.header_headings[i], *self.cells.headers[i]])

    def _column(self, size: int, j: int) -> float:
        return self._widest("column", size, j, [*self.cells.measured[j], *self.cells.lower[j]])

    def _widest(self, kind: str, size: int, index: int, texts: Sequence[str]) -> float:
        key = (kind, size, index)
        if key not in self.known:
            self.known[key] = max((text_width(text, size, self.cells.form.font) for text in texts), default=0.0)
        return self.known[key]

    def _headings(self, size: int, block: tuple[int, ...]) -> list[list[tuple[int, float]]]:
        key = (size, block)
        if key not in self.heads:
            font = self.cells.form.font
            self.heads[key] = [
                [(heading.span, text_width(heading.text, size, font)) for heading in line]
                for line in self.cells.headings(block)
            ]
        return self.heads[key]
