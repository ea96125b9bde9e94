"""Figure 1 in the form of the paper: the change of each rate by a slight misalignment, beside the authors' bars.

The authors print no numbers: their bars are read off the picture, see ``workflow/registries/paper_figure.yaml``.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Literal, Unpack

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from aroface.errors import InputError
from aroface.reporting.claims.printed_bars import PAPER, printed_bar, read_authors
from aroface.reporting.figures.curves import sensitivity_records
from aroface.reporting.figures.form import DEFAULT_FORM, FigureForm, text_inches
from aroface.reporting.figures.layout import (
    COLOURS,
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
from aroface.reporting.figures.save import save_figure
from aroface.reporting.figures.words import FigureWords, method_names, printed_name
from aroface.reporting.records import Record, RecordedExperiment, Selection, load_records, selected
from aroface.reporting.text import FULL_QUALITY, over_seeds

Unit = Literal["points", "percent"]

FARS = tuple(f"tar_at_far_1e-{power}" for power in (5, 4, 3, 2))
"""Metrics of a panel of templates."""
ERRORS = ("adversary", "detector", "points", "joint")
"""Kinds of error that the figure shows, the first one that all records have."""
NAMES = {
    "adversary": "by {:g} times the training adversary's step, in random directions",
    "detector": "as a detector's on faces of {:g} pixels",
    "points": "by landmarks displaced by {:g} pixels on average",
    "joint": "in scale, rotation and shift by {:g} times their largest",
}
SHEET_TITLE, TITLE, PANEL, LABELS, GAP, RIGHT = 0.16, 0.22, 1.05, 0.28, 0.34, 0.06  # inches
LEAST_PANEL, SLANTED = 1.75, 0.32  # inches of a panel's width at least, and of slanted labels' height beyond LABELS
HATCHES = ("", "......", "xxxxx", "-----", "ooo", "+++++", "\\\\\\\\\\")
"""Hatches of bars, by method, so that they can be told apart in black and white."""
AUTHORS = "/////"
"""Hatch of the authors' bars, which are white."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Change of a rate by an error of alignment, in the figure's unit; negative where the error costs.

    Attributes:
        benchmark: Benchmark.
        metric: Metric.
        method: Experiment whose bar it is.
        change: Mean over seeds.
        low: Lower end of the 95 % interval, mean over seeds.
        high: Upper end.
        authors: The authors' change, as they have it in the picture; None where there is none.
        reading_error: Largest error of this.
    """

    benchmark: str
    metric: str
    method: RecordedExperiment
    change: float
    low: float
    high: float
    authors: float | None = None
    reading_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Bars:
    """All that the figure shows.

    Attributes:
        bars: Bars, benchmark by benchmark.
        error: Kind of error and its level.
        perturbed: Side of a comparison that is misaligned, ``probe`` or ``both``.
        seeds: Numbers of seeds of the experiments.
        missing: Benchmarks without results.
    """

    bars: Sequence[Bar]
    error: tuple[str, float]
    perturbed: str
    seeds: Sequence[int]
    missing: Sequence[str] = ()


def read_bars(
    records: Sequence[Record],
    benchmarks: Sequence[str],
    experiments: Sequence[RecordedExperiment] | None,
    authors: Mapping[str, Any],
    unit: Unit = "points",
) -> Bars:
    """The change of each rate at full quality.

    Args:
        records: Records that count.
        benchmarks: Benchmarks with protocol ``sensitivity``, of templates and of pairs.
        experiments: Experiments that are shown; None for all that have records.
        authors: Bars of the paper.
        unit: ``points``, or ``percent`` of the rate without an error.

    Raises:
        InputError: None of the benchmarks has such records, or they share no kind of error or side.
    """
    there = [name for name in benchmarks if _has_records(records, name, experiments)]
    groups = {name: sensitivity_records(records, name, experiments) for name in there or benchmarks}
    every = [record for group in groups.values() for seeds in group.values() for record in seeds]
    error = _shared_error(every)
    sides = sorted({record.protocol["options"].get("perturbed", "probe") for record in every})
    if len(sides) > 1:
        raise InputError("one side and both are misaligned", file=every[0].path, expected="one of them in all records")
    bars = [
        bar
        for name, group in groups.items()
        for experiment, seeds in group.items()
        for bar in _bars(name, experiment, seeds, error, authors, unit)
    ]
    counts = sorted({len(seeds) for group in groups.values() for seeds in group.values()})
    return Bars(bars, error, sides[0], counts, [name for name in benchmarks if name not in there])


def _has_records(records: Sequence[Record], benchmark: str, experiments: Sequence[RecordedExperiment] | None) -> bool:
    return any(
        record.benchmark == benchmark and (experiments is None or record.experiment in experiments)
        for record in records
    )


def _shared_error(records: Sequence[Record]) -> tuple[str, float]:
    """The error that the figure shows: of the kinds the first that all records have, its largest level."""
    found = [
        {(str(point["factor"]), float(point["level"])) for point in record.series if point["quality"] == FULL_QUALITY}
        for record in records
    ]
    shared = set.intersection(*found)
    for kind in ERRORS:
        levels = [level for factor, level in shared if factor == kind and level]
        if levels:
            return kind, max(levels)
    raise InputError(
        "no error of alignment that all benchmarks have",
        file=records[0].path,
        expected=f"one of {', '.join(ERRORS)} at full quality, of one level",
    )


def _bars(
    benchmark: str,
    experiment: RecordedExperiment,
    seeds: Sequence[Record],
    error: tuple[str, float],
    authors: Mapping[str, Any],
    unit: Unit,
) -> list[Bar]:
    bars = []
    for metric in (*FARS, "accuracy"):
        points = [point for record in seeds for point in record.series if _is(point, metric, error)]
        if len(points) != len(seeds):
            continue
        ends = [_changes(point, unit) for point in points]
        if None in ends:
            continue
        change, low, high = (statistics.fmean(each) for each in zip(*(end for end in ends if end), strict=True))
        printed = printed_bar(authors, benchmark, metric, experiment)
        theirs = (float(printed.change), float(printed.error)) if printed else (None, 0.0)
        bars.append(Bar(benchmark, metric, experiment, change, low, high, *theirs))
    if not bars:
        expected = f"{', '.join(FARS)} or accuracy"
        raise InputError("none of the figure's metrics", file=seeds[0].path, where="series", expected=expected)
    return bars


def _is(point: Mapping[str, Any], metric: str, error: tuple[str, float]) -> bool:
    here = (point["metric"], point["quality"], point["factor"], point["level"])
    return here == (metric, FULL_QUALITY, *error)


def _changes(point: Mapping[str, Any], unit: Unit) -> tuple[float, float, float] | None:
    """Change and the ends of its interval; None of a rate that is 0 without an error, in per cent."""
    drop = "drop" if unit == "points" else "relative_drop"
    values = [point.get(name) for name in (drop, f"{drop}_high", f"{drop}_low")]
    if any(value is None for value in values):
        return None
    change, low, high = (-100 * float(value) for value in values if value is not None)
    return change, low, high


def figure_fae_paper(
    records: str | PathLike[str],
    benchmarks: Sequence[str],
    out: str | PathLike[str],
    *,
    grids: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    unit: Unit = "points",
    paper: str | PathLike[str] = PAPER,
    form: FigureForm = DEFAULT_FORM,
    caption_note: str | None = None,
    command: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw figure 1 as the paper has it.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex`` (a figure environment with the caption).

    Args:
        records: Folder of the records.
        benchmarks: Benchmarks with protocol ``sensitivity``: a panel for each one of templates, one for all of pairs.
        out: Path of the files without their suffix.
        grids: Pictures of faces, aligned and misaligned, uint8 H×W×3; None leaves them out.
        unit: Unit of the changes: ``points``, or ``percent`` of the rate without an error.
        paper: The authors' bars.
        form: Width and typeface.
        caption_note: Last sentence of the caption.
        command: Command that draws the figure, for its files.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: There are no such records, or they are ambiguous or not comparable.
    """
    runs, experiments, labels = selected(shown)
    authors = read_authors(paper)
    loaded = load_records(records, runs)
    found = read_bars(loaded, benchmarks, experiments, authors, unit)
    methods = [*dict.fromkeys(bar.method for bar in found.bars)]
    named = looks(methods, labels, experiments or ())
    styles = {
        method: replace(look, colour=COLOURS[number % len(COLOURS)])
        for number, (method, look) in enumerate(named.items())
    }
    names = {**labels, **{panel["benchmark"]: panel["label"] for panel in authors["panels"]}}
    words = FigureWords(
        "Change of rates by a slight misalignment",
        _caption(found, unit, authors["source"], names, grids is not None),
        _alt(found, styles, names, unit),
    )
    sources = [record.path for record in loaded if record.benchmark in benchmarks and record.experiment in methods]
    options: Any = {"form": form, "note": caption_note, "command": command}
    save_figure(out, lambda: draw(found, styles, names, unit, grids or (), form), words, sources, **options)


