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
from aroface.reporting.figures.form import DEFAULT_FORM, FigureForm, text_inches
from aroface.reporting.figures.layout import MARKERS as MARK_ORDER
from aroface.reporting.figures.layout import (
    Look,
    PanelGrid,
    beside,
    direct_labels,
    direct_places,
    draw_legend,
    figure_text,
    legend_height,
    looks,
)
from aroface.reporting.figures.save import save_figure
from aroface.reporting.figures.words import FigureWords, method_names, printed_name
from aroface.reporting.histories import NO_ADVERSARY, History, by_experiment, gap_words, load_histories, seed_words
from aroface.reporting.records import RecordedExperiment, Selection, selected

PARTS = 100
# Measures of the figure, in inches.
LEFT, RIGHT, GAP = 0.58, 0.06, 0.13
LOSS, VALIDATION, RATE = 1.15, 0.8, 0.4
LEAST_PANEL = 0.9
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
    titles: Mapping[str, str] | None = None,
    form: FigureForm = DEFAULT_FORM,
    caption_note: str | None = None,
    command: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw how the trainings went, from ``history.json`` of their runs.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex``. Where no training has recorded its course, the picture says
    so.

    Args:
        runs_dir: ``results/runs``.
        out: Path of the files without their suffix.
        titles: Printed names of the benchmarks that were validated on, by key.
        form: Width and typeface.
        caption_note: Last sentence of the caption.
        command: Command that draws the figure, for its files.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: A history is malformed, or the seeds of an experiment were trained for different numbers of steps.
    """
    runs, experiments, labels = selected(shown)
    histories, gaps = load_histories(runs_dir, runs)
    groups = by_experiment((each for each in histories if each.content["curve"]["step"]), experiments)
    gaps = (*gaps, *(each.gap for each in histories if not each.content["curve"]["step"]))  # their logs were lost
    caption = f"{_caption(groups, {**(titles or {}), **labels})} {gap_words(gaps, labels)}".strip()
    words = FigureWords("Courses of the trainings", caption, _alt(groups, labels))
    sources = [history.path for group in groups.values() for history in group]
    options: Any = {"form": form, "note": caption_note, "command": command}
    save_figure(out, lambda: draw_training(groups, labels, experiments or (), form), words, sources, **options)


def draw_training(
    found: Courses,
    labels: Mapping[str, str],
    among: Iterable[RecordedExperiment] = (),
    form: FigureForm = DEFAULT_FORM,
) -> Figure:
    """Draw the figure; call this within the style of its form.

    Args:
        found: Courses of each experiment, one a seed.
        labels: Printed names by key.
        among: Experiments of all figures, see :func:`aroface.reporting.figures.layout.looks`.
        form: Width and typeface.
    """
    if not found:
        return draw_nothing(NOTHING, form)
    methods = dict.fromkeys(experiment.method for experiment in found)
    alike = looks([RecordedExperiment(method, "", "") for method in methods], labels, among)
    styles = {experiment.method: look for experiment, look in alike.items()}
    sets = list(dict.fromkeys((each.dataset, each.arch) for each in found))
    titles = _set_names(sets, labels)
    rows = [LOSS, *([VALIDATION] if _validated(found) else []), RATE]
    names = [look.label for look in styles.values()]
    # Lines of one panel have their names at their ends where these leave room for it and for each other.
    ends = [_final_loss(group) for group in found.values()]
    limits = (0.0, _highest_loss(found))
    direct = direct_places(names, ends, limits, LOSS, form.inches - LEFT) if len(sets) == 1 else None
    right = RIGHT + (0.08 + max(text_inches(name, 7) for name in names) if direct else 0.0)
    least = max(LEAST_PANEL, *(text_inches(title, 8) + 0.06 - GAP for title in titles), 0)
    across = beside(len(sets), least, form.inches - LEFT - right, GAP)
    grid = PanelGrid(len(sets), across, rows, (GAP, GAP), LEFT, right)
    legend = 0.04 if direct else legend_height(styles.values(), room=form.inches)
    figure = Figure(figsize=(form.inches, grid.height + legend))
    panels = grid.place(figure, 0.0)
    for column, title, (dataset, arch) in zip(zip(*panels, strict=True), titles, sets, strict=True):
        column[0].set_title(title)
        shown = {each: group for each, group in found.items() if (each.dataset, each.arch) == (dataset, arch)}
        _draw_column(column, shown, styles)
        column[-1].set_xlabel("epoch")
    for first in range(0, len(sets), across):
        for row, label in zip(panels, _row_names(found), strict=True):
            row[first].set_ylabel(label)
        figure.align_ylabels([row[first] for row in panels])
    if direct:
        direct_labels(panels[0][0], [*styles.values()], direct)
    else:
        draw_legend(figure, styles.values())
    return figure


def draw_nothing(words: str, form: FigureForm = DEFAULT_FORM) -> Figure:
    """A picture that says why there is nothing in it."""
    figure = Figure(figsize=(form.inches, 0.6))
    figure.text(0.5, 0.5, words, ha="center", va="center")
    return figure


def _set_names(sets: Sequence[tuple[str, str]], labels: Mapping[str, str]) -> list[str]:
    archs = {arch for _, arch in sets}
    names = [(figure_text(labels.get(dataset, dataset)), arch) for dataset, arch in sets]
    return [f"{name}, {arch}" if len(archs) > 1 else name for name, arch in names]


def _final_loss(group: Sequence[History]) -> float:
    return float(course([loss_of(history) for history in group]).mean[-1])


def _highest_loss(found: Courses) -> float:
    """Upper end of the axis of losses."""
    courses = (course([loss_of(history) for history in group]) for group in found.values())
    return 1.05 * max(float(each.high.max()) for each in courses)


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


def _draw_column(column: Sequence[Axes], found: Courses, styles: Mapping[str, Look]) -> None:
    loss, *validation, rate = column
    for experiment, group in found.items():
        look = styles[experiment.method]
        _draw_course(loss, course([loss_of(history) for history in group]), look)
        measured = [_validation(history) for history in group if history.content["validation"]]
        if measured:
            _draw_course(validation[0], course(measured), look)
    _draw_rates(rate, found, styles)
    for axes in (loss, *validation):
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    loss.set_ylim(0, max(loss.get_ylim()[1], _highest_loss(found)))
    rate.set_ylim(bottom=0)
    rate.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    longest = max(group[0].content["epochs"] for group in found.values())
    loss.set_xlim(0, longest)
    loss.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))


def _draw_course(axes: Axes, drawn: Course, look: Look) -> None:
    axes.fill_between(drawn.epochs, drawn.low, drawn.high, color=look.colour, alpha=0.18, linewidth=0)
    every = -(-len(drawn.epochs) // MARKERS)
    line: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes, "marker": look.marker}
    # Marks of different lines do not cover one another: each line begins with its own.
    start = MARK_ORDER.index(look.marker) % 4 * every // 4
    axes.plot(drawn.epochs, drawn.mean, **line, markevery=(start, every), clip_on=False, zorder=3)


def _draw_rates(axes: Axes, found: Courses, styles: Mapping[str, Look]) -> None:
    """The learning rate, in black where it is that of all methods."""
    rates = {experiment: _rate(group[0]) for experiment, group in found.items()}
    first = next(iter(rates.values()))
    if all(each[0].shape == first[0].shape and np.allclose(each, first, rtol=1e-4) for each in rates.values()):
        axes.plot(*first, color="black", linewidth=0.8)
        return
    for experiment, (epochs, values) in rates.items():
        look = styles[experiment.method]
        every = max(1, len(epochs) // MARKERS)
        line: Any = {"color": look.colour, "linestyle": look.dashes, "marker": look.marker, "markevery": every}
        axes.plot(epochs, values, **line, linewidth=0.8)


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
    sets = listing([printed_name(name, labels) for name in validated])
    accuracy = f", accuracy after epochs (mean over {sets})," if validated else ""
    attacked = any(history.adversary != NO_ADVERSARY for history in every)
    warped = " With an adversary, a part of the images behind the loss are warped." if attacked else ""
    return (
        f"Training loss (means over at most {PARTS} equal parts of a training){accuracy} and learning rate, "
        f"{seed_words(found.values())}.{warped}"
    )


def _alt(found: Courses, labels: Mapping[str, str]) -> str:
    if not found:
        return NOTHING
    names = {each: printed_name(each.method, labels) for each in found}
    several = len({(each.dataset, each.arch) for each in found}) > 1
    ends = {each: _final_loss(group) for each, group in found.items()}
    starts = {each: float(loss_of(group[0])[1][0]) for each, group in found.items()}
    low, high = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)

    def described(each: RecordedExperiment) -> str:
        where = f" on {printed_name(each.dataset, labels)}" if several else ""
        return f"of {names[each]}{where}, from {starts[each]:.3g} to {ends[each]:.3g}"

    lines = f"Lines of training loss and learning rate over epochs for {method_names(names.values())}."
    if low == high:
        return f"{lines} The loss {described(low)}."
    return f"{lines} The lowest final loss is that {described(low)}; the highest that {described(high)}."
