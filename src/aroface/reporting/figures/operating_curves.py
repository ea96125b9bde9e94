"""Figures of operating curves: hit rate against error rate, a line for each method, a panel for each training set."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from typing import Any, Unpack

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from aroface.errors import InputError
from aroface.evaluation.metrics.operating_points import admitted
from aroface.reporting.figures.curves import records_of
from aroface.reporting.figures.layout import (
    LEFT,
    TEXT_WIDTH,
    Look,
    draw_legend,
    figure_text,
    legend_height,
    looks,
    place,
)
from aroface.reporting.figures.registry import FIGURE_KINDS
from aroface.reporting.figures.save import save_figure
from aroface.reporting.records import Record, RecordedExperiment, Selection, load_records, selected
from aroface.reporting.tables.spec import EMPTY
from aroface.reporting.text import over_seeds


@dataclass(frozen=True, slots=True)
class CurveKind:
    """A kind of curve that records hold.

    Attributes:
        name: Key of the record's ``curves``.
        error: Rate along the abscissa, and its key in the record.
        hit: Rate along the ordinate, likewise.
        trials: Key of the number of trials of which the error is a share.
        accident: Name of an error, in the plural.
    """

    name: str
    error: str
    hit: str
    trials: str
    accident: str

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocols whose records have such a curve."""
        return FIGURE_KINDS[self.name].protocols


KINDS = {
    "tar_far": CurveKind("tar_far", "far", "tar", "impostors", "false accepts"),
    "tpir_fpir": CurveKind("tpir_fpir", "fpir", "tpir", "unknown", "false positives"),
}


@dataclass(frozen=True, slots=True)
class Operating:
    """One method's curve.

    Attributes:
        errors: Rates along the abscissa, ascending.
        hits: Mean over seeds of the hit rate at each, fractions in [0, 1].
        sd: Sample standard deviation over the seeds, zeros for one seed.
        trials: Number of trials of which an error rate is a share.
        seeds: Number of seeds.
    """

    errors: tuple[float, ...]
    hits: tuple[float, ...]
    sd: tuple[float, ...]
    trials: int
    seeds: int


def operating_curves(
    records: Sequence[Record], benchmark: str, kind: CurveKind, experiments: Sequence[RecordedExperiment] | None = None
) -> dict[RecordedExperiment, Operating]:
    """The curve of each experiment on ``benchmark``.

    Raises:
        InputError: A record has no such curve, or not at the points of the others; and see
            :func:`aroface.reporting.figures.curves.records_of`.
    """
    chosen = records_of(kind.protocols, records, benchmark, experiments)
    return {experiment: _mean(seeds, kind) for experiment, seeds in chosen.items()}


def _mean(records: Sequence[Record], kind: CurveKind) -> Operating:
    for record in records:
        if kind.name not in record.curves:
            remedy = f"evaluate again: {record.provenance['command'] or 'aroface evaluate'}"
            raise InputError(f"no curve {kind.name}", file=record.path, remedy=remedy)
    curves = [record.curves[kind.name] for record in records]
    for record, curve in zip(records, curves, strict=True):
        if curve[kind.error] != curves[0][kind.error] or len(curve[kind.hit]) != len(curve[kind.error]):
            expected = f"a {kind.hit} at each {kind.error} of {records[0].run}"
            raise InputError(f"another curve {kind.name}", file=record.path, expected=expected)
    hits = [*zip(*(curve[kind.hit] for curve in curves), strict=True)]
    sd = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in hits]
    first = curves[0]
    means = tuple(statistics.fmean(each) for each in hits)
    return Operating(tuple(first[kind.error]), means, tuple(sd), first[kind.trials], len(records))


FEW = 10
"""Errors that must stand behind a point for it to be drawn in its method's colour."""
GREY = "0.62"
WIDE = 1e-4
"""Curves that begin at such a rate or a lower one end at .1: beyond it, good ones lie on one another."""
ALONE, BESIDE = 1.9, 1.35  # height of a panel that has the line to itself, and of one that has not; inches
RIGHT, ACROSS, DOWN, TITLE, LABELS = 0.14, 0.32, 0.14, 0.2, 0.36