@dataclass(frozen=True, slots=True)
class _Panel:
    """A panel and its place.

    Attributes:
        title: Name of the benchmark; None for the accuracy of all sets of pairs.
        groups: Bars by metric or benchmark.
        ticks: Names of the groups.
        line: Number of its line.
        column: Number of its column in the line.
        across: Number of panels of that line.
        slanted: True if the names of the groups have no room beside each other.
    """

    title: str | None
    groups: Mapping[str, Sequence[Bar]]
    ticks: Sequence[str]
    line: int
    column: int
    across: int
    slanted: bool


def draw(
    found: Bars,
    styles: Mapping[RecordedExperiment, Look],
    names: Mapping[str, str],
    unit: Unit,
    grids: Sequence[NDArray[np.uint8]] = (),
    form: FigureForm = DEFAULT_FORM,
) -> Figure:
    """Draw the figure; call this and save it within ``matplotlib.rc_context(style(form))``.

    Args:
        found: Bars.
        styles: Look of each experiment.
        names: Printed names of benchmarks by their keys.
        unit: Unit of the changes.
        grids: Pictures of aligned and of misaligned faces, or none.
        form: Width and typeface.
    """
    whole = form.inches - LEFT - RIGHT
    panels = _placed(_panels(found.bars), names, whole)
    letters = "cdefghijkl" if len(grids) else "abcdefghij"
    sheets = [SHEET_TITLE + whole * grid.shape[0] / grid.shape[1] for grid in grids]
    authors = [Patch(facecolor="white", edgecolor="0.3", hatch=AUTHORS, linewidth=0.5, label="authors, read off")]
    further = authors if any(bar.authors is not None for bar in found.bars) else []
    lines = panels[-1].line + 1
    slanted = [any(panel.slanted for panel in panels if panel.line == line) for line in range(lines)]
    tall = [TITLE + PANEL + LABELS + SLANTED * each for each in slanted]
    figure = Figure(
        figsize=(form.inches, sum(sheets) + sum(tall) + legend_height(styles.values(), further, room=form.inches))
    )
    top = 0.0
    for grid, sheet, heading in zip(grids, sheets, ("(a) aligned", "(b) slightly misaligned"), strict=False):
        axes = place(figure, LEFT, top + SHEET_TITLE, whole, sheet - SHEET_TITLE)
        axes.imshow(grid, aspect="auto", interpolation="none")
        axes.set_axis_off()
        axes.set_title(heading, pad=2)
        top += sheet
    hatches = _hatches(styles)
    for letter, panel in zip(letters, panels, strict=False):
        width = (whole - (panel.across - 1) * GAP) / panel.across
        down = top + sum(tall[: panel.line]) + TITLE
        axes = place(figure, LEFT + panel.column * (width + GAP), down, width, PANEL)
        _draw_panel(axes, panel, styles, hatches)
        name = "accuracy" if panel.title is None else f"TAR, {figure_text(printed_name(panel.title, names))}"
        axes.set_title(f"({letter}) change of {name}")
    axis = "points" if unit == "points" else "% of the aligned rate"
    ordinate_label(figure, top + sum(tall) / 2, f"change ({axis})")

    def handle(look: Look) -> Patch:
        return Patch(facecolor=look.colour, label=look.label, **_hatched(hatches[look.label]))

    draw_legend(figure, styles.values(), further, handles=handle)
    return figure


