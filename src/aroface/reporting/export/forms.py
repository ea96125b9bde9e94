"""Forms of tables and figures in a template: the one place that knows how they are fitted to a line."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aroface.reporting.export.templates import VenueTemplate
from aroface.reporting.records import Record, Selection
from aroface.reporting.tables.build import build
from aroface.reporting.tables.grid import Grid, Mode, heading_levels, stacked
from aroface.reporting.tables.render import render_table
from aroface.reporting.tables.spec import EMPTY, Spec

MILLIMETRE = 72.27 / 25.4
"""Points of TeX in a millimetre."""
_FORM, _FIT = "aroface.reporting.tables.form", "aroface.reporting.tables.fit"


def render_for(
    template: VenueTemplate,
    spec: Spec,
    folder: Path,
    records: Sequence[Record],
    *,
    mode: Mode,
    caption_note: str | None,
    selection: Selection,
) -> str:
    """A table as LaTeX that fits a column of the template in one piece, or both of them, or the page's height.

    Args:
        template: Class of the document.
        spec: Table.
        folder: Folder of the records.
        records: Records that count, as they are read from it.
        mode: Values to print.
        caption_note: Last sentence of the caption.
        selection: Runs that count, their experiments and labels.

    Raises:
        InputError: See :func:`aroface.reporting.tables.render.render_table`.
    """
    options: dict[str, Any] = {"mode": mode, "caption_note": caption_note, **selection}
    if find_spec(_FORM) is None:
        return _as_it_is(template, spec, folder, records, options)
    table_form, fitted = import_module(_FORM).TableForm, import_module(_FIT).fitted
    grid = _grid(spec, records, options)
    form = table_form(width=template.column, font=template.font)
    fit, _ = fitted(grid, form)
    whole = len(fit.blocks) == 1 and fit.width <= form.width
    if template.columns == 2 and not (whole and len(fit.headers) == len(grid.row_headers)):
        form = table_form(environment="table*", width=template.text, font=template.font)
    elif not whole and _height(grid, fit) > template.height:
        form = table_form(environment="sidewaystable", width=template.height, font=template.font)
    return render_table(spec.path, folder, format="latex", **options, **{"form": form})


def _height(grid: Grid, fit: Any) -> float:
    """Rough height in pt of a table with its caption and notes."""
    below = grid.layout.spread == "below"
    lines = sum(1 + (below and any(cell.around or cell.interval for cell in row.cells)) for row in grid.rows)
    gaps = sum(row.rule or row.gap for row in grid.rows)
    headings = 2 + len(heading_levels(grid))
    caption = 60 + 12 * len(grid.notes)
    return float(len(fit.blocks) * (1.25 * fit.size * (lines + headings) + 6 * gaps) + caption)


def _as_it_is(
    template: VenueTemplate, spec: Spec, folder: Path, records: Sequence[Record], options: dict[str, Any]
) -> str:
    """The table in its own form, across both columns where it is wide, under the names of an export."""
    text = render_table(spec.path, folder, format="latex", **options)
    label = f"tab:aroface:{spec.name.replace('_', '-')}" + (":reported" if options["mode"] == "reported" else "")
    text = re.sub(r"\\label\{.*?\}", lambda _: rf"\label{{{label}}}", text)
    if template.columns == 2 and _width(_grid(spec, records, options)) > template.column:
        text = re.sub(r"\\(begin|end)\{table\}", r"\\\1{table*}", text)
    return text


def _grid(spec: Spec, records: Sequence[Record], options: dict[str, Any]) -> Grid:
    experiments, labels = options.get("experiments"), options.get("labels", EMPTY)
    note = options["caption_note"]
    return stacked(build(spec, records, options["mode"], experiments=experiments, labels=labels, caption_note=note))


def _width(grid: Grid) -> float:
    """Rough width in pt, of type of 8 pt."""
    names = [max(len(row.headers[i]) for row in grid.rows) for i in range(len(grid.row_headers))] if grid.rows else []
    last = [text for text, _ in heading_levels(grid)[-1]] if grid.leaves else []
    columns = [
        max([len(head), *(len(f"{row.cells[j].number}{row.cells[j].around or ''}") for row in grid.rows)])
        for j, head in enumerate(last)
    ]
    return sum(4.1 * characters + 2 * grid.layout.gap_pt for characters in [*names, *columns])


def figure_options(template: VenueTemplate, understood: Collection[str], spanning: bool = False) -> list[str]:
    """Options of ``aroface figure`` that fit a figure to the template, as far as the verb has them.

    Args:
        template: Class of the document.
        understood: Options that the verb has.
        spanning: True for a figure that spans all columns.
    """
    wanted = {
        "--width": f"{(template.text if spanning else template.column) / MILLIMETRE:.2f}",
        "--font": "times" if template.font == "times" else "serif",
    }
    return [word for option, value in wanted.items() if option in understood for word in (option, value)]
