"""Layout of figure 1 (example faces, a panel for each quality and kind of error), and looks that figures share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aroface.reporting.figures.curves import Curve
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.text import metric_name, quality_name

TEXT_WIDTH = 122 / 25.4  # inches; Springer's LNCS page
STYLE: Any = {  # matplotlib's stubs list every key as a literal
    "font.family": ["cmr10"],
    "mathtext.fontset": "cm",
    "axes.formatter.use_mathtext": True,
    "axes.unicode_minus": False,
    "pdf.fonttype": 42,  # publishers refuse matplotlib's default, Type 3
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlepad": 4,
    "axes.labelsize": 8,
    "axes.labelpad": 2,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.4,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 2.9,
    "lines.markeredgewidth": 0.8,
}
# Okabe and Ito's colours, which people with any colour vision tell apart: one a head.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# One line and marker for each way of treating the training images, so that colour is not the only key.
TREATMENTS: dict[str, tuple[Any, str]] = {
    "": ((0, (4, 1.6)), "s"),
    "random": ((0, (1, 1.2)), "^"),
    "aroface": ("-", "o"),
}
OTHER_TREATMENT = ((0, (5, 1.2, 1, 1.2)), "D")
# For those that would look like another one in every colour.
FURTHER: tuple[tuple[Any, str], ...] = (
    *(((0, (2, 1)), "v"), ((0, (7, 1.5)), "P"), ((0, (3, 1, 1, 1, 1, 1)), "X")),
    *(((0, (9, 2)), "<"), ((0, (1, 2)), ">"), ((0, (6, 1, 2, 1)), "*"), ((0, (4, 4)), "p")),
)
# Title of a factor's panels, label of their axis, and what a level is multiplied with.
AXES = {
    "scale": ("scale", "scale error (%)", 100.0),
    "rotation": ("rotation", "rotation error (deg)", 1.0),
    "shift": ("shift", "shift (% of width)", 100.0),
    "joint": ("jointly", "% of maximum", 100.0),
}
# Measures of the figure, in inches.
LEFT, RIGHT = 0.5, 0.19
SHEET_TITLE, SHEET_GAP = 0.19, 0.1
PANEL, PANEL_GAP, PANEL_TITLE, PANEL_LABELS = 0.98, 0.13, 0.2, 0.36
LEGEND_LINE, LEGEND_EDGE, LEGEND_COLUMNS = 0.144, 0.09, 3
HANDLE, COLUMN_SPACE = 2.6, 1.6  # of the legend, in sizes of its type


@dataclass(frozen=True, slots=True)
class Look:
    """Look of the lines of one experiment."""

    label: str
    colour: str
    dashes: Any
    marker: str


def figure_text(label: str) -> str:
    """A label as matplotlib prints it in the figures' typeface: no dollar sign of it begins mathematics."""
    # Computer Modern's roman has a dot accent where other fonts have the underscore.
    return label.replace("$", r"\$").replace("_", r"$\_$")


def looks(
    experiments: Sequence[RecordedExperiment], labels: Mapping[str, str], among: Iterable[RecordedExperiment] = ()
) -> dict[RecordedExperiment, Look]:
    """A colour for each head, a line and a marker for each treatment, and a name for the legend.

    Data set and backbone are part of the name only where they tell experiments apart. What would look like an
    experiment before it takes another colour, and where there is none left another line.

    Args:
        experiments: Experiments that a figure shows.
        labels: Printed names by key.
        among: Experiments that all figures show together, so that a head has one colour in all of them.
    """
    heads = list(dict.fromkeys(experiment.method.partition("_")[0] for experiment in (*among, *experiments)))
    several = [key for key in ("dataset", "arch") if len({getattr(each, key) for each in experiments}) > 1]
    assigned: dict[RecordedExperiment, Look] = {}
    for experiment in experiments:
        head, _, treatment = experiment.method.partition("_")
        details = [labels.get(getattr(experiment, key), getattr(experiment, key)) for key in several]
        name = labels.get(experiment.method, experiment.method) + (f" ({', '.join(details)})" if details else "")
        name = figure_text(name)
        own = COLOURS[heads.index(head) % len(COLOURS)]
        others = [colour for colour in COLOURS if colour not in COLOURS[: len(heads)]]
        lines = (TREATMENTS.get(treatment, OTHER_TREATMENT), *FURTHER)
        choices = [(colour, *line) for line in lines for colour in (own, *others, *COLOURS)]
        taken = {(look.colour, look.marker) for look in assigned.values()}
        free = next((each for each in choices if (each[0], each[2]) not in taken), choices[0])
        assigned[experiment] = Look(name, *free)
    return assigned


