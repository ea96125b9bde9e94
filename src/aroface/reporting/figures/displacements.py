"""Figure of the adversary's choices: how images were scaled, turned and shifted, and how far landmarks moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Unpack

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aroface.reporting.figures.layout import PANEL_TITLE, TEXT_WIDTH, Look, draw_legend, legend_height, looks, place
from aroface.reporting.figures.save import save_figure
from aroface.reporting.figures.training import Courses, draw_nothing
from aroface.reporting.histories import NO_ADVERSARY, Gap, History, by_experiment, gap_words, load_histories, seed_words
from aroface.reporting.records import RecordedExperiment, Selection, selected

# Title of a quantity's panels, label of their axis, what a value is multiplied with, and where no image is moved.
QUANTITIES = {
    "scale": ("scale", "factor", 1.0, 1.0),
    "rotation": ("rotation", "degrees", 1.0, 0.0),
    "shift_x": ("shift in x", "% of width", 100.0, 0.0),
    "shift_y": ("shift in y", "% of height", 100.0, 0.0),
    "landmarks": ("landmarks", "pixels", 1.0, 0.0),
}
ROWS = {"whole": "whole training", "last_epoch": "last epoch"}
NOTHING = "No training has recorded what its adversary did."
TAIL = 1e-3  # of the images may lie beyond the ends of an axis, on each side
# Measures of the figure, in inches.
LEFT, RIGHT, PANEL, GAP, AXIS_LABEL = 0.2, 0.19, 0.78, 0.12, 0.36
START_COLOUR, BUDGET_COLOUR = "0.88", "0.35"


def figure_displacements(
    runs_dir: str | PathLike[str],
    out: str | PathLike[str],
    *,
    caption_note: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw how the adversary of each method displaced its images, from ``history.json`` of the runs.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex``. Where no training has counted, the picture says so.

    Args:
        runs_dir: ``results/runs``.
        out: Path of the files without their suffix.
        caption_note: Last sentence of the caption.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: A history is malformed, or the seeds of an experiment were trained for different numbers of steps.
    """
    runs, experiments, labels = selected(shown)
    histories, unrecorded = load_histories(runs_dir, runs)
    attacked = [history for history in histories if history.adversary != NO_ADVERSARY]
    counted = [history for history in attacked if history.content["displacements"] is not None]
    groups = by_experiment(counted, experiments)
    caption = _caption(groups)
    gaps = gap_words(_gaps(attacked, unrecorded), labels)
    among = experiments or ()
    save_figure(out, lambda: draw_displacements(groups, labels, among), f"{caption} {gaps}".strip(), caption_note)


def _gaps(attacked: Sequence[History], unrecorded: Sequence[Gap]) -> list[Gap]:
    """The trainings with an adversary whose choices nobody counted."""
    known = {each.experiment for each in attacked}
    known |= {gap.experiment for gap in unrecorded if gap.adversary not in (None, NO_ADVERSARY)}
    uncounted = [each.gap for each in attacked if each.content["displacements"] is None]
    return [*uncounted, *(gap for gap in unrecorded if gap.experiment in known)]


def draw_displacements(found: Courses, labels: Mapping[str, str], among: Iterable[RecordedExperiment] = ()) -> Figure:
    """Draw the figure; call this within the style of the paper.

    Args:
        found: Courses of each experiment with an adversary, one a seed, all of them with counts.
        labels: Printed names by key.
        among: Experiments of all figures, see :func:`aroface.reporting.figures.layout.looks`.
    """
    if not found:
        return draw_nothing(NOTHING)
    styles = looks([*found], labels, among)
    marks: list[Artist] = [
        Patch(color=START_COLOUR, label="where warps start"),
        Line2D([], [], color=BUDGET_COLOUR, linewidth=0.6, linestyle=(0, (2, 2)), label="reach of the steps"),
    ]
    panels_height = len(ROWS) * PANEL + (len(ROWS) - 1) * GAP
    height = PANEL_TITLE + panels_height + AXIS_LABEL + legend_height(styles.values(), marks)
    figure = Figure(figsize=(TEXT_WIDTH, height))
    width = (TEXT_WIDTH - LEFT - RIGHT - (len(QUANTITIES) - 1) * GAP) / len(QUANTITIES)
    for column, (quantity, (title, unit, factor, centre)) in enumerate(QUANTITIES.items()):
        panels: list[Axes] = []
        for row, part in enumerate(ROWS):
            left, down = LEFT + column * (width + GAP), PANEL_TITLE + row * (PANEL + GAP)
            first = panels[0] if panels else None
            panels.append(place(figure, left, down, width, PANEL, sharex=first, sharey=first))
            panels[row].tick_params(left=False, labelleft=False, labelbottom=row == len(ROWS) - 1)
            panels[row].grid(visible=False)
            _draw_marks(panels[row], found, quantity, factor)
            for experiment, group in found.items():
                _draw_histogram(panels[row], group, quantity, part, factor, styles[experiment])
        panels[0].set_title(f"({'abcde'[column]}) {title}")
        panels[0].set_xlim(*_limits(found, quantity, factor, centre))
        panels[0].set_ylim(bottom=0)
        panels[0].xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
        panels[-1].set_xlabel(unit)
    for axes, name in zip(panels, ROWS.values(), strict=True):
        axes.text(1.06, 0.5, name, rotation=270, va="center", transform=axes.transAxes)
    middle = 1 - (PANEL_TITLE + panels_height / 2) / height
    figure.text(0.012, middle, "share of warped images", rotation=90, va="center", ha="left")
    draw_legend(figure, styles.values(), marks, markers=False)
    return figure


