"""Forms of tables and figures in a template: the one place that knows how they are fitted to a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aroface.reporting.export.templates import VenueTemplate
from aroface.reporting.records import Selection
from aroface.reporting.tables.fit import fitted
from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.grid import Mode, stacked
from aroface.reporting.tables.render import make_grid, render_table
from aroface.reporting.tables.spec import Spec

MILLIMETRE = 72.27 / 25.4
"""Points of TeX in a millimetre."""


def render_for(
    template: VenueTemplate,
    spec: Spec,
    folder: Path,
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
        mode: Values to print.
        caption_note: Last sentence of the caption.
        selection: Runs that count, their experiments and labels.

    Raises:
        InputError: See :func:`aroface.reporting.tables.render.render_table`.
    """
    grid = stacked(make_grid(spec, folder, mode=mode, caption_note=caption_note, **selection))
    form = TableForm(width=template.column, font=template.font)
    fit, _ = fitted(grid, form)
    whole = len(fit.blocks) == 1 and fit.width <= form.width
    if template.columns == 2 and not (whole and len(fit.headers) == len(grid.row_headers)):
        form = replace(form, environment="table*", width=template.text)
    return render_table(
        spec.path,
        folder,
        mode=mode,
        caption_note=caption_note,
        form=form,
        cite=True,
        page=template.height,
        **selection,
    )


def figure_options(template: VenueTemplate, spanning: bool = False) -> list[str]:
    """Options of ``aroface figure`` that fit a figure to the template.

    Args:
        template: Class of the document.
        spanning: True for a figure that spans all columns.
    """
    width = (template.text if spanning else template.column) / MILLIMETRE
    return ["--width", f"{width:.2f}", "--font", "times" if template.font == "times" else "serif"]
