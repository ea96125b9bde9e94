"""Figure of the trainings: loss, validation accuracy and learning rate, a column of panels for each training set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Unpack

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aroface.humanize import listing
from aroface.reporting.figures.layout import (
    LEFT,
    PANEL_TITLE,
    TEXT_WIDTH,
    Look,
    draw_legend,
    figure_text,
    legend_height,
    looks,
    place,
)
from aroface.reporting.figures.save import save_figure
from aroface.reporting.histories import NO_ADVERSARY, History, by_experiment, gap_words, load_histories, seed_words
from aroface.reporting.records import RecordedExperiment, Selection, selected

PARTS = 100
# Measures of the figure, in inches.
RIGHT, GAP, AXIS_LABEL = 0.06, 0.13, 0.36
LOSS, VALIDATION, RATE = 1.15, 0.8, 0.4
COLUMNS = 4
MARKERS = 8
NOTHING = "No training has recorded its course."

Floats = NDArray[np.float64]
Courses = Mapping[RecordedExperiment, Sequence[History]]


@dataclass(frozen=True, slots=True)
class Course:
    """A quantity over a training: mean over seeds, lowest and highest seed.

    Attributes:
        epochs: Positions of the values, in epochs.
        mean: Mean over seeds.
        low: Values of the lowest seed.
        high: Values of the highest seed.
    """

    epochs: Floats
    mean: Floats
    low: Floats
    high: Floats


def figure_training(
    runs_dir: str | PathLike[str],
    out: str | PathLike[str],
    *,
    caption_note: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw how the trainings went, from ``history.json`` of their runs.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex``. Where no training has recorded its course, the picture says
    so.

    Args:
        runs_dir: ``results/runs``.
        out: Path of the files without their suffix.
        caption_note: Last sentence of the caption.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: A history is malformed, or the seeds of an experiment were trained for different numbers of steps.
    """
    runs, experiments, labels = selected(shown)
    histories, gaps = load_histories(runs_dir, runs)
    groups = by_experiment((each for each in histories if each.content["curve"]["step"]), experiments)
    gaps = (*gaps, *(each.gap for each in histories if not each.content["curve"]["step"]))  # their logs were lost
    caption = f"{_caption(groups, labels)} {gap_words(gaps, labels)}".strip()
    save_figure(out, lambda: draw_training(groups, labels, experiments or ()), caption, caption_note)


def draw_training(found: Courses, labels: Mapping[str, str], among: Iterable[RecordedExperiment] = ()) -> Figure:
    """Draw the figure; call this within the style of the paper.

    Args:
        found: Courses of each experiment, one a seed.
        labels: Printed names by key.
        among: Experiments of all figures, see :func:`aroface.reporting.figures.layout.looks`.
    """
    if not found:
        return draw_nothing(NOTHING)
    methods = dict.fromkeys(experiment.method for experiment in found)
    alike = looks([RecordedExperiment(method, "", "") for method in methods], labels, among)
    styles = {experiment.method: look for experiment, look in alike.items()}
    sets = list(dict.fromkeys((each.dataset, each.arch) for each in found))
    rows = [LOSS, *([VALIDATION] if _validated(found) else []), RATE]
    blocks = [sets[begin : begin + COLUMNS] for begin in range(0, len(sets), COLUMNS)]
    block_height = PANEL_TITLE + sum(rows) + GAP * (len(rows) - 1) + AXIS_LABEL
    legend = legend_height(styles.values())
    figure = Figure(figsize=(TEXT_WIDTH, block_height * len(blocks) + legend))
    archs = {arch for _, arch in sets}
    for number, block in enumerate(blocks):
        panels = _place_panels(figure, number * block_height, rows, len(block), len(blocks[0]))
        for column, (dataset, arch) in zip(zip(*panels, strict=True), block, strict=True):
            name = figure_text(labels.get(dataset, dataset))
            column[0].set_title(f"{name}, {arch}" if len(archs) > 1 else name)
            shown = {each: group for each, group in found.items() if (each.dataset, each.arch) == (dataset, arch)}
            _draw_column(column, shown, styles)
        for axes, label in zip([row[0] for row in panels], _row_names(found), strict=True):
            axes.set_ylabel(label)
        figure.align_ylabels([row[0] for row in panels])
    draw_legend(figure, styles.values(), markers=_validated(found))
    return figure


def draw_nothing(words: str) -> Figure:
    """A picture that says why there is nothing in it."""
    figure = Figure(figsize=(TEXT_WIDTH, 0.6))
    figure.text(0.5, 0.5, words, ha="center", va="center")
    return figure


def loss_of(history: History, parts: int = PARTS) -> tuple[Floats, Floats]:
    """The loss of a training cut into equal parts: where each part's steps lie, in epochs, and its mean.

    A point of ``history.json`` counts as often as it has logged steps; a part without any gives no point.
    """
    curve, steps = history.content["curve"], history.content["steps"]
    step, logged = np.asarray(curve["step"], float), np.asarray(curve["logged"], float)
    bins = np.minimum((step * parts / steps).astype(int), parts - 1)
    count = np.bincount(bins, logged, parts)
    used = count > 0
    means = [np.bincount(bins, logged * values, parts)[used] / count[used] for values in (step, curve["loss"])]
    return means[0] / history.content["steps_per_epoch"], means[1]