def draw(
    found: Mapping[RecordedExperiment, Mapping[tuple[str, str], Curve]],
    styles: Mapping[RecordedExperiment, Look],
    rows: Sequence[str],
    columns: Sequence[str],
    metric: str,
    sheets: Sequence[NDArray[Any]] = (),
) -> Figure:
    """Draw the figure; call this and save it within ``matplotlib.rc_context(STYLE)``.

    Args:
        found: Curves of each experiment by quality and factor.
        styles: Look of each experiment.
        rows: Qualities, one row of panels each.
        columns: Factors, one column of panels each.
        metric: Name of the metric.
        sheets: Contact sheets: none, or one for each quality, aligned faces above the same misaligned.
    """
    width = (TEXT_WIDTH - LEFT - RIGHT - SHEET_GAP) / 2
    sheet_height = max((width * sheet.shape[0] / sheet.shape[1] for sheet in sheets), default=0.0)
    top = (SHEET_TITLE + sheet_height + SHEET_GAP if sheets else 0.0) + PANEL_TITLE
    height = top + _panels_height(len(rows)) + PANEL_LABELS + legend_height(styles.values())
    figure = Figure(figsize=(TEXT_WIDTH, height))
    for i, (sheet, quality) in enumerate(zip(sheets, rows, strict=False)):
        axes = place(figure, LEFT + i * (width + SHEET_GAP), SHEET_TITLE, width, sheet_height)
        _draw_sheet(axes, sheet, quality, named=i == 0)
    panels = _place_panels(figure, top, len(rows), len(columns))
    letters = "cdef" if sheets else "abcd"
    for j, factor in enumerate(columns):
        panels[0][j].set_title(f"({letters[j]}) {AXES[factor][0]}")
        panels[-1][j].set_xlabel(AXES[factor][1])
        for i, quality in enumerate(rows):
            _draw_panel(panels[i][j], found, styles, quality, factor)
    for quality, limits, row in zip(rows, _ranges(found, rows), panels, strict=True):
        row[0].set_ylim(limits)
        row[-1].text(1.06, 0.5, quality_name(quality), rotation=270, va="center", transform=row[-1].transAxes)
    middle = 1 - (top + _panels_height(len(rows)) / 2) / figure.get_figheight()
    figure.text(0.012, middle, metric_name(metric)[1], rotation=90, va="center", ha="left")
    draw_legend(figure, styles.values())
    return figure


def _panels_height(rows: int) -> float:
    return rows * PANEL + (rows - 1) * PANEL_GAP


def place(
    figure: Figure,
    left: float,
    top: float,
    width: float,
    height: float,
    sharex: Axes | None = None,
    sharey: Axes | None = None,
) -> Axes:
    """Axes at a place given in inches from the upper left corner."""
    across, down = figure.get_figwidth(), figure.get_figheight()
    rectangle = (left / across, 1 - (top + height) / down, width / across, height / down)
    return figure.add_axes(rectangle, sharex=sharex, sharey=sharey)


def _place_panels(figure: Figure, top: float, rows: int, columns: int) -> list[list[Axes]]:
    width = (TEXT_WIDTH - LEFT - RIGHT - (columns - 1) * PANEL_GAP) / columns
    panels: list[list[Axes]] = []
    for i in range(rows):
        panels.append([])
        for j in range(columns):
            left, down = LEFT + j * (width + PANEL_GAP), top + i * (PANEL + PANEL_GAP)
            above, beside = panels[0][j] if i else None, panels[i][0] if j else None
            axes = place(figure, left, down, width, PANEL, sharex=above, sharey=beside)
            axes.tick_params(labelleft=j == 0, labelbottom=i == rows - 1)
            panels[i].append(axes)
    return panels


