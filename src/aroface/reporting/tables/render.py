"""The tables of the paper, from a specification and the records there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import Literal, Unpack

from aroface.files import write_text
from aroface.reporting.records import Selection, load_records, selected
from aroface.reporting.tables import html, latex, plain
from aroface.reporting.tables.build import build
from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.grid import Grid, Mode
from aroface.reporting.tables.reshape import reshaped, with_form
from aroface.reporting.tables.spec import Rule, read_spec

Format = Literal["latex", "markdown", "html", "csv", "terminal"]

FORMATS: dict[Format, Callable[[Grid], str]] = {
    "latex": latex.render,
    "markdown": plain.markdown,
    "html": html.html,
    "csv": plain.csv_text,
    "terminal": plain.terminal,
}


def render_table(
    spec: str | PathLike[str],
    records: str | PathLike[str],
    *,
    mode: Mode,
    format: Format = "latex",
    caption_note: str | None = None,
    emphasis: Rule | None = None,
    form: TableForm | None = None,
    say: Callable[[str], object] = lambda line: None,
    **shown: Unpack[Selection],
) -> str:
    """Render one table.

    Args:
        spec: File under ``paper_tables/specs``.
        records: Folder of the records; not looked at in mode ``reported``.
        mode: ``reported`` values, ``reproduced`` ones (mean ± standard deviation over seeds), ``both``, or both with
            their difference (``delta``). A missing value is ``--``.
        format: ``latex``, ``markdown``, ``html`` (a page), ``csv`` (missing values are empty fields) or ``terminal``.
        caption_note: Last sentence of the caption instead of the specification's; an empty one drops it.
        emphasis: Rule for the values that stand out instead of the table's: ``as_paper``, ``best_second`` or ``none``.
        form: Rows, columns and looks; where it has the defaults, the specification's own form decides.
        say: Function that is told what was changed so that a LaTeX table fits its line.
        shown: See :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: A wrong specification or form, or records that are invalid, ambiguous or not comparable.
    """
    runs, experiments, labels = selected(shown)
    loaded_records = () if mode == "reported" else load_records(records, runs)
    table = read_spec(spec)
    if emphasis is not None:
        table = replace(table, emphasis=replace(table.emphasis, rule=emphasis))
    form = (form or TableForm()).over(table.form)
    table = with_form(table, form)
    grid = build(table, loaded_records, mode, experiments=experiments, labels=labels, caption_note=caption_note)
    grid = reshaped(grid, form)
    return latex.render(grid, form, say) if format == "latex" else FORMATS[format](grid)


class RenderOptions(Selection, total=False):
    """The optional arguments of :func:`render_table`."""

    format: Format
    caption_note: str | None
    emphasis: Rule | None
    form: TableForm | None
    say: Callable[[str], object]


def write_table(
    spec: str | PathLike[str],
    records: str | PathLike[str],
    out: str | PathLike[str],
    *,
    mode: Mode,
    **options: Unpack[RenderOptions],
) -> None:
    """Render one table into the file ``out``, atomically; see :func:`render_table`."""
    write_text(out, render_table(spec, records, mode=mode, **options))
