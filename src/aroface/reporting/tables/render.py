"""The tables of the paper, from a specification and the records there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import Literal, Unpack

from aroface.errors import InputError
from aroface.files import write_bytes, write_text
from aroface.reporting.records import Selection, load_records, selected
from aroface.reporting.tables import html, latex, plain, spreadsheet, word
from aroface.reporting.tables.build import build
from aroface.reporting.tables.citations import Citations, citations_above
from aroface.reporting.tables.citations import cite as cite_names
from aroface.reporting.tables.fit import PAGE_PT, fitted, turned
from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.grid import Grid, Mode, stacked
from aroface.reporting.tables.reshape import reshaped, with_form
from aroface.reporting.tables.spec import Rule, Spec, read_spec

Format = Literal["latex", "markdown", "html", "csv", "csv-excel", "terminal"]
FileFormat = Literal["xlsx", "docx"]

FORMATS: dict[Format, Callable[[Grid], str]] = {
    "latex": latex.render,
    "markdown": plain.markdown,
    "html": html.html,
    "csv": plain.csv_text,
    "csv-excel": plain.csv_excel,
    "terminal": plain.terminal,
}
FILES: dict[FileFormat, Callable[[Grid], bytes]] = {"xlsx": spreadsheet.xlsx, "docx": word.docx}
"""Formats that are no text."""


def make_grid(
    spec: str | PathLike[str] | Spec,
    records: str | PathLike[str],
    *,
    mode: Mode,
    caption_note: str | None = None,
    emphasis: Rule | None = None,
    form: TableForm | None = None,
    **shown: Unpack[Selection],
) -> Grid:
    """Fill one table.

    Args:
        spec: Specification, or its file.
        records: Folder of the records; not looked at in mode ``reported``.
        mode: See :func:`render_table`.
        caption_note: Last sentence of the caption instead of the specification's; an empty one drops it.
        emphasis: Rule for the values that stand out instead of the table's: ``as_paper``, ``best_second`` or ``none``.
        form: Rows, columns and looks, laid over the specification's own.
        shown: See :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: As of :func:`render_table`.
    """
    runs, experiments, labels = selected(shown)
    loaded_records = () if mode == "reported" else load_records(records, runs)
    table = spec if isinstance(spec, Spec) else read_spec(spec)
    if emphasis is not None:
        table = replace(table, emphasis=replace(table.emphasis, rule=emphasis))
    form = (form or TableForm()).over(table.form)
    table = with_form(table, form)
    grid = build(table, loaded_records, mode, experiments=experiments, labels=labels, caption_note=caption_note)
    return reshaped(grid, form)


class TableOptions(Selection, total=False):
    """The optional arguments of :func:`make_grid`."""

    caption_note: str | None
    emphasis: Rule | None
    form: TableForm | None


class TextOptions(TableOptions, total=False):
    """The optional arguments of :func:`render_table` beyond the format."""

    cite: bool
    say: Callable[[str], object]
    page: float


def render_table(
    spec: str | PathLike[str],
    records: str | PathLike[str],
    *,
    mode: Mode,
    format: Format | FileFormat = "latex",
    cite: bool = False,
    say: Callable[[str], object] = lambda line: None,
    page: float = PAGE_PT,
    **options: Unpack[TableOptions],
) -> str:
    """Render one table as a text.

    Args:
        spec: File under ``paper_tables/specs``.
        records: Folder of the records; not looked at in mode ``reported``.
        mode: ``reported`` values, ``reproduced`` ones (mean ± standard deviation over seeds), ``both``, or both with
            their difference (``delta``). A missing value is ``--``.
        format: ``latex``, ``markdown``, ``html`` (a page), ``csv`` (missing values are empty fields; for programs),
            ``csv-excel`` (the same for spreadsheet programs) or ``terminal``.
        cite: True to cite in LaTeX what the table names, by the keys of ``citations.yaml``.
        say: Function that is told what was changed so that a LaTeX table fits its line and page.
        page: Height of the page's text in points, higher than which a LaTeX table is turned.
        options: See :func:`make_grid`.

    Raises:
        InputError: A wrong specification or form, records that are invalid, ambiguous or not comparable, or a format
            that is no text.
    """
    if format == "xlsx" or format == "docx":
        raise InputError(f"{format} cannot be printed", remedy="name a file with --out")
    table = read_spec(spec)
    grid = make_grid(table, records, mode=mode, **options)
    if format != "latex":
        return FORMATS[format](grid)
    form = (options.get("form") or TableForm()).over(table.form)
    if cite:
        grid = _cited(grid, citations_above(table.path).of(table.cite), turned(stacked(grid), form, page)[0])
    return latex.render(grid, form, say, page)


def _cited(grid: Grid, citations: Citations, form: TableForm) -> Grid:
    """The table with citations in its rows, or below it where it would not stay in one piece with them."""
    cited = cite_names(grid, citations)
    if len(fitted(stacked(cited), form)[0].blocks) == len(fitted(stacked(grid), form)[0].blocks):
        return cited
    return cite_names(grid, citations, in_rows=False)


def write_table(
    spec: str | PathLike[str],
    records: str | PathLike[str],
    out: str | PathLike[str],
    *,
    mode: Mode,
    format: Format | FileFormat = "latex",
    **options: Unpack[TextOptions],
) -> None:
    """Render one table into the file ``out``, atomically; see :func:`render_table`.

    Formats are those and ``xlsx`` and ``docx``, which need the extra ``paper``.

    Raises:
        InputError: As there.
    """
    if format == "xlsx" or format == "docx":
        filled = {name: value for name, value in options.items() if name in TableOptions.__annotations__}
        write_bytes(out, FILES[format](make_grid(spec, records, mode=mode, **filled)))  # type: ignore[arg-type]
    else:
        write_text(out, render_table(spec, records, mode=mode, format=format, **options))