def figure_operating(
    records: str | PathLike[str],
    benchmark: str,
    out: str | PathLike[str],
    *,
    kind: str = "tar_far",
    title: str | None = None,
    caption_note: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw hit rate against error rate of all methods, with a panel for each training set and backbone.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex`` (a figure environment with the caption).

    Args:
        records: Folder of the records.
        benchmark: Key of a benchmark whose records have such a curve.
        out: Path of the files without their suffix.
        kind: ``tar_far`` of pairs, ``tpir_fpir`` of a search.
        title: Name of the benchmark in the caption; if None, its label or key.
        caption_note: Last sentence of the caption.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: There are no such records, they hold no curve, are ambiguous or not comparable.
    """
    runs, experiments, labels = selected(shown)
    curves = operating_curves(load_records(records, runs), benchmark, KINDS[kind], experiments)
    caption = _caption(KINDS[kind], title or labels.get(benchmark, benchmark), [*curves.values()])
    save_figure(out, lambda: draw(curves, KINDS[kind], labels), caption, caption_note)


figure_tar_far = partial(figure_operating, kind="tar_far")
figure_tpir_fpir = partial(figure_operating, kind="tpir_fpir")


def draw(found: Mapping[RecordedExperiment, Operating], kind: CurveKind, labels: Mapping[str, str] = EMPTY) -> Figure:
    """Draw the figure; call this and save it within ``matplotlib.rc_context(STYLE)``.

    Args:
        found: Curve of each experiment.
        kind: Kind of the curves.
        labels: Printed names by keys.
    """
    styles = looks([*dict.fromkeys(_method(experiment) for experiment in found)], labels)
    sets = [*dict.fromkeys((experiment.dataset, experiment.arch) for experiment in found)]
    columns, lines = min(2, len(sets)), -(-len(sets) // 2)
    title, height = (0.0 if len(sets) == 1 else TITLE), (ALONE if len(sets) == 1 else BESIDE)
    legend = legend_height(styles.values())
    top = 0.06
    figure = Figure(figsize=(TEXT_WIDTH, top + lines * (title + height) + (lines - 1) * DOWN + LABELS + legend))
    width = (TEXT_WIDTH - LEFT - RIGHT - (columns - 1) * ACROSS) / columns
    first: Axes | None = None
    for number, (dataset, arch) in enumerate(sets):
        line, column = divmod(number, columns)
        down = top + title + line * (title + height + DOWN)
        axes = place(figure, LEFT + column * (width + ACROSS), down, width, height, sharex=first, sharey=first)
        first = first or axes
        here = {each: curve for each, curve in found.items() if (each.dataset, each.arch) == (dataset, arch)}
        for experiment, curve in here.items():
            _draw_curve(axes, curve, styles[_method(experiment)])
        # Below it there is no panel, or one that is missing in the last line.
        last = number + columns >= len(sets)
        axes.tick_params(labelleft=column == 0, labelbottom=last)
        axes.set_xlabel(kind.error.upper() if last else "")
        if title:
            axes.set_title(_set_name(dataset, arch, sets, labels))
    assert first is not None, "there are curves"
    _scale(first, [*found.values()])
    middle = 1 - (top + (lines * (title + height) + (lines - 1) * DOWN) / 2) / figure.get_figheight()
    figure.text(0.012, middle, f"{kind.hit.upper()} (%)", rotation=90, va="center", ha="left")
    if any(_few(curve) for curve in found.values()):
        grey = Line2D([], [], color=GREY, label=f"fewer than {FEW} {kind.accident}")
        # No curve comes into this corner.
        first.legend(handles=[grey], loc="lower right", frameon=False, fontsize=7, handlelength=1.5)
    draw_legend(figure, styles.values())
    return figure


def _method(experiment: RecordedExperiment) -> RecordedExperiment:
    """The experiment with nothing that the panels tell apart."""
    return replace(experiment, dataset="", arch="")


def _set_name(dataset: str, arch: str, sets: Sequence[tuple[str, str]], labels: Mapping[str, str]) -> str:
    several = len({each for _, each in sets}) > 1
    return figure_text(labels.get(dataset, dataset) + (f", {arch}" if several else ""))


def _few(curve: Operating) -> int:
    """At how many points of a curve fewer than ``FEW`` errors are admitted."""
    return sum(admitted(curve.trials, error) < FEW for error in curve.errors)


def _draw_curve(axes: Axes, curve: Operating, look: Look) -> None:
    """The line as the steps it is, its band, and a mark at each power of ten."""
    errors, hits, sd = np.array(curve.errors), 100 * np.array(curve.hits), 100 * np.array(curve.sd)
    few = _few(curve)
    steps: Any = {"drawstyle": "steps-post", "linestyle": look.dashes}
    if curve.seeds > 1:
        low, high = np.clip(hits - sd, 0, 100), np.clip(hits + sd, 0, 100)
        axes.fill_between(errors, low, high, step="post", color=look.colour, alpha=0.13, linewidth=0)
    axes.plot(errors[: few + 1], hits[: few + 1], color=GREY, zorder=1.9, **steps)
    axes.plot(errors[few:], hits[few:], color=look.colour, **steps)
    powers = np.flatnonzero(np.isclose(np.log10(errors), np.round(np.log10(errors)), rtol=0, atol=1e-9))
    for sure, colour in ((True, look.colour), (False, GREY)):
        marked = [power for power in powers if (power >= few) == sure and errors[power] < 0.5]
        axes.plot(errors[marked], hits[marked], look.marker, color=colour, clip_on=False, zorder=3)


def _scale(axes: Axes, found: Sequence[Operating]) -> None:
    axes.set_xscale("log")
    first = min(curve.errors[0] for curve in found)
    axes.set_xlim(first, 1 if first > WIDE else 0.1)
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_minor_formatter(NullFormatter())
    lowest = min(100 * (hit - sd) for curve in found for hit, sd in zip(curve.hits, curve.sd, strict=True))
    axes.set_ylim(max(0, lowest - 0.05 * (100 - lowest)), 100 + 0.02 * (100 - max(0, lowest)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _caption(kind: CurveKind, title: str, found: Sequence[Operating]) -> str:
    counts = {curve.seeds for curve in found}
    over = over_seeds(counts) + ("" if counts == {1} else "; bands: ± one standard deviation over the seeds")
    trials = f"{found[0].trials:,}"
    rates = {
        "tar_far": f"TAR of pairs against FAR, which is measured on {trials} impostor pairs",
        "tpir_fpir": f"TPIR of a search in two galleries, their mean, against FPIR, which is measured on {trials} "
        "probes without a mate (in the gallery that has fewer)",
    }[kind.name]
    return (
        f"Operating curves on {title}: {rates}; {over}. Each point is the largest {kind.hit.upper()} of all thresholds "
        f"with at most this {kind.error.upper()}; marks: at powers of ten. Grey: fewer than "
        f"{FEW} {kind.accident} stand behind a point, so that "
        "a further one would move it much."
    )
