"""Figure of errors against discarded comparisons: a panel a rule of the threshold, a line a measure of quality."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aroface.evaluation.image_quality import QualityReport
from aroface.evaluation.metrics.error_discard import RULES, DiscardCurve, ideal_fnmr, random_band
from aroface.evaluation.scores import FEW
from aroface.reporting.figures.layout import COLOURS, FURTHER_DASHES, place

DASHES: tuple[Any, ...] = ("-", (0, (4, 1.6)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), *FURTHER_DASHES[1:5])
MOST = 8
"""Measures that a figure has room for."""
TITLES = {"fixed": "Threshold fixed", "estimated again": "Threshold estimated again"}
_WIDTH, _HEIGHT, _LEGEND_ROW = 6.4, 2.5, 0.17


def error_discard(report: QualityReport) -> Figure:
    """Draw the FNMR against the share of genuine comparisons that are discarded.

    Lines are thin where they rest on fewer than 30 errors. The grey band holds 95 % of random orders at the fixed
    threshold, the dotted line is the ideal order. To be saved within ``matplotlib.rc_context`` of the scores' style.
    """
    rows = -(-(len(report.measures) + 2) // 3)
    height = 0.3 + _HEIGHT + 0.5 + rows * _LEGEND_ROW + 0.05
    figure = Figure(figsize=(_WIDTH, height))
    width = (_WIDTH - 0.6 - 0.15 - 0.2) / 2
    first: Axes | None = None
    for column, rule in enumerate(RULES):
        panel = place(figure, 0.6 + column * (width + 0.2), 0.3, width, _HEIGHT, sharey=first)
        panel.tick_params(labelleft=column == 0)
        panel.set_title(TITLES[rule])
        panel.set_xlabel("genuine comparisons discarded (%)")
        curves = [next(curve for curve in each.curves if curve.rule == rule) for each in report.measures]
        _references(panel, curves[0])
        for number, curve in enumerate(curves):
            _line(panel, curve, {"color": colour(number), "linestyle": DASHES[number % len(DASHES)]})
        if first is None:
            first = panel
            panel.set_ylabel("false non-match rate, FNMR (%)")
            panel.set_xlim(0, 100 * max(curves[0].shares))
        else:
            panel.set_xlim(first.get_xlim())
        panel.grid(color="0.9", linewidth=0.5)
        panel.set_axisbelow(True)
    if first is not None:
        first.set_ylim(bottom=0)
    _legend(figure, report, height)
    return figure


def colour(number: int) -> str:
    """Colour of the measure of this number."""
    return (*COLOURS, "#7F7F7F")[number % MOST]


def _references(panel: Axes, curve: DiscardCurve) -> None:
    if curve.rule == "fixed":
        low, high = random_band(curve)
        panel.fill_between(100 * curve.shares, 100 * low, 100 * high, color="0.9", linewidth=0, zorder=0)
    fine = np.linspace(0, curve.shares[-1], 200)
    panel.plot(100 * fine, 100 * ideal_fnmr(curve.fnmr[0], fine), color="0.4", linestyle=":", linewidth=0.8)


def _line(panel: Axes, curve: DiscardCurve, look: dict[str, Any]) -> None:
    panel.plot(100 * curve.shares, 100 * curve.fnmr, linewidth=0.6, **look)
    steady = np.where(curve.steady(FEW), 100 * curve.fnmr, np.nan)
    panel.plot(100 * curve.shares, steady, linewidth=1.5, **look)


def _legend(figure: Figure, report: QualityReport, height: float) -> None:
    handles: list[Any] = [
        Line2D([], [], color=colour(number), linestyle=DASHES[number % len(DASHES)], linewidth=1.5, label=each.name)
        for number, each in enumerate(report.measures)
    ]
    handles.append(Line2D([], [], color="0.4", linestyle=":", linewidth=0.8, label="ideal order"))
    handles.append(Patch(color="0.9", label="random orders, 95 %"))
    top = 0.3 + _HEIGHT + 0.5
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.55 / _WIDTH, 1 - top / height),
        ncols=3,
        frameon=False,
        borderaxespad=0,
        handlelength=2.6,
        fontsize=7.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