def _ranges(
    found: Mapping[RecordedExperiment, Mapping[tuple[str, str], Curve]], rows: Sequence[str]
) -> list[tuple[float, float]]:
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
        for letter, title, height in (("a", "aligned", 0.75), ("b", "perturbed", 0.25)):
            axes.text(
                -0.02, height, f"({letter})\n{title}", fontsize=7, ha="right", va="center", transform=axes.transAxes
            )


def _draw_panel(
    axes: Axes,
    found: Mapping[RecordedExperiment, Mapping[tuple[str, str], Curve]],
    styles: Mapping[RecordedExperiment, Look],
    quality: str,
    factor: str,
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


def legend_height(styles: Collection[Look], further: Sequence[Artist] = ()) -> float:
    """Inches that :func:`draw_legend` needs at the bottom of a figure."""
    return LEGEND_LINE * max(len(column) for column in _legend_columns(styles, further)) + LEGEND_EDGE


def draw_legend(
    figure: Figure, styles: Collection[Look], further: Sequence[Artist] = (), *, markers: bool = True
) -> None:
    """A legend at the bottom, with a column for each treatment and a line for each head where there is room.

    Args:
        figure: Figure that gets it.
        styles: Looks of its lines.
        further: Handles after these, with labels of their own.
        markers: True if the lines have markers.
    """
    columns = _legend_columns(styles, further)
    rows = max(len(column) for column in columns)
    # Matplotlib fills columns one after the other: what is missing in one would be taken from the next.
    entries = [entry for column in columns for entry in (*column, *[None] * (rows - len(column)))]
    figure.legend(
        handles=[_legend_handle(entry, markers) for entry in entries],
        loc="lower center",
        ncols=len(columns),
        frameon=False,
        borderaxespad=0,
        handlelength=HANDLE,
        columnspacing=COLUMN_SPACE,
        labelspacing=0.3,
    )


def _legend_handle(entry: Look | Artist | None, markers: bool) -> Artist:
    if isinstance(entry, Artist):
        return entry
    if entry is None:
        return Line2D([], [], linestyle="", label=" ")
    marker = entry.marker if markers else ""
    return Line2D([], [], color=entry.colour, linestyle=entry.dashes, marker=marker, label=entry.label)


def _legend_columns(styles: Collection[Look], further: Sequence[Artist]) -> list[list[Look | Artist]]:
    """A column for each treatment and what comes after them, or as many even columns as fit beside each other."""
    known = [marker for _, marker in (*TREATMENTS.values(), OTHER_TREATMENT, *FURTHER)]
    treatments = sorted({look.marker for look in styles}, key=known.index)
    columns: list[list[Look | Artist]] = [[look for look in styles if look.marker == each] for each in treatments]
    rows = max((len(column) for column in columns), default=1)
    columns += [[*further[begin : begin + rows]] for begin in range(0, len(further), rows)]
    entries = [entry for column in columns for entry in column]
    labels = [str(entry.get_label()) if isinstance(entry, Artist) else entry.label for entry in entries]
    fit = _columns_that_fit(labels)
    if len(columns) <= fit:
        return columns
    rows = -(-len(entries) // fit)
    return [entries[begin : begin + rows] for begin in range(0, len(entries), rows)]


def _columns_that_fit(labels: Sequence[str]) -> int:
    """Number of columns of a legend that have room beside each other, at least one."""
    size, font = float(STYLE["legend.fontsize"]), FontProperties(family=STYLE["font.family"])
    widest = max((TextPath((0, 0), label, size=size, prop=font).get_extents().width for label in labels), default=0.0)
    column = (widest + (HANDLE + 0.8 + COLUMN_SPACE) * size) / 72
    return max(1, min(LEGEND_COLUMNS, int((TEXT_WIDTH + COLUMN_SPACE * size / 72) / column)))
