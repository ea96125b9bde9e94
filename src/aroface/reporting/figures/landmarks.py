"""Figure of the displacement of landmarks: does it tell what an alignment error costs, whatever the error's kind?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Unpack

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.stats import spearmanr

from aroface.embedding.alignment_sweep import Directions, Variant, error_matrices
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE, transform
from aroface.reporting.figures.curves import (
    FACTORS,
    Curve,
    load_sweep,
    qualities,
)
from aroface.reporting.figures.form import DEFAULT_FORM, FigureForm, text_inches
from aroface.reporting.figures.layout import (
    AXES,
    LEFT,
    LEGEND_LINE,
    PANEL_LABELS,
    PANEL_TITLE,
    Look,
    beside,
    looks,
    ordinate_label,
    place,
)
from aroface.reporting.figures.save import save_figure
from aroface.reporting.figures.words import FigureWords, method_names
from aroface.reporting.records import RecordedExperiment, Selection, selected
from aroface.reporting.text import DEFAULT_METRIC, metric_name, over_seeds, quality_name

_BEARINGS = 360


@dataclass(frozen=True, slots=True)
class Point:
    """One alignment error.

    Attributes:
        factor: Kind of error.
        displacement: Distance by which it moves the landmarks, see :func:`mean_displacement`.
        drop: Cost of the error, a difference of fractions, mean over seeds.
        low: Lower end of the 95 % interval of the drop.
        high: Upper end.
    """

    factor: str
    displacement: float
    drop: float
    low: float
    high: float


def mean_displacement(variant: Variant, joint_maximum: Mapping[str, float]) -> float:
    """Mean distance in pixels by which an error moves the five landmarks of the template in a crop of 112×112.

    The mean over landmarks and over the directions that :func:`.alignment_sweep.draw_directions` draws from:
    both signs of scale and rotation, all bearings of the shift. Errors of one factor are as large in every direction.

    Args:
        variant: Kind and size of the error.
        joint_maximum: Option of the protocol.
    """
    signs, bearings = np.array([-1.0, 1.0]), np.arange(_BEARINGS) * (2 * np.pi / _BEARINGS)
    scale, rotation, bearing = (each.ravel() for each in np.meshgrid(signs, signs, bearings))
    matrices = error_matrices(variant, Directions(scale, rotation, bearing), joint_maximum, TEMPLATE_SIZE)
    return float(np.linalg.norm(transform(matrices, TEMPLATE) - TEMPLATE, axis=-1).mean())


def points(found: Mapping[tuple[str, str], Curve], quality: str, options: Mapping[str, Any]) -> list[Point]:
    """The errors of one experiment's curves at one quality, but for the undistorted probes.

    Args:
        found: Curves of the experiment by quality and factor.
        quality: Quality of the probes.
        options: Options of the protocol.
    """
    maximum = options["joint_maximum"]
    return [
        Point(factor, mean_displacement(Variant(None, factor, level), maximum), drop, low, high)
        for (each, factor), curve in found.items()
        if each == quality
        for level, drop, low, high in zip(curve.levels, curve.drop, curve.drop_low, curve.drop_high, strict=True)
        if level > 0
    ]


def rank_correlation(found: Sequence[Point]) -> float | None:
    """Spearman's correlation of displacement and drop; None where either is the same for all."""
    displacements, drops = [each.displacement for each in found], [each.drop for each in found]
    if len({*displacements}) < 2 or len({*drops}) < 2:
        return None
    return float(spearmanr(displacements, drops).statistic)


MARKERS = {"scale": "^", "rotation": "s", "shift": "D", "joint": "o"}
"""By factor; methods have their colours, and marks that are filled in different ways."""
FILLS = ("none", "full", "left", "bottom", "right", "top")
"""Fills of marks, by method; beyond these, a tint takes the place of white."""
PANEL, GAP, RIGHT = 1.9, 0.14, 0.08
TINT = 0.4
APART = 0.12  # pixels of displacement between neighbouring methods, so that their intervals can be told apart
SIZE = 4.0
LETTERS = "ab"
Found = Mapping[RecordedExperiment, Mapping[str, Sequence[Point]]]


