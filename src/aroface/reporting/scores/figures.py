"""Figures of an evaluation of scores: DET curves, score distributions, and rank of the mate in a search (CMC).

A DET curve has FNMR over FMR, both on logarithmic axes or both on the scale of normal deviates (ISO/IEC 19795-1; Martin
et al., "The DET curve in assessment of detection task performance", Eurospeech 1997).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from scipy.special import ndtri

from aroface.evaluation.metrics.operating_points import FARS
from aroface.evaluation.scores import FEW, SystemVerdict
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.layout import COLOURS, FURTHER_DASHES, place

DetAxes = Literal["log", "normal"]
STYLE: Any = {
    **style(DEFAULT_FORM),
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "mathtext.fontset": "stix",
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
}
_WIDTH = 6.0
_DASHES: Sequence[Any] = ("-", (0, (4, 1.6)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), *FURTHER_DASHES[1:5])
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
_BINS = 60


def det(verdicts: Sequence[SystemVerdict], axes: DetAxes = "log") -> Figure:
    """Draw the DET curves of all systems; to be saved within ``matplotlib.rc_context(STYLE)``.

    Where a curve rests on fewer than 30 false matches it is thin; the 95 % interval of the FNMR is drawn at each power
    of ten of the FMR.
    """
    figure = Figure(figsize=(_WIDTH, 4.4))
    panel = place(figure, 0.65, 0.15, 3.9, 3.7)
    lowest_x, lowest_y, highest_y = 1.0, 1.0, 0.0
    for number, verdict in enumerate(verdicts):
        fmr, fnmr = np.array(verdict.curve["far"]), 1 - np.array(verdict.curve["tar"])
        shown = (fnmr > 0) & (fmr < 1) & (fnmr < 1)
        look: Any = {"color": _colour(number), "linestyle": _DASHES[number % len(_DASHES)]}
        steady = fmr * verdict.curve["impostors"] >= FEW
        for part, width in ((shown & steady, 1.4), (shown, 0.6)):
            x, y = _scaled(fmr[part], axes), _scaled(fnmr[part], axes)
            panel.plot(x, y, drawstyle="steps-post", linewidth=width, **look)
        panel.plot([], [], label=_label(verdict.name), marker=_MARKERS[number], markersize=3.5, **look)
        _det_intervals(panel, verdict, number, axes)
        if shown.any():
            lowest_x, lowest_y = min(lowest_x, fmr[shown].min()), min(lowest_y, fnmr[shown].min())
            highest_y = max(highest_y, fnmr[shown].max())
    lowest = min(lowest_x, lowest_y, 0.1)
    diagonal = _scaled(np.array([lowest, 0.5]), axes)
    panel.plot(diagonal, diagonal, color="0.75", linewidth=0.6, zorder=0, label="FMR = FNMR")
    _det_axes(panel, (min(lowest_x, 0.01), min(lowest_y, 0.01)), axes, 0.6 if highest_y < 0.6 else 0.95)
    panel.set_xlabel("false match rate, FMR (%)")
    panel.set_ylabel("false non-match rate, FNMR (%)")
    figure.legend(loc="upper left", bbox_to_anchor=(4.65 / _WIDTH, 1 - 0.12 / 4.4), frameon=False, handlelength=2.6)
    return figure


def _colour(number: int) -> str:
    return (*COLOURS, "#7F7F7F")[number % 8]


def _label(name: str) -> str:
    """A name as the legend prints it: no dollar sign of it begins mathematics, and an underscore hides nothing."""
    name = name if len(name) <= 28 else f"{name[:27]}…"
    return name.replace("$", r"\$") if not name.startswith("_") else f" {name}".replace("$", r"\$")


def _scaled(rates: Any, axes: DetAxes) -> Any:
    return ndtri(rates) if axes == "normal" else np.log10(rates)


def _det_intervals(panel: Axes, verdict: SystemVerdict, number: int, axes: DetAxes) -> None:
    for name, far in FARS.items():
        metric = f"tar_strict_at_far_{name}"
        if metric not in verdict.intervals or verdict.metrics[metric] >= 1:
            continue
        low, high = (1 - end for end in reversed(verdict.intervals[metric]))
        ends = _scaled(np.clip([low, high], 1e-7, 1 - 1e-7), axes)
        place_x = _scaled(np.array([far]), axes)[0]
        value = _scaled(np.array([1 - verdict.metrics[metric]]), axes)[0]
        panel.plot([place_x] * 2, ends, color=_colour(number), linewidth=0.8)
        panel.plot([place_x], [value], color=_colour(number), marker=_MARKERS[number], markersize=3.5)


def _det_axes(panel: Axes, lowest: tuple[float, float], axes: DetAxes, normal_end: float) -> None:
    """Set limits and ticks, in per cent, on both axes."""
    for axis, low in ((panel.xaxis, lowest[0]), (panel.yaxis, lowest[1])):
        highest = normal_end if axes == "normal" else 1.0
        ticks = [tick for tick in (*_TICKS, 1.0) if low * 0.99 <= tick <= highest]
        if axes == "log":
            ticks = [tick for tick in ticks if tick not in (0.05, 0.2, 0.4, 0.6, 0.8, 0.9)]
        axis.set_major_locator(FixedLocator([float(_scaled(tick, axes)) for tick in ticks]))
        labels = {float(_scaled(tick, axes)): f"{100 * tick:g}" for tick in ticks}
        axis.set_major_formatter(FuncFormatter(partial(_tick_label, labels)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_minor_locator(NullLocator())
        ends = _scaled(np.array([low * 0.9, highest]), axes)
        (panel.set_xlim if axis is panel.xaxis else panel.set_ylim)(*ends)
    panel.grid(color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)


def _tick_label(labels: Mapping[float, str], value: float, _: int | None) -> str:
    return labels.get(value, "")


def distributions(verdicts: Sequence[SystemVerdict]) -> Figure:
    """Draw the densities of genuine and impostor scores, a panel for each system, with its first threshold."""
    columns = min(2, len(verdicts))
    rows = -(-len(verdicts) // columns)
    figure = Figure(figsize=(_WIDTH, 0.25 + rows * 1.9))
    width = (_WIDTH - 0.3 - columns * 0.45) / columns
    for number, verdict in enumerate(verdicts):
        row, column = divmod(number, columns)
        panel = place(figure, 0.45 + column * (width + 0.45), 0.5 + row * 1.9, width, 1.25)
        _distribution(panel, verdict)
        if column == 0:
            panel.set_ylabel("density", fontsize=7.5, labelpad=2)
        if number == 0:
            figure.legend(*panel.get_legend_handles_labels(), loc="upper center", ncol=3, frameon=False, fontsize=7)
    return figure


def _distribution(panel: Axes, verdict: SystemVerdict) -> None:
    scores = verdict.scores
    values = -scores.scores if scores.is_distance else scores.scores
    edges = np.histogram_bin_edges(values, _BINS)
    for same, colour, dashes, name in ((True, COLOURS[0], "-", "genuine"), (False, COLOURS[1], _DASHES[1], "impostor")):
        heights, _ = np.histogram(values[scores.same == same], edges, density=True)
        panel.stairs(heights, edges, fill=True, color=colour, alpha=0.25)
        panel.stairs(heights, edges, color=colour, linestyle=dashes, linewidth=1.0, label=name)
    if verdict.thresholds:
        threshold = verdict.thresholds[0]
        panel.axvline(threshold.threshold, color="0.2", linewidth=0.8, label=f"FMR {100 * threshold.wished:g} %")
    panel.set_title(f"{_label(verdict.name)}, d′ = {verdict.metrics['d_prime']:.2f}", fontsize=8)
    panel.set_xlabel("distance" if scores.is_distance else "similarity", fontsize=7.5, labelpad=2)
    panel.yaxis.set_major_locator(MaxNLocator(4))


def cmc(verdicts: Sequence[SystemVerdict]) -> Figure:
    """Draw the share of mated probes whose mate is among the first k (cumulative match characteristic)."""
    figure = Figure(figsize=(_WIDTH, 3.2))
    panel = place(figure, 0.65, 0.15, 3.9, 2.5)
    for number, verdict in enumerate(verdicts):
        ranks = np.arange(1, len(verdict.cmc) + 1)
        look: Any = {"color": _colour(number), "linestyle": _DASHES[number % len(_DASHES)]}
        rates = 100 * np.array(verdict.cmc)
        panel.plot(ranks, rates, marker=_MARKERS[number], markersize=3.5, label=_label(verdict.name), **look)
    panel.set_xlabel("rank k")
    panel.set_ylabel("mate among the first k (%)")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(color="0.9", linewidth=0.5)
    figure.legend(loc="upper left", bbox_to_anchor=(4.65 / _WIDTH, 1 - 0.12 / 3.2), frameon=False, handlelength=2.6)
    return figure
