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
from aroface.reporting.figures.layout import AXES, LEFT, LEGEND_LINE, TEXT_WIDTH, TREATMENTS, Look, looks, place
from aroface.reporting.figures.save import save_figure
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
"""By factor; methods have their colours, and treatments of the training images how marks are filled."""
PANEL, GAP, RIGHT, TOP, LABELS = 1.9, 0.14, 0.08, 0.22, 0.36
TINT = 0.4
KINDS_WIDTH = 1.0
APART = 0.12  # pixels of displacement between neighbouring methods, so that their intervals can be told apart
SIZE = 3.6
LETTERS = "ab"
Found = Mapping[RecordedExperiment, Mapping[str, Sequence[Point]]]


def figure_landmarks(
    records: str | PathLike[str],
    benchmark: str,
    out: str | PathLike[str],
    *,
    metric: str = DEFAULT_METRIC,
    low: str | None = None,
    caption_note: str | None = None,
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
        caption_note: Last sentence of the caption.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: There are no such records, or they are ambiguous or not comparable.
    """
    sweep = load_sweep(records, benchmark, metric, shown)
    labels = selected(shown)[2]
    panels = qualities([*sweep.curves.values()], low)
    options = next(iter(sweep.records.values()))[0].protocol["options"]
    curves = {
        experiment: {quality: points(group, quality, options) for quality in panels}
        for experiment, group in sweep.curves.items()
    }
    caption = _caption(curves, metric, panels, sweep.seeds)
    save_figure(out, lambda: draw(curves, looks([*curves], labels), panels, metric), caption, caption_note)


def draw(found: Found, styles: Mapping[RecordedExperiment, Look], panels: Sequence[str], metric: str) -> Figure:
    """Draw the figure; call this and save it within ``matplotlib.rc_context(STYLE)``.

    Args:
        found: Errors of each experiment by quality.
        styles: Look of each experiment.
        panels: Qualities, one panel each.
        metric: Name of the metric.
    """
    factors = _factors(found)
    legend = LEGEND_LINE * max(len(factors), len(styles)) + 0.06
    figure = Figure(figsize=(TEXT_WIDTH, TOP + PANEL + LABELS + legend))
    width = (TEXT_WIDTH - LEFT - RIGHT - (len(panels) - 1) * GAP) / len(panels)
    first: Axes | None = None
    for number, quality in enumerate(panels):
        axes = place(figure, LEFT + number * (width + GAP), TOP, width, PANEL, sharex=first, sharey=first)
        first = first or axes
        axes.tick_params(labelleft=number == 0)
        axes.set_title(f"({LETTERS[number]}) {quality_name(quality)}")
        axes.set_xlabel("displacement of landmarks (px)")
        axes.axhline(0, color="0.5", linewidth=0.5)
        for place_of, (experiment, look) in enumerate(styles.items()):
            _draw_points(axes, found[experiment][quality], look, APART * (place_of - (len(styles) - 1) / 2))
    assert first is not None, "there are qualities"
    first.set_xlim(left=0)
    first.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    first.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    middle = 1 - (TOP + PANEL / 2) / figure.get_figheight()
    name = metric_name(metric)[0]
    figure.text(0.012, middle, f"drop of {name} (points)", rotation=90, va="center", ha="left")
    correlations = {experiment: _correlations(found[experiment], panels) for experiment in styles}
    _draw_legends(figure, factors, correlations, styles)
    return figure


def _face(look: Look) -> Any:
    """Fill of the marks of a treatment: none for plain training, full for ARoFace, else a tint."""
    if look.marker == TREATMENTS[""][1]:
        return "white"
    return look.colour if look.marker == TREATMENTS["aroface"][1] else (look.colour, TINT)


def _draw_points(axes: Axes, found: Sequence[Point], look: Look, aside: float) -> None:
    for point in found:
        ends = [[100 * (point.drop - point.low)], [100 * (point.high - point.drop)]]
        at = [point.displacement + aside], [100 * point.drop]
        axes.errorbar(*at, yerr=ends, fmt="none", ecolor=look.colour, elinewidth=0.5, alpha=0.6, zorder=2)
        axes.plot(*at, MARKERS[point.factor], color=look.colour, markerfacecolor=_face(look), markersize=SIZE, zorder=3)


def _factors(found: Found) -> list[str]:
    there = {point.factor for each in found.values() for here in each.values() for point in here}
    return [factor for factor in FACTORS if factor in there]


def _correlations(found: Mapping[str, Sequence[Point]], panels: Sequence[str]) -> str:
    """Spearman's correlation of each panel, with the panel's letter where there are several."""
    values = [rank_correlation(found[quality]) for quality in panels]
    texts = ["none" if value is None else f"{value:.2f}".replace("-", "$-$") for value in values]
    letters = [f" ({letter})" for letter in LETTERS[: len(panels)]] if len(panels) > 1 else [""]
    return ", ".join(map("".join, zip(texts, letters, strict=True)))


def _draw_legends(
    figure: Figure,
    factors: Sequence[str],
    correlations: Mapping[RecordedExperiment, str],
    styles: Mapping[RecordedExperiment, Look],
) -> None:
    """Kinds of error by shape to the left; methods by colour and filling, with their correlations, to the right."""
    mark: Any = {"linestyle": "none", "markersize": SIZE}
    kinds = [
        Line2D([], [], color="0.3", marker=MARKERS[each], markerfacecolor="white", label=AXES[each][0], **mark)
        for each in factors
    ]
    methods = [
        Line2D([], [], color=look.colour, marker="o", markerfacecolor=_face(look), label=label, **mark)
        for experiment, look in styles.items()
        for label in [rf"{look.label}: $\rho$ = {correlations[experiment]}"]
    ]
    common: Any = {"frameon": False, "borderaxespad": 0, "borderpad": 0.1, "labelspacing": 0.3, "handletextpad": 0.2}
    across = figure.get_figwidth()
    figure.legend(handles=kinds, loc="lower left", bbox_to_anchor=(LEFT / across, 0), **common)
    figure.legend(handles=methods, loc="lower left", bbox_to_anchor=((LEFT + KINDS_WIDTH) / across, 0), **common)


def _caption(found: Found, metric: str, panels: Sequence[str], seeds: Sequence[int]) -> str:
    intervals = "95\u00a0% intervals over draws of people" + ("" if seeds == [1] else ", averaged over seeds")
    errors = len(next(iter(found.values()))[panels[0]])
    size = f"{TEMPLATE_SIZE}\u00a0×\u00a0{TEMPLATE_SIZE}"
    where = " and ".join(f"({letter}) {quality_name(each)}" for letter, each in zip(LETTERS, panels, strict=False))
    return (
        f"Does the displacement of landmarks tell what an alignment error costs? Drop of {metric_name(metric)[0]} from "
        "perfect alignment against the mean distance by which the error moves the five landmarks of the template, in "
        f"pixels of a crop of {size}, over all directions of the error; probes at {where}; "
        f"{over_seeds(seeds)}. Bars: {intervals}; marks of one error stand side by side. In the legend: Spearman's "
        f"rank correlation of displacement and drop over the {errors} errors."
    )