def _hatches(styles: Mapping[RecordedExperiment, Look]) -> dict[str, str]:
    return {look.label: HATCHES[number % len(HATCHES)] for number, look in enumerate(styles.values())}


def _hatched(hatch: str) -> dict[str, Any]:
    return {"hatch": hatch, "edgecolor": "white", "linewidth": 0.0} if hatch else {}


def _placed(
    panels: Sequence[tuple[str | None, Mapping[str, Sequence[Bar]]]], names: Mapping[str, str], whole: float
) -> list[_Panel]:
    """Panels in lines; that of pairs has one to itself where its labels have no room in a part of one."""
    across = beside(len(panels), LEAST_PANEL, whole, GAP)
    placed: list[_Panel] = []
    for title, groups in panels:
        ticks = [figure_text(printed_name(group, names)) if title is None else _far(group) for group in groups]
        widest = max(text_inches(tick, 7) for tick in ticks) + 0.06
        part = (whole - (across - 1) * GAP) / across / len(groups)
        alone = title is None and widest > part
        last = placed[-1] if placed else _Panel(None, {}, [], -1, 0, 1, False)
        fresh = alone or last.column + 1 == last.across
        line, column = (last.line + 1, 0) if fresh else (last.line, last.column + 1)
        slot = whole / len(groups) if alone else part
        placed.append(_Panel(title, groups, ticks, line, column, 1 if alone else across, widest > slot))
    # A line that is not full shares its width.
    there = [sum(each.line == panel.line for each in placed) for panel in placed]
    return [replace(panel, across=number) for panel, number in zip(placed, there, strict=True)]


