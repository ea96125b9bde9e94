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

from aroface.reporting.figures.form import DEFAULT_FORM, FigureForm, text_inches
from aroface.reporting.figures.layout import MARKERS, Look, PanelGrid, beside, draw_legend, legend_height, looks
from aroface.reporting.figures.save import save_figure
from aroface.reporting.figures.training import Courses, draw_nothing
from aroface.reporting.figures.words import FigureWords, method_names, printed_name
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
LEFT, RIGHT, LEAST_PANEL, PANEL, GAP = 0.24, 0.19, 0.7, 0.78, 0.12
MARKS = 5  # of a line, where it is highest
START_COLOUR, BUDGET_COLOUR = "0.88", "0.35"


def figure_displacements(
    runs_dir: str | PathLike[str],
    out: str | PathLike[str],
    *,
    form: FigureForm = DEFAULT_FORM,
    caption_note: str | None = None,
    command: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw how the adversary of each method displaced its images, from ``history.json`` of the runs.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex``. Where no training has counted, the picture says so.

    Args:
        runs_dir: ``results/runs``.
        out: Path of the files without their suffix.
        form: Width and typeface.
        caption_note: Last sentence of the caption.
        command: Command that draws the figure, for its files.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: A history is malformed, or the seeds of an experiment were trained for different numbers of steps.
    """
    runs, experiments, labels = selected(shown)
    histories, unrecorded = load_histories(runs_dir, runs)
    attacked = [history for history in histories if history.adversary != NO_ADVERSARY]
    counted = [history for history in attacked if history.content["displacements"] is not None]
    groups = by_experiment(counted, experiments)
    caption = f"{_caption(groups)} {gap_words(_gaps(attacked, unrecorded), labels)}".strip()
    words = FigureWords("Warps of the adversary", caption, _alt(groups, labels))
    among = experiments or ()
    sources = [history.path for group in groups.values() for history in group]
    options: Any = {"form": form, "note": caption_note, "command": command}
    save_figure(out, lambda: draw_displacements(groups, labels, among, form), words, sources, **options)


def _gaps(attacked: Sequence[History], unrecorded: Sequence[Gap]) -> list[Gap]:
    """The trainings with an adversary whose choices nobody counted."""
    known = {each.experiment for each in attacked}
    known |= {gap.experiment for gap in unrecorded if gap.adversary not in (None, NO_ADVERSARY)}
    uncounted = [each.gap for each in attacked if each.content["displacements"] is None]
    return [*uncounted, *(gap for gap in unrecorded if gap.experiment in known)]


def draw_displacements(
    found: Courses,
    labels: Mapping[str, str],
    among: Iterable[RecordedExperiment] = (),
    form: FigureForm = DEFAULT_FORM,
) -> Figure:
    """Draw the figure; call this within the style of its form.

    Args:
        found: Courses of each experiment with an adversary, one a seed, all of them with counts.
        labels: Printed names by key.
        among: Experiments of all figures, see :func:`aroface.reporting.figures.layout.looks`.
        form: Width and typeface.
    """
    if not found:
        return draw_nothing(NOTHING, form)
    styles = looks([*found], labels, among)
    marks: list[Artist] = [
        Patch(color=START_COLOUR, label="where warps start"),
        Line2D([], [], color=BUDGET_COLOUR, linewidth=0.6, linestyle=(0, (2, 2)), label="reach of the steps"),
    ]
    titles = [f"({letter}) {title}" for letter, (title, *_) in zip("abcde", QUANTITIES.values(), strict=True)]
    least = max(LEAST_PANEL, *(text_inches(title, 8) + 0.06 - GAP for title in titles))
    across = beside(len(QUANTITIES), least, form.inches - LEFT - RIGHT, GAP)
    grid = PanelGrid(len(QUANTITIES), across, [PANEL] * len(ROWS), (GAP, GAP), LEFT, RIGHT)
    figure = Figure(figsize=(form.inches, grid.height + legend_height(styles.values(), marks, room=form.inches)))
    panels = grid.place(figure, 0.0, share_rows=False)
    for column, title, (quantity, (_, unit, factor, centre)) in zip(
        zip(*panels, strict=True), titles, QUANTITIES.items(), strict=True
    ):
        for axes, part in zip(column, ROWS, strict=True):
            if axes is not column[0]:
                axes.sharey(column[0])
            axes.tick_params(left=False, labelleft=False)
            axes.grid(visible=False)
            _draw_marks(axes, found, quantity, factor)
            for experiment, group in found.items():
                _draw_histogram(axes, group, quantity, part, factor, styles[experiment])
        column[0].set_title(title)
        column[0].set_xlim(*_limits(found, quantity, factor, centre))
        column[0].set_ylim(bottom=0)
        column[0].xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
        column[-1].set_xlabel(unit)
    for row, name in zip(panels, ROWS.values(), strict=True):
        for axes in grid.ends(row):
            axes.annotate(name, (1, 0.5), (4, 0), "axes fraction", "offset points", rotation=270, va="center")
    grid.label_ordinate(figure, 0.0, "share of warped images")
    draw_legend(figure, styles.values(), marks)
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
    mean = values.mean(0)
    axes.stairs(mean, edges, color=look.colour, linestyle=look.dashes, linewidth=0.8, baseline=None, zorder=3)
    middles, place = (edges[:-1] + edges[1:]) / 2, MARKERS.index(look.marker) / len(MARKERS)
    at = _spread(mean, place)
    axes.plot(middles[at], mean[at], look.marker, color=look.colour, markersize=2.6, zorder=3)


def _spread(mean: NDArray[np.float64], place: float) -> NDArray[np.int64]:
    """Bins that divide the images evenly, moved on by a share of the distance, so that marks of lines stand apart."""
    total = np.cumsum(mean) / max(float(mean.sum()), 1e-12)
    wanted = (np.arange(MARKS) + 0.1 + 0.8 * place) / MARKS
    bins: NDArray[np.int64] = np.unique(np.minimum(np.searchsorted(total, wanted), len(mean) - 1))
    return bins


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
        f"Warps by the adversary, of {some} % of the images, in the whole training (top) and its last epoch (bottom): "
        "(a) scale (above 1: smaller), (b) rotation, (c, d) shift and (e) mean displacement of the five landmarks in "
        f"pixels of a face of 112 pixels, {seed_words(found.values())}. "
        "Grey: where warps start (two standard deviations of a normal distribution, all of a uniform one); dashed: "
        "how far the adversary's steps reach from no warp at all."
    )


def _alt(found: Courses, labels: Mapping[str, str]) -> str:
    if not found:
        return NOTHING
    names = {each: printed_name(each.method, labels) for each in found}
    means = {each: float(np.mean([_mean(history, "landmarks") for history in group])) for each, group in found.items()}
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    moved = f"Warped images have their landmarks moved by {means[high]:.1f} pixels on average with {names[high]}"
    least = "" if low == high else f" and by {means[low]:.1f} with {names[low]}"
    return (
        "Histograms of how the adversary scaled, turned and shifted images, over the whole training and in its last "
        f"epoch, for {method_names(names.values())}. {moved}{least}."
    )


def _mean(history: History, quantity: str) -> float:
    """Mean of a quantity over the warped images within its bins."""
    edges, shared = _edges(history, quantity, 1.0), shares(history, quantity, "whole")
    return float(np.average((edges[:-1] + edges[1:]) / 2, weights=shared)) if shared.sum() else 0.0
