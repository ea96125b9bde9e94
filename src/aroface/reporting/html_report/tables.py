"""Tables as the report shows them: every number a link to what stands behind it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from aroface.errors import InputError
from aroface.reporting.anchors import cell_anchor, run_anchor, table_anchor
from aroface.reporting.explain import Explanation, Fact, Trace, explain_table
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.tables import html
from aroface.reporting.tables.build import build
from aroface.reporting.tables.cells import Line, lines
from aroface.reporting.tables.grid import Mode
from aroface.reporting.tables.spec import EMPTY, Spec


@dataclass(frozen=True, slots=True)
class Explained:
    """A cell's explanation; ``anchor`` is its id."""

    anchor: str
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class TableView:
    """A table as it is shown.

    Attributes:
        anchor: Identifier in the page.
        name: Name of the table.
        caption: Caption, plain text.
        body: Element of the table, in HTML; empty where the records do not allow one.
        remarks: Notes below it, in HTML.
        source: Source of its reported values; None where it has none.
        cells: Explanations of its cells, those left out that an earlier table has.
        missing: Number of its values without a result, and number of all.
        error: Reason for the missing table.
    """

    anchor: str
    name: str
    caption: str
    body: str
    remarks: tuple[str, ...]
    source: str | None
    cells: tuple[Explained, ...]
    missing: tuple[int, int] = (0, 0)
    error: str | None = None


def view_tables(
    specs: Iterable[Spec],
    trace: Trace,
    *,
    experiments: Sequence[RecordedExperiment],
    labels: Mapping[str, str] = EMPTY,
    note: str | None = None,
) -> list[TableView]:
    """Fill the tables from the records there are, with the authors' values and the difference where there are any.

    Args:
        specs: Specifications of the tables, in their order.
        trace: Records, and the place of runs and recipes.
        experiments: Experiments of the configuration.
        labels: Printed names of methods and data sets by their keys.
        note: Last sentence of each caption.
    """
    views: list[TableView] = []
    taken: set[str] = set()
    for spec in specs:
        anchor = table_anchor(spec.name)
        while anchor in {view.anchor for view in views}:
            anchor += "-also"
        try:
            view = _view(spec, anchor, trace, experiments, labels, note, taken)
        except InputError as error:
            view = TableView(anchor, spec.name, spec.caption, "", (), None, (), error=str(error))
        taken |= {cell.anchor for cell in view.cells}
        views.append(view)
    return views


def _view(
    spec: Spec,
    anchor: str,
    trace: Trace,
    experiments: Sequence[RecordedExperiment],
    labels: Mapping[str, str],
    note: str | None,
    taken: Collection[str],
) -> TableView:
    table = lines(spec, trace.records, experiments, labels)
    planned = [line for line in table if line.experiment in experiments]
    mode: Mode = "reported" if not planned and spec.rows is not None and spec.compares else "delta"
    shown_note = None if mode == "reported" else note
    grid = build(spec, trace.records, mode, experiments=experiments, labels=labels, caption_note=shown_note)
    cells = {cell_anchor(spec.name, each.row, each.column): each for each in explain_table(spec, table, trace)}
    return TableView(
        anchor,
        spec.name,
        grid.caption,
        html.table(grid, f"{anchor}-values", link=lambda row, column: f"#{cell_anchor(spec.name, row, column)}"),
        tuple(html.remarks(grid)),
        str(spec.source) if spec.source else None,
        tuple(Explained(name, each) for name, each in cells.items() if name not in taken),
        _missing(planned, spec, cells.values()),
    )


def _missing(planned: Sequence[Line], spec: Spec, cells: Iterable[Explanation]) -> tuple[int, int]:
    rows = {line.row.key for line in planned}
    without = sum(
        any(fact.name == "reproduced" and fact.text.startswith("no result") for fact in cell.blocks[0])
        for cell in cells
        if cell.row in rows
    )
    return without, len(rows) * len(spec.columns)


def fact_html(fact: Fact, folder: Path) -> str:
    """A fact's text in HTML; a file that is there and a run are links.

    Args:
        fact: Fact of an explanation.
        folder: Folder of the page, which links are relative to.
    """
    text = escape(fact.text)
    if fact.path is not None and fact.path.exists():
        goal, name = escape(relative(fact.path, folder)), escape(fact.path.as_posix())
        before, matched, after = text.partition(name)
        link = f'<a href="{goal}">{name if matched else escape(fact.path.name)}</a>'
        text = f"{before}{link}{after}" if matched else f"{text} ({link})"
    if fact.run is not None:
        text += f' (<a href="#{run_anchor(fact.run)}">its run</a>)'
    return text


def relative(path: Path, folder: Path) -> str:
    """A path as a link of a page that lies in ``folder``."""
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())