def figure_landmarks(
    records: str | PathLike[str],
    benchmark: str,
    out: str | PathLike[str],
    *,
    metric: str = DEFAULT_METRIC,
    low: str | None = None,
    form: FigureForm = DEFAULT_FORM,
    caption_note: str | None = None,
    command: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw the drop of a metric against the displacement of landmarks, all alignment errors in one panel a quality.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex`` (a figure environment with the caption).

    Args:
        records: Folder of the records.
        benchmark: Key of a benchmark with protocol ``sensitivity``.
        out: Path of the files without their suffix.
        metric: Metric of the series.
        low: Low quality, such as ``r24``; None takes the lowest resolution there is.
        form: Width and typeface.
        caption_note: Last sentence of the caption.
        command: Command that draws the figure, for its files.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: There are no such records, or they are ambiguous or not comparable.
    """
    sweep = load_sweep(records, benchmark, metric, shown)
    _, experiments, labels = selected(shown)
    panels = qualities([*sweep.curves.values()], low)
    swept = next(iter(sweep.records.values()))[0].protocol["options"]
    curves = {
        experiment: {quality: points(group, quality, swept) for quality in panels}
        for experiment, group in sweep.curves.items()
    }
    styles = looks([*curves], labels, experiments or ())
    words = FigureWords(
        f"Drop of {metric_name(metric)[0]} against displacement of landmarks",
        _caption(curves, metric, panels, sweep.seeds),
        _alt(curves, styles, metric, panels),
    )
    options: Any = {"form": form, "note": caption_note, "command": command}
    save_figure(out, lambda: draw(curves, styles, panels, metric, form), words, sweep.paths, **options)


def draw(
    found: Found,
    styles: Mapping[RecordedExperiment, Look],
    panels: Sequence[str],
    metric: str,
    form: FigureForm = DEFAULT_FORM,
) -> Figure:
    """Draw the figure; call this and save it within ``matplotlib.rc_context(style(form))``.

    Args:
        found: Errors of each experiment by quality.
        styles: Look of each experiment.
        panels: Qualities, one panel each.
        metric: Name of the metric.
        form: Width and typeface.
    """
    correlations = {experiment: _correlations(found[experiment], panels) for experiment in styles}
    legends = _legends(_factors(found), correlations, styles, form)
    across = beside(len(panels), text_inches(ABSCISSA, 8) + 0.08 - GAP, form.inches - LEFT - RIGHT, GAP)
    lines = -(-len(panels) // across)
    block = PANEL_TITLE + PANEL + PANEL_LABELS
    figure = Figure(figsize=(form.inches, lines * block + legends.height))
    width = (form.inches - LEFT - RIGHT - (across - 1) * GAP) / across
    first: Axes | None = None
    for number, quality in enumerate(panels):
        line, column = divmod(number, across)
        left, top = LEFT + column * (width + GAP), line * block + PANEL_TITLE
        axes = place(figure, left, top, width, PANEL, sharex=first, sharey=first)
        first = first or axes
        axes.tick_params(labelleft=column == 0)
        axes.set_title(f"({LETTERS[number]}) {quality_name(quality)}")
        axes.set_xlabel(ABSCISSA)
        axes.axhline(0, color="0.5", linewidth=0.5)
        for place_of, (experiment, look) in enumerate(styles.items()):
            aside = APART * (place_of - (len(styles) - 1) / 2)
            _draw_points(axes, found[experiment][quality], _fill(look, place_of), aside)
    assert first is not None, "there are qualities"
    first.set_xlim(left=0)
    first.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    first.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    for line in range(lines):
        name = f"drop of {metric_name(metric)[0]} (points)"
        ordinate_label(figure, line * block + PANEL_TITLE + PANEL / 2, name)
    legends.draw(figure)
    return figure


ABSCISSA = "displacement of landmarks (px)"


def _fill(look: Look, number: int) -> dict[str, Any]:
    """Colour and fill of the marks of a method, which tell it from others in black and white too."""
    fill, tinted = FILLS[number % len(FILLS)], number >= len(FILLS)
    other = (look.colour, TINT) if tinted else "white"
    if fill == "none":
        return {"color": look.colour, "markerfacecolor": other}
    return {"color": look.colour, "fillstyle": fill, "markerfacecoloralt": other}


def _draw_points(axes: Axes, found: Sequence[Point], fill: Mapping[str, Any], aside: float) -> None:
    for point in found:
        ends = [[100 * (point.drop - point.low)], [100 * (point.high - point.drop)]]
        at = [point.displacement + aside], [100 * point.drop]
        axes.errorbar(*at, yerr=ends, fmt="none", ecolor=fill["color"], elinewidth=0.5, alpha=0.6, zorder=2)
        axes.plot(*at, MARKERS[point.factor], **fill, markersize=SIZE, markeredgewidth=0.7, zorder=3)


def _factors(found: Found) -> list[str]:
    there = {point.factor for each in found.values() for here in each.values() for point in here}
    return [factor for factor in FACTORS if factor in there]


def _correlations(found: Mapping[str, Sequence[Point]], panels: Sequence[str]) -> str:
    """Spearman's correlation of each panel, with the panel's letter where there are several."""
    values = [rank_correlation(found[quality]) for quality in panels]
    texts = ["none" if value is None else f"{value:.2f}".replace("-", "$-$") for value in values]
    letters = [f" ({letter})" for letter in LETTERS[: len(panels)]] if len(panels) > 1 else [""]
    return ", ".join(map("".join, zip(texts, letters, strict=True)))


@dataclass(frozen=True, slots=True)
class _Legends:
    """Kinds of error by shape, and methods by colour and fill with their correlations.

    Attributes:
        kinds: Handles of the kinds of error.
        methods: Handles of the methods.
        beside: True if the methods have room to the right of the kinds; else they stand below a line of these.
        kinds_width: Inches that the kinds take if they do.
    """

    kinds: Sequence[Line2D]
    methods: Sequence[Line2D]
    beside: bool
    kinds_width: float

    @property
    def height(self) -> float:
        """Inches at the bottom of the figure."""
        lines = max(len(self.kinds), len(self.methods)) if self.beside else 1 + len(self.methods)
        return LEGEND_LINE * lines + 0.08

    def draw(self, figure: Figure) -> None:
        """Write them at the bottom."""
        common: Any = {"frameon": False, "borderaxespad": 0, "borderpad": 0.1, "labelspacing": 0.3}
        common |= {"loc": "upper left", "handletextpad": 0.2, "columnspacing": 1.0}
        left, down = (LEFT - 0.1) / figure.get_figwidth(), figure.get_figheight()
        top = self.height / down
        below = top if self.beside else top - LEGEND_LINE / down
        columns = 1 if self.beside else len(self.kinds)
        figure.legend(handles=self.kinds, bbox_to_anchor=(left, top), ncols=columns, **common)
        indent = self.kinds_width / figure.get_figwidth() if self.beside else 0
        figure.legend(handles=self.methods, bbox_to_anchor=(left + indent, below), **common)


def _legends(
    factors: Sequence[str],
    correlations: Mapping[RecordedExperiment, str],
    styles: Mapping[RecordedExperiment, Look],
    form: FigureForm,
) -> _Legends:
    mark: Any = {"linestyle": "none", "markersize": SIZE, "markeredgewidth": 0.7}
    kinds = [
        Line2D([], [], color="0.3", marker=MARKERS[each], markerfacecolor="white", label=AXES[each][0], **mark)
        for each in factors
    ]
    methods = [
        Line2D(
            [],
            [],
            marker="o",
            label=rf"{look.label}: $\rho$ = {correlations[experiment]}",
            **_fill(look, number),
            **mark,
        )
        for number, (experiment, look) in enumerate(styles.items())
    ]
    widths = [[text_inches(str(handle.get_label()), 8) + 0.35 for handle in group] for group in (kinds, methods)]
    kinds_width = max(widths[0]) + 0.15
    return _Legends(kinds, methods, LEFT + kinds_width + max(widths[1]) <= form.inches, kinds_width)


def _caption(found: Found, metric: str, panels: Sequence[str], seeds: Sequence[int]) -> str:
    intervals = "95 % confidence intervals over draws of people" + ("" if seeds == [1] else ", averaged over seeds")
    errors = len(next(iter(found.values()))[panels[0]])
    size = f"{TEMPLATE_SIZE}\u00a0×\u00a0{TEMPLATE_SIZE}"
    where = " and ".join(f"({letter}) {quality_name(each)}" for letter, each in zip(LETTERS, panels, strict=False))
    return (
        f"Drop of {metric_name(metric)[0]} from perfect alignment against the mean distance by which an alignment "
        f"error moves the five landmarks, in pixels of a crop of {size}, for probes at {where}, {over_seeds(seeds)}. "
        f"Bars are {intervals}; marks of one error stand side by side; ρ is Spearman's rank correlation of "
        f"displacement and drop over the {errors} errors."
    )


def _alt(found: Found, styles: Mapping[RecordedExperiment, Look], metric: str, panels: Sequence[str]) -> str:
    names = {experiment: look.name for experiment, look in styles.items()}
    every = [
        (point.drop, point.displacement, point.factor, names[each], quality)
        for each in found
        for quality in panels
        for point in found[each][quality]
    ]
    drop, displacement, factor, name, quality = max(every)
    known = [value for each in found.values() for q in panels if (value := rank_correlation(each[q])) is not None]
    rises = f" Rank correlations lie between {min(known):.2f} and {max(known):.2f}." if known else ""
    return (
        f"Scatter plots of the drop of {metric_name(metric)[0]} against the displacement of landmarks for "
        f"{method_names(names.values())}.{rises} The largest drop is that of {name} at {quality_name(quality)}: "
        f"{100 * drop:.1f} points, for landmarks moved by {displacement:.1f} pixels ({AXES[factor][0]})."
    )