def _panels(bars: Sequence[Bar]) -> list[tuple[str | None, dict[str, list[Bar]]]]:
    """Panels in order, each with its groups of bars: a benchmark of templates by FAR, all of pairs by benchmark."""
    panels: dict[str | None, dict[str, list[Bar]]] = {}
    for bar in sorted(bars, key=lambda bar: bar.metric == "accuracy"):
        pairs = bar.metric == "accuracy"
        groups = panels.setdefault(None if pairs else bar.benchmark, {})
        groups.setdefault(bar.benchmark if pairs else bar.metric, []).append(bar)
    return [*panels.items()]


def _far(metric: str) -> str:
    return rf"$10^{{-{metric.rpartition('-')[2]}}}$"


def _draw_panel(
    axes: Axes, panel: _Panel, styles: Mapping[RecordedExperiment, Look], hatches: Mapping[str, str]
) -> None:
    """Groups of bars; each of the authors' stands beside the one that repeats it."""
    groups = [*panel.groups.values()]
    width = 0.84 / max(sum(1 + (bar.authors is not None) for bar in group) for group in groups)
    thin: Any = {"elinewidth": 0.6, "capsize": 1.2, "capthick": 0.6, "ecolor": "0.15"}
    for place_, group in enumerate(groups):
        slots = sum(1 + (bar.authors is not None) for bar in group)
        left = place_ - width * slots / 2
        for bar in group:
            look = styles[bar.method]
            ends = [[max(0.0, bar.change - bar.low)], [max(0.0, bar.high - bar.change)]]
            filled: Any = {"color": look.colour} | _hatched(hatches[look.label])
            if "hatch" in filled:
                filled = {"facecolor": filled.pop("color"), **filled}
            axes.bar(left + width / 2, bar.change, 0.92 * width, yerr=ends, error_kw=thin, **filled)
            left += width
            if bar.authors is not None:
                empty: Any = {"facecolor": "white", "edgecolor": look.colour, "hatch": AUTHORS, "linewidth": 0.5}
                axes.bar(left + width / 2, bar.authors, 0.92 * width, yerr=bar.reading_error, error_kw=thin, **empty)
                left += width
    axes.axhline(0, color="0.2", linewidth=0.5)
    turn: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if panel.slanted else {}
    axes.set_xticks(range(len(groups)), panel.ticks, **turn)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_xlim(-0.5, len(groups) - 0.5)


def _caption(found: Bars, unit: Unit, source: str, names: Mapping[str, str], faces: bool) -> str:
    kind, level = found.error
    sheets = "; (a) aligned and (b) misaligned faces" if faces else ""
    of = "in points" if unit == "points" else "in per cent of the aligned rate"
    side = "both images of a comparison are" if found.perturbed == "both" else "the second image of a comparison is"
    hatched = ""
    if any(bar.authors is not None for bar in found.bars):
        hatched = (
            f" White bars are the authors', read off {source}, with the error of reading; the picture does not tell "
            "its unit, which side is misaligned, nor the size of the error."
        )
    missing = f" No results: {', '.join(printed_name(name, names) for name in found.missing)}." if found.missing else ""
    return (
        f"Change of TAR at a FAR on templates and of accuracy on pairs, {of}, when {side} misaligned "
        f"{NAMES[kind].format(level)}, each image by an error of its own{sheets}; {over_seeds(found.seeds)}. Error "
        f"bars are 95 % confidence intervals over draws of people.{hatched}{missing}"
    )


def _alt(found: Bars, styles: Mapping[RecordedExperiment, Look], names: Mapping[str, str], unit: Unit) -> str:
    in_unit = "points" if unit == "points" else "per cent"
    worst = min(found.bars, key=lambda bar: bar.change)
    rate = "accuracy" if worst.metric == "accuracy" else f"TAR at FAR = 1e-{worst.metric.rpartition('-')[2]}"
    authors = "" if worst.authors is None else f"; the authors' bar shows {_number(worst.authors)}"
    return (
        "Bar charts of the change of TAR and accuracy by a slight misalignment for "
        f"{method_names(look.name for look in styles.values())}. The largest drop is that of "
        f"{styles[worst.method].name} on {printed_name(worst.benchmark, names)}: {_number(worst.change)} {in_unit} of "
        f"{rate}{authors}."
    )


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")
