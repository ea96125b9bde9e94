"""Figure 1: what face alignment errors cost, with example faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aroface.errors import InputError
from aroface.humanize import listing
from aroface.reporting.figures.curves import Curve, factors, load_sweep, qualities
from aroface.reporting.figures.form import DEFAULT_FORM, FigureForm, text_inches
from aroface.reporting.figures.layout import (
    AXES,
    LEFT,
    RIGHT,
    Look,
    PanelGrid,
    beside,
    draw_legend,
    legend_height,
    looks,
    place,
)
from aroface.reporting.figures.save import save_figure
from aroface.reporting.figures.words import FigureWords, method_names, per_cent
from aroface.reporting.records import RecordedExperiment, Selection, selected
from aroface.reporting.text import DEFAULT_METRIC, metric_name, over_seeds, quality_name

Sheet = str | Path | NDArray[np.uint8]
Curves = Mapping[RecordedExperiment, Mapping[tuple[str, str], Curve]]

SHEET_TITLE, SHEET_GAP, SHEET_NAMES = 0.19, 0.1, ("(a)\naligned", "(b)\nmisaligned")
PANEL_GAP, LEAST_PANEL, PANEL_HEIGHTS = 0.13, 0.85, (0.85, 1.2)  # inches


def figure_fae(
    records: str | PathLike[str],
    benchmark: str,
    out: str | PathLike[str],
    *,
    examples: tuple[Sheet, Sheet] | None = None,
    metric: str = DEFAULT_METRIC,
    low: str | None = None,
    form: FigureForm = DEFAULT_FORM,
    caption_note: str | None = None,
    command: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw figure 1: example faces, and what face alignment errors cost at full and at low quality.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex`` (a figure environment with the caption).

    Args:
        records: Folder of the records.
        benchmark: Key of a benchmark with protocol ``sensitivity``.
        out: Path of the files without their suffix.
        examples: Contact sheets of high-quality and of low-quality faces, as PNG files or uint8 H×W×3 arrays; the upper
            half of each shows them aligned, the lower half the same faces misaligned. None leaves them out.
        metric: Metric of the series.
        low: Low quality, such as ``r24``; None takes the lowest resolution there is.
        form: Width and typeface.
        caption_note: Last sentence of the caption.
        command: Command that draws the figure, for its files.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: There are no such records, they are ambiguous or not comparable, or an example is no picture.
    """
    sweep = load_sweep(records, benchmark, metric, shown)
    _, experiments, labels = selected(shown)
    rows, columns = qualities([*sweep.curves.values()], low), factors([*sweep.curves.values()])
    sheets = [_pixels(sheet) for sheet in examples or ()]
    styles = looks([*sweep.curves], labels, experiments or ())
    words = FigureWords(
        f"Effect of face alignment errors on {metric_name(metric)[0]}",
        _caption(metric, rows, columns, sweep.seeds, bool(sheets)),
        _alt(sweep.curves, styles, rows, columns, metric),
    )
    save_figure(
        out,
        lambda: draw(sweep.curves, styles, rows, columns, metric, sheets, form),
        words,
        sweep.paths,
        form=form,
        note=caption_note,
        command=command,
    )


def _pixels(sheet: Sheet) -> NDArray[Any]:
    if isinstance(sheet, np.ndarray):
        return sheet
    try:
        return imread(sheet)
    except (OSError, SyntaxError) as error:
        raise InputError(f"not a picture ({error})", file=sheet, expected="a PNG file") from None


