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
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aroface.errors import InputError
from aroface.evaluation.metrics.operating_points import admitted
from aroface.reporting.figures.curves import records_of
from aroface.reporting.figures.form import DEFAULT_FORM, FigureForm
from aroface.reporting.figures.layout import (
    LEFT,
    Look,
    beside,
    draw_legend,
    figure_text,
    legend_height,
    looks,
    ordinate_label,
    place,
)
from aroface.reporting.figures.registry import FIGURE_KINDS
from aroface.reporting.figures.save import save_figure
from aroface.reporting.figures.words import FigureWords, method_names, per_cent, printed_name
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
"""Errors that must stand behind a point for its line to be thick and its mark filled."""
THIN = 0.5
"""Width in points of a line where fewer do."""
WIDE = 1e-4
"""Curves that begin at such a rate or a lower one end at 0.1: beyond it, good ones lie on one another."""
ALONE, BESIDE = 1.9, 1.35  # height of a panel that has the line to itself, and of one that has not; inches
RIGHT, ACROSS, DOWN, TOP, TITLE, LABELS = 0.14, 0.32, 0.14, 0.08, 0.2, 0.36
LEAST_PANEL, LEAST_DECADE = 1.7, 0.36  # inches


def figure_operating(
    records: str | PathLike[str],
    benchmark: str,
    out: str | PathLike[str],
    *,
    kind: str = "tar_far",
    title: str | None = None,
    form: FigureForm = DEFAULT_FORM,
    caption_note: str | None = None,
    command: str | None = None,
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
        form: Width and typeface.
        caption_note: Last sentence of the caption.
        command: Command that draws the figure, for its files.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: There are no such records, they hold no curve, are ambiguous or not comparable.
    """
    runs, experiments, labels = selected(shown)
    loaded = load_records(records, runs)
    curves = operating_curves(loaded, benchmark, KINDS[kind], experiments)
    words = _words(curves, KINDS[kind], title or printed_name(benchmark, labels), labels)
    sources = [each.path for each in loaded if each.benchmark == benchmark and each.experiment in curves]
    options: Any = {"form": form, "note": caption_note, "command": command}
    save_figure(out, lambda: draw(curves, KINDS[kind], labels, form, experiments or ()), words, sources, **options)


figure_tar_far = partial(figure_operating, kind="tar_far")
figure_tpir_fpir = partial(figure_operating, kind="tpir_fpir")


def draw(
    found: Mapping[RecordedExperiment, Operating],
    kind: CurveKind,
    labels: Mapping[str, str] = EMPTY,
    form: FigureForm = DEFAULT_FORM,
    among: Sequence[RecordedExperiment] = (),
) -> Figure:
    """Draw the figure; call this and save it within ``matplotlib.rc_context(style(form))``.

    Args:
        found: Curve of each experiment.
        kind: Kind of the curves.
        labels: Printed names by keys.
        form: Width and typeface.
        among: Experiments of all figures, see :func:`aroface.reporting.figures.layout.looks`.
    """
    styles = looks([*dict.fromkeys(_method(experiment) for experiment in found)], labels, among)
    sets = [*dict.fromkeys((experiment.dataset, experiment.arch) for experiment in found)]
    columns = beside(len(sets), LEAST_PANEL, form.inches - LEFT - RIGHT, ACROSS)
    lines = -(-len(sets) // columns)
    title, height = (0.0 if len(sets) == 1 else TITLE), (ALONE if columns == 1 and lines == 1 else BESIDE)
    further = [_few_handle(kind)] if any(map(_few, found.values())) else []
    panels_height = lines * (title + height) + (lines - 1) * DOWN
    legend = legend_height(styles.values(), further, room=form.inches)
    figure = Figure(figsize=(form.inches, TOP + panels_height + LABELS + legend))
    width = (form.inches - LEFT - RIGHT - (columns - 1) * ACROSS) / columns
    first: Axes | None = None
    for number, (dataset, arch) in enumerate(sets):
        line, column = divmod(number, columns)
        down = TOP + title + line * (title + height + DOWN)
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
    _scale(first, [*found.values()], width)
    ordinate_label(figure, TOP + panels_height / 2, f"{kind.hit.upper()} (%)")
    draw_legend(figure, styles.values(), further)
    return figure


def _few_handle(kind: CurveKind) -> Line2D:
    """Line and mark of points that few errors stand behind, for the legend."""
    return Line2D(
        [],
        [],
        color="0.2",
        linewidth=THIN,
        marker="o",
        markerfacecolor="white",
        label=f"fewer than {FEW} {kind.accident}",
    )


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
    steps: Any = {"drawstyle": "steps-post", "linestyle": look.dashes, "color": look.colour}
    if curve.seeds > 1:
        low, high = np.clip(hits - sd, 0, 100), np.clip(hits + sd, 0, 100)
        axes.fill_between(errors, low, high, step="post", color=look.colour, alpha=0.13, linewidth=0)
    axes.plot(errors[: few + 1], hits[: few + 1], linewidth=THIN, zorder=1.9, **steps)
    axes.plot(errors[few:], hits[few:], **steps)
    powers = np.flatnonzero(np.isclose(np.log10(errors), np.round(np.log10(errors)), rtol=0, atol=1e-9))
    for sure, face in ((True, look.colour), (False, "white")):
        marked = [power for power in powers if (power >= few) == sure and errors[power] < 0.5]
        mark: Any = {"color": look.colour, "markerfacecolor": face, "clip_on": False, "zorder": 3}
        axes.plot(errors[marked], hits[marked], look.marker, **mark)


def _scale(axes: Axes, found: Sequence[Operating], width: float) -> None:
    axes.set_xscale("log")
    first = min(curve.errors[0] for curve in found)
    axes.set_xlim(first, 1 if first > WIDE else 0.1)
    axes.xaxis.set_major_locator(LogLocator(numticks=max(3, min(8, int(width / LEAST_DECADE)))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: rf"$10^{{{round(np.log10(rate))}}}$"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    lowest = min(100 * (hit - sd) for curve in found for hit, sd in zip(curve.hits, curve.sd, strict=True))
    axes.set_ylim(max(0, lowest - 0.05 * (100 - lowest)), 100 + 0.02 * (100 - max(0, lowest)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _words(
    found: Mapping[RecordedExperiment, Operating], kind: CurveKind, title: str, labels: Mapping[str, str]
) -> FigureWords:
    hit, error = kind.hit.upper(), kind.error.upper()
    short = f"{hit} against {error} on {title}"
    return FigureWords(short, _caption(kind, title, [*found.values()]), _alt(found, kind, short, labels))


def _caption(kind: CurveKind, title: str, found: Sequence[Operating]) -> str:
    counts = {curve.seeds for curve in found}
    over = over_seeds(counts) + ("" if counts == {1} else ", bands ± one standard deviation over the seeds")
    trials, hit, error = f"{found[0].trials:,}", kind.hit.upper(), kind.error.upper()
    rates = {
        "tar_far": f"TAR against FAR on {title} ({trials} impostor pairs",
        "tpir_fpir": f"TPIR against FPIR of open-set search on {title} (mean of two galleries, {trials} probes without "
        "a mate in the one that has fewer",
    }[kind.name]
    thin = f"thin lines and hollow marks rest on fewer than {FEW} {kind.accident}"
    return (
        f"{rates}; {over}). Each point is the largest {hit} of all thresholds with at most this {error}"
        f"{f'; {thin}' if any(map(_few, found)) else ''}."
    )


def _alt(found: Mapping[RecordedExperiment, Operating], kind: CurveKind, short: str, labels: Mapping[str, str]) -> str:
    """Highest and lowest curve of the first training set, where at least ``FEW`` errors stand behind all of them."""
    hit, error = kind.hit.upper(), kind.error.upper()
    names = {each: printed_name(each.method, labels) for each in found}
    start = f"Step curves of {short} for {method_names(names.values())}."
    first = next(iter(found))
    here = {each: curve for each, curve in found.items() if (each.dataset, each.arch) == (first.dataset, first.arch)}
    shared = set.intersection(*({*curve.errors[_few(curve) :]} for curve in here.values()))
    if not shared:
        return start
    place_ = min(shared)
    hits = {each: curve.hits[curve.errors.index(place_)] for each, curve in here.items()}
    best, worst = max(hits, key=hits.__getitem__), min(hits, key=hits.__getitem__)
    several = len({(each.dataset, each.arch) for each in found}) > 1
    where = f"Trained on {printed_name(first.dataset, labels)}, at" if several else "At"
    at = f"{where} {error} = {place_:.2g}"
    if best == worst:
        return f"{start} {at} {names[best]} has a {hit} of {per_cent(hits[best])}."
    return (
        f"{start} {at} {names[best]} is highest with a {hit} of {per_cent(hits[best])}, {names[worst]} lowest with "
        f"{per_cent(hits[worst])}."
    )