def course(points: Sequence[tuple[Floats, Floats]]) -> Course:
    """Mean, lowest and highest of several seeds, where the first has its points.

    Args:
        points: Positions and values of each seed; those of the others are interpolated.
    """
    epochs = points[0][0]
    values = np.stack([np.interp(epochs, where, observed) for where, observed in points])
    return Course(epochs, values.mean(0), values.min(0), values.max(0))


def _validated(found: Courses) -> bool:
    return any(history.content["validation"] for group in found.values() for history in group)


def _row_names(found: Courses) -> list[str]:
    return ["loss", *(["accuracy (%)"] if _validated(found) else []), "learning\nrate"]


def _place_panels(figure: Figure, top: float, rows: Sequence[float], columns: int, room: int) -> list[list[Axes]]:
    """Panels of these heights, so many beside each other where there is room for ``room``."""
    width = (TEXT_WIDTH - LEFT - RIGHT - (room - 1) * GAP) / room
    panels: list[list[Axes]] = []
    down = top + PANEL_TITLE
    for i, height in enumerate(rows):
        panels.append([])
        for j in range(columns):
            above, beside = panels[0][j] if i else None, panels[i][0] if j else None
            axes = place(figure, LEFT + j * (width + GAP), down, width, height, sharex=above, sharey=beside)
            axes.tick_params(labelleft=j == 0, labelbottom=i == len(rows) - 1)
            panels[i].append(axes)
        down += height + GAP
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    return panels


def _draw_column(column: Sequence[Axes], found: Courses, styles: Mapping[str, Look]) -> None:
    loss, *validation, rate = column
    for experiment, group in found.items():
        look = styles[experiment.method]
        _draw_course(loss, course([loss_of(history) for history in group]), look, "")
        measured = [_validation(history) for history in group if history.content["validation"]]
        if measured:
            _draw_course(validation[0], course(measured), look, look.marker)
    _draw_rates(rate, found, styles)
    for axes in (loss, *validation):
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    loss.set_ylim(bottom=0)
    rate.set_ylim(bottom=0)
    rate.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    longest = max(group[0].content["epochs"] for group in found.values())
    loss.set_xlim(0, longest)
    loss.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))


def _draw_course(axes: Axes, drawn: Course, look: Look, marker: str) -> None:
    axes.fill_between(drawn.epochs, drawn.low, drawn.high, color=look.colour, alpha=0.18, linewidth=0)
    every = -(-len(drawn.epochs) // MARKERS)
    line: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes, "marker": marker, "markevery": every}
    axes.plot(drawn.epochs, drawn.mean, **line, clip_on=not marker, zorder=3)


def _draw_rates(axes: Axes, found: Courses, styles: Mapping[str, Look]) -> None:
    """The learning rate, in black where it is that of all methods."""
    rates = {experiment: _rate(group[0]) for experiment, group in found.items()}
    first = next(iter(rates.values()))
    if all(each[0].shape == first[0].shape and np.allclose(each, first, rtol=1e-4) for each in rates.values()):
        axes.plot(*first, color="black", linewidth=0.8)
        return
    for experiment, (epochs, values) in rates.items():
        look = styles[experiment.method]
        axes.plot(epochs, values, color=look.colour, linestyle=look.dashes, linewidth=0.8)


def _rate(history: History) -> tuple[Floats, Floats]:
    curve = history.content["curve"]
    return np.asarray(curve["step"], float) / history.content["steps_per_epoch"], np.asarray(curve["lr"], float)


def _validation(history: History) -> tuple[Floats, Floats]:
    """The accuracy in per cent after epochs, mean over what was asked."""
    measured: Sequence[Mapping[str, Any]] = history.content["validation"]
    means = [100 * float(np.mean([*entry["metrics"].values()])) for entry in measured]
    return np.asarray([entry["epoch"] for entry in measured], float), np.asarray(means)


def _caption(found: Courses, labels: Mapping[str, str]) -> str:
    if not found:
        return NOTHING
    every = [history for group in found.values() for history in group]
    validated = sorted(
        {name for history in every for entry in history.content["validation"] for name in entry["metrics"]}
    )
    accuracy = f"accuracy after epochs, mean over {listing([labels.get(name, name) for name in validated])}; "
    attacked = any(history.adversary != NO_ADVERSARY for history in every)
    warped = " With an adversary, a part of the images behind the loss are warped." if attacked else ""
    return (
        "How the trainings went. From top to bottom: training loss, means over equal parts of the training, a hundred "
        f"at most; {accuracy if validated else ''}learning rate. Lines: {seed_words(found.values())}.{warped}"
    )