def shares(history: History, quantity: str, part: str) -> NDArray[np.float64]:
    """The share of the warped images in each bin, the rest of which lies beyond the outermost bins.

    Args:
        history: History of a training whose displacements were counted.
        quantity: Key of :data:`QUANTITIES`.
        part: ``whole`` or ``last_epoch``.
    """
    table = _table(history, quantity)[part]
    counts = np.asarray([table["below"], *table["counts"], table["above"]], float)
    shared: NDArray[np.float64] = counts[1:-1] / max(counts.sum(), 1.0)
    return shared


def _table(history: History, quantity: str) -> Mapping[str, Any]:
    table: Mapping[str, Any] = history.content["displacements"]["quantities"][quantity]
    return table


def _edges(history: History, quantity: str, factor: float) -> NDArray[np.float64]:
    table = _table(history, quantity)
    return np.linspace(table["low"], table["high"], len(table["whole"]["counts"]) + 1) * factor


def _draw_histogram(axes: Axes, group: Sequence[History], quantity: str, part: str, factor: float, look: Look) -> None:
    edges = _edges(group[0], quantity, factor)
    values = np.stack([shares(history, quantity, part) for history in group])
    if len(group) > 1:
        low, high = (np.append(each, each[-1]) for each in (values.min(0), values.max(0)))
        axes.fill_between(edges, low, high, step="post", color=look.colour, alpha=0.18, linewidth=0)
    axes.stairs(values.mean(0), edges, color=look.colour, linestyle=look.dashes, linewidth=0.8, baseline=None, zorder=3)


def _draw_marks(axes: Axes, found: Courses, quantity: str, factor: float) -> None:
    """Start of the warps and reach of the steps from the identity, of all methods."""
    tables = [_table(group[0], quantity) for group in found.values()]
    for low, high in {tuple(table["start"]) for table in tables}:
        axes.axvspan(low * factor, high * factor, color=START_COLOUR, linewidth=0, zorder=0)
    for end in sorted({end for table in tables for end in table["budget"]}):
        axes.axvline(end * factor, color=BUDGET_COLOUR, linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)


def _limits(found: Courses, quantity: str, factor: float, centre: float) -> tuple[float, float]:
    """Ends of an axis that has nearly all images and all marks within; symmetric where displacements have a sign."""
    ends = [
        end * factor
        for group in found.values()
        for key in ("start", "budget")
        for end in _table(group[0], quantity)[key]
    ]
    for history in (history for group in found.values() for history in group):
        edges = _edges(history, quantity, factor)
        for part in ROWS:
            shared = shares(history, quantity, part)
            inside = np.flatnonzero((np.cumsum(shared) > TAIL) & (np.cumsum(shared[::-1])[::-1] > TAIL))
            ends += [edges[inside[0]], edges[inside[-1] + 1]] if len(inside) else []
    if quantity == "landmarks":
        return 0.0, 1.05 * max(ends)
    far = 1.05 * max(abs(end - centre) for end in ends)
    return centre - far, centre + far


def _caption(found: Courses) -> str:
    if not found:
        return NOTHING
    every = [history.content["displacements"] for group in found.values() for history in group]
    percentages = sorted({round(100 * each["warped"]["whole"] / each["images"]["whole"], 1) for each in every})
    some = f"{percentages[0]:g}" if len(percentages) == 1 else f"{percentages[0]:g} to {percentages[-1]:g}"
    return (
        "What the adversary did: how the warped images were (a) scaled (above 1: smaller), (b) turned and "
        "(c, d) shifted, and (e) how far the five landmarks moved on average, in pixels of a face of 112 pixels. "
        f"{some} % of the images were warped. Top: whole training; bottom: last epoch, to the same scale. "
        "Grey: where warps start (two standard deviations of a normal distribution, all of a uniform one); dashed: "
        f"how far the adversary's steps reach from no warp at all. Lines: {seed_words(found.values())}."
    )