def draw(
    found: Curves,
    styles: Mapping[RecordedExperiment, Look],
    rows: Sequence[str],
    columns: Sequence[str],
    metric: str,
    sheets: Sequence[NDArray[Any]] = (),
    form: FigureForm = DEFAULT_FORM,
) -> Figure:
    """Draw the figure; call this and save it within ``matplotlib.rc_context(style(form))``.

    Args:
        found: Curves of each experiment by quality and factor.
        styles: Look of each experiment.
        rows: Qualities, one row of panels each.
        columns: Factors, one column of panels each.
        metric: Name of the metric.
        sheets: Contact sheets: none, or one for each quality, aligned faces above the same misaligned.
        form: Width and typeface.
    """
    names = SHEET_NAMES if sheets else ()
    left = max(LEFT, *(text_inches(name, rcParams["xtick.labelsize"]) + 0.1 for name in (*names, "100")))
    titles = [f"({letter}) {AXES[factor][0]}" for letter, factor in zip(_letters(sheets), columns, strict=False)]
    grid = _grid(len(rows), columns, titles, left, form)
    width = (form.inches - left - RIGHT - SHEET_GAP) / 2
    sheet_height = max((width * sheet.shape[0] / sheet.shape[1] for sheet in sheets), default=0.0)
    top = SHEET_TITLE + sheet_height + SHEET_GAP if sheets else 0.0
    height = top + grid.height + legend_height(styles.values(), room=form.inches)
    figure = Figure(figsize=(form.inches, height))
    for i, (sheet, quality) in enumerate(zip(sheets, rows, strict=False)):
        axes = place(figure, left + i * (width + SHEET_GAP), SHEET_TITLE, width, sheet_height)
        _draw_sheet(axes, sheet, quality, named=i == 0)
    panels = grid.place(figure, top)
    for j, (factor, title, label) in enumerate(zip(columns, titles, _axis_labels(columns, grid, form), strict=True)):
        panels[0][j].set_title(title)
        panels[-1][j].set_xlabel(label)
        for i, quality in enumerate(rows):
            _draw_panel(panels[i][j], found, styles, quality, factor)
    for quality, limits, row in zip(rows, _ranges(found, rows), panels, strict=True):
        row[0].set_ylim(limits)
        for axes in grid.ends(row):
            axes.annotate(
                quality_name(quality), (1, 0.5), (4, 0), "axes fraction", "offset points", rotation=270, va="center"
            )
    grid.label_ordinate(figure, top, metric_name(metric)[1])
    draw_legend(figure, styles.values())
    return figure


def _letters(sheets: Sequence[NDArray[Any]]) -> str:
    return "cdef" if sheets else "abcd"


def _grid(rows: int, columns: Sequence[str], titles: Sequence[str], left: float, form: FigureForm) -> PanelGrid:
    texts = [*titles, *(_short_label(factor) for factor in columns)]
    least = max(LEAST_PANEL, *(text_inches(text, rcParams["axes.labelsize"]) + 0.08 - PANEL_GAP for text in texts))
    room = form.inches - left - RIGHT
    across = beside(len(columns), least, room, PANEL_GAP)
    width = (room - (across - 1) * PANEL_GAP) / across
    low, high = PANEL_HEIGHTS
    height = low if across < len(columns) else float(np.clip(1.05 * width, low, high))
    return PanelGrid(len(columns), across, [height] * rows, (PANEL_GAP, PANEL_GAP), left, RIGHT)


def _short_label(factor: str) -> str:
    return AXES[factor][1].replace(" error", "")


def _axis_labels(columns: Sequence[str], grid: PanelGrid, form: FigureForm) -> list[str]:
    """Labels of the abscissas, the short ones where one of the long ones would run into its neighbour."""
    long = [AXES[factor][1] for factor in columns]
    room = (form.inches - grid.left - grid.right + PANEL_GAP) / grid.across - 0.08
    fit = all(text_inches(label, rcParams["axes.labelsize"]) <= room for label in long)
    return long if fit else [_short_label(factor) for factor in columns]


def _ranges(found: Curves, rows: Sequence[str]) -> list[tuple[float, float]]:
    """Limits of the metric for each quality: all of one length, so that a drop looks the same size everywhere."""
    ends = []
    for quality in rows:
        drawn = [curve for each in found.values() for curve in each.values() if curve.quality == quality]
        ends.append((min(min(curve.low) for curve in drawn) * 100, max(max(curve.high) for curve in drawn) * 100))
    length = max(high - low for low, high in ends) * 1.08
    limits = []
    for low, high in ends:
        top = min((low + high + length) / 2, 100.0)
        bottom = max(top - length, 0.0)
        limits.append((bottom, bottom + length))
    return limits


def _draw_sheet(axes: Axes, sheet: NDArray[Any], quality: str, named: bool) -> None:
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.set_title(quality_name(quality))
    if named:
        for name, height in zip(SHEET_NAMES, (0.75, 0.25), strict=True):
            axes.annotate(
                name,
                (0, height),
                (-3, 0),
                "axes fraction",
                "offset points",
                fontsize=rcParams["xtick.labelsize"],
                ha="right",
                va="center",
            )


def _draw_panel(
    axes: Axes, found: Curves, styles: Mapping[RecordedExperiment, Look], quality: str, factor: str
) -> None:
    unit = AXES[factor][2]
    for experiment, look in styles.items():
        curve = found[experiment].get((quality, factor))
        if curve is None:
            continue
        levels = np.multiply(curve.levels, unit)
        low, values, high = (np.multiply(each, 100) for each in (curve.low, curve.values, curve.high))
        axes.fill_between(levels, low, high, color=look.colour, alpha=0.13, linewidth=0)
        axes.plot(levels, values, color=look.colour, linestyle=look.dashes)
        faces = [look.colour if sure else "white" for sure in curve.significant]
        for level, value, face in zip(levels, values, faces, strict=True):
            if level > 0:  # the point without an error is the reference, not a finding
                axes.plot(level, value, look.marker, color=look.colour, markerfacecolor=face, clip_on=False, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _caption(metric: str, rows: Sequence[str], columns: Sequence[str], seeds: Sequence[int], sheets: bool) -> str:
    faces = f"(a) aligned and (b) misaligned faces, {' and '.join(map(quality_name, rows))}; " if sheets else ""
    letters = ("cdef" if sheets else "abcd")[: len(columns)]
    span = f"({letters[0]}–{letters[-1]})" if len(letters) > 1 else f"({letters[0]})"
    errors = ", ".join(AXES[factor][0] for factor in columns)
    bands = "95 % confidence intervals over draws of people" + ("" if seeds == [1] else ", averaged over seeds")
    return (
        f"Effect of face alignment errors: {faces}{span} {metric_name(metric)[0]} against the error of the probes "
        f"({errors}), at {' (top) and '.join(map(quality_name, rows))}{' (bottom)' if len(rows) > 1 else ''}, "
        f"{over_seeds(seeds)}. Bands are {bands}; filled marks differ significantly from perfect alignment."
    )


def _alt(
    found: Curves, styles: Mapping[RecordedExperiment, Look], rows: Sequence[str], columns: Sequence[str], metric: str
) -> str:
    names = {experiment: look.name for experiment, look in styles.items()}
    panels = [(quality, factor) for quality in rows for factor in columns]
    drawn = {
        panel: {each: found[each][panel] for each in styles if panel in found[each]}
        for panel in panels
        if any(panel in found[each] for each in styles)
    }
    tops = [names[max(curves, key=lambda each: curves[each].values[-1])] for curves in drawn.values()]
    best = max(dict.fromkeys(tops), key=tops.count)
    falls = [
        (curve.values[0] - curve.values[-1], names[each], panel, curve)
        for panel, curves in drawn.items()
        for each, curve in curves.items()
    ]
    _, loser, (quality, factor), curve = max(falls, key=lambda fall: fall[0])
    highest = f"At the largest error {best} is highest in {tops.count(best)} of {len(tops)} panels. "
    kinds = listing([{"joint": "all of them at once"}.get(each, AXES[each][0]) for each in columns])
    kind = {"joint": "errors of all three kinds"}.get(factor, f"errors of {factor}")
    return (
        f"Line plots of {metric_name(metric)[0]} against errors of {kinds} at "
        f" {listing([quality_name(each) for each in rows])} for {method_names(names.values())}. "
        f"{highest if len(names) > 1 else ''}The largest drop is that of {loser} under {kind} at "
        f"{quality_name(quality)}, from {per_cent(curve.values[0])} to {per_cent(curve.values[-1])}."
    )
