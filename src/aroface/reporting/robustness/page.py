"""Drawing of a robustness report: findings, curves, heat maps, tolerated errors and example faces on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aroface.embedding.alignment_sweep import PIXELS
from aroface.embedding.worst_case import FACTOR as WORST
from aroface.evaluation.robustness import MAPS, Perturbation, Quantity, Robustness, Sweep, coarse
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.layout import AXES, COLOURS, place
from aroface.reporting.robustness.findings import (
    SINGLE,
    UNITS,
    RobustnessFinding,
    detector_errors,
    findings,
    level_words,
    rate_words,
    reading,
    subtitle,
    tolerated_words,
)
from aroface.reporting.text import metric_name, quality_name

TITLE = "What face alignment errors cost"
PAGE = (210 / 25.4, 297 / 25.4)  # A4, in inches
FAMILY = ["STIXGeneral", "DejaVu Sans"]  # both come with matplotlib; names may be written in other alphabets
STYLE: Any = {
    **style(DEFAULT_FORM),
    "font.family": FAMILY,
    "mathtext.fontset": "stix",
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "font.size": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
}
LOOKS: tuple[tuple[Any, str], ...] = (
    ("-", "o"),
    ((0, (4, 1.6)), "s"),
    ((0, (1, 1.2)), "^"),
    ((0, (5, 1.2, 1, 1.2)), "D"),
)
MARGIN = 0.45
WIDTH = PAGE[0] - 2 * MARGIN
TEXT, LEADING = 7.3, 0.12  # points, inches
NOTE, NOTE_LEADING = 6.1, 0.1
SUBJECT = 0.92  # inches that the words on what a finding is about take
HEADING = 0.27
CURVES_LEFT, CURVES_RIGHT, GAP = 0.42, 0.2, 0.14
MAP_TICKS, _MAP_GAP = 0.27, 0.16
_TILE = (0.5, 0.3)  # inches of a heat map's tile at most
_DARKEST = 10.0  # points of loss that the darkest colour of heat maps stands for at least
ROW = 0.121
NAME = 24  # characters of a model's name that panels have room for
_MOST_MAP_QUALITIES = 3
_FINE = 20  # at the size of print, advances are rounded to whole points


def page(found: Robustness, points: float, crops: NDArray[np.uint8]) -> Figure:
    """Draw the report; call this and save it within ``matplotlib.rc_context(STYLE)``.

    Args:
        found: Measurement.
        points: Loss up to which an error counts as tolerated.
        crops: Example faces (qualities, kinds of error, size, size, 3); see :func:`columns_of_crops`.

    Returns:
        A page as wide as A4, and as high or less where there is little to show; longer where models and qualities are
        many.
    """
    paragraphs = wrapped(findings(found, points), TEXT, WIDTH - SUBJECT - 0.03)
    notes = wrapped(reading(found, points), NOTE, WIDTH - SUBJECT - 0.03)
    table_rows = len(_few(found.qualities)) * (len(found.sweeps) + 1) + 1
    text_height = sum(len(lines) for _, lines in paragraphs) * LEADING + len(paragraphs) * 0.03
    notes_height = sum(len(lines) for _, lines in notes) * NOTE_LEADING + 0.1
    # Example faces stand beside the heat maps where these are few, else beside the table.
    beside_maps = _beside_maps(found)
    bottom = max(table_rows * ROW, 0 if beside_maps else _crops_height(found)) + HEADING
    fixed = 0.56 + text_height + bottom + notes_height + 2 * MARGIN
    fixed += 0.3 + HEADING + 0.42 + (len(found.qualities) - 1) * 0.09  # the curves' titles, axes, gaps
    fixed += HEADING + 0.32 + 0.3 + (len(found.sweeps) - 1) * _MAP_GAP + 0.12  # the maps'
    # What is left of A4 is shared out; where that is too little to be read, the page gets longer.
    share = (PAGE[1] - fixed) / (len(found.qualities) * 1.25 + len(found.sweeps))
    panel, cells = float(np.clip(1.25 * share, 0.46, 1.9)), float(np.clip(share, 0.35, _highest_map(found)))
    maps = len(found.sweeps) * cells
    if beside_maps:
        maps = max(maps, _crops_height(found) - 0.55)
    figure = Figure(figsize=(PAGE[0], fixed + len(found.qualities) * panel + maps))
    top = _title(figure, found, MARGIN)
    top = _paragraphs(figure, paragraphs, top, TEXT, LEADING, gap=0.03)
    top = _curves(figure, found, top + 0.06, panel)
    after = _maps(figure, found, top, cells) + maps - len(found.sweeps) * cells
    _crops(figure, found, crops, top if beside_maps else after)
    _table(figure, found, after, points)
    _paragraphs(figure, notes, after + bottom + 0.1, NOTE, NOTE_LEADING, colour="0.3")
    return figure


def curves(found: Robustness) -> Figure:
    """Draw the curves alone; to be saved within ``matplotlib.rc_context(STYLE)``."""
    panel = 1.5
    height = HEADING + 0.3 + len(found.qualities) * (panel + 0.09) + 0.33
    figure = Figure(figsize=(PAGE[0], height))
    _curves(figure, found, 0.0, panel, heading=False)
    return figure


def short(name: str) -> str:
    """A model's name as panels have room for it."""
    name = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
    return f" {name}" if name.startswith("_") else name  # matplotlib keeps such a name out of legends


def columns_of_crops(found: Robustness) -> list[tuple[str | None, float]]:
    """Factor and level of the example faces: none, then the largest of each factor."""
    largest = [(factor, found.sweeps[0].levels(found.qualities[0], factor)[-1]) for factor in found.factors]
    return [(None, 0.0), *largest]


def wrapped(paragraphs: Sequence[RobustnessFinding], size: float, width: float) -> list[tuple[str, list[str]]]:
    """Break each paragraph into lines of at most ``width`` inches at ``size`` points."""
    font = get_font(findfont(FontProperties(family=FAMILY[:1])))
    font.set_size(size, 72 * _FINE)

    def inches(text: str) -> float:
        font.set_text(text)
        return float(font.get_width_height()[0]) / 64 / 72 / _FINE

    done = []
    for subject, text in paragraphs:
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if lines[-1] and inches(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        done.append((subject, lines))
    return done


def _write(figure: Figure, left: float, top: float, text: str, **look: Any) -> None:
    across, down = figure.get_figwidth(), figure.get_figheight()
    # Names of models and files are words, not formulas.
    figure.text(left / across, 1 - top / down, text, **{"va": "top", "parse_math": False, **look})


def _title(figure: Figure, found: Robustness, top: float) -> float:
    _write(figure, MARGIN, top, TITLE, fontsize=15, weight="bold")
    metric = metric_name(found.grid.metrics[0])[0]
    _write(figure, MARGIN, top + 0.27, f"{metric} on {subtitle(found)}", fontsize=8, color="0.3")
    return top + 0.5


def _paragraphs(
    figure: Figure,
    paragraphs: Sequence[tuple[str, list[str]]],
    top: float,
    size: float,
    leading: float,
    *,
    gap: float = 0.0,
    colour: str = "black",
) -> float:
    for subject, lines in paragraphs:
        _write(figure, MARGIN, top, subject, fontsize=size, weight="bold", color=colour)
        for line in lines:
            _write(figure, MARGIN + SUBJECT, top, line, fontsize=size, color=colour)
            top += leading
        top += gap
    return top


def _heading(figure: Figure, left: float, top: float, text: str) -> float:
    _write(figure, left, top, text, fontsize=9, weight="bold")
    return top + HEADING


def curves_heading(found: Robustness) -> str:
    """Heading of the curves."""
    return f"{metric_name(found.grid.metrics[0])[1]} against the size of the error in the probes"


def maps_heading(found: Robustness) -> str:
    """Heading of the heat maps."""
    rest = "" if len(_few(found.qualities)) == len(found.qualities) else "; other qualities in the table of all numbers"
    return f"Loss under two errors at once, in points (in brackets: not significant){rest}"


def _curves(figure: Figure, found: Robustness, top: float, height: float, *, heading: bool = True) -> float:
    """Panels of the metric: a row a quality, a column a kind of error; returns where they end."""
    metric = found.grid.metrics[0]
    if heading:
        _heading(figure, MARGIN, top, curves_heading(found))
    _legend(figure, found, top + 0.17)
    top += HEADING + 0.3
    factors, bounds = found.factors, _bounds(found, metric)
    width = (WIDTH - CURVES_LEFT - CURVES_RIGHT - (len(factors) - 1) * GAP) / len(factors)
    for i, quality in enumerate(found.qualities):
        first: Axes | None = None
        for j, factor in enumerate(factors):
            left = MARGIN + CURVES_LEFT + j * (width + GAP)
            axes = place(figure, left, top + i * (height + 0.09), width, height, sharey=first)
            first = first or axes
            axes.tick_params(labelleft=j == 0, labelbottom=i == len(found.qualities) - 1)
            _panel(axes, found, quality, factor, metric)
            if i == 0:
                axes.set_title(AXES[factor][0])
            if i == len(found.qualities) - 1:
                axes.set_xlabel(_axis_label(factor))
        axes.text(1.05, 0.5, quality_name(quality), rotation=270, va="center", transform=axes.transAxes, fontsize=7)
        if first is not None:
            first.set_ylim(bounds)
    return top + len(found.qualities) * (height + 0.09) + 0.33


def _axis_label(factor: str) -> str:
    return {"rotation": "rotation error (°)"}.get(factor, AXES[factor][1])


def _bounds(found: Robustness, metric: str) -> tuple[float, float]:
    """One scale for all panels, so that a loss looks the same everywhere."""
    ends = [
        sweep.value(condition, metric).interval
        for sweep in found.sweeps
        for condition in sweep.measured
        if condition.other is None and condition.factor not in PIXELS
    ]
    low, high = 100 * min(low for low, _ in ends), 100 * max(high for _, high in ends)
    space = 0.05 * (high - low) or 1.0  # where all values are the same
    return max(low - space, 0.0), min(high + space, 100.0)


def _panel(axes: Axes, found: Robustness, quality: str, factor: str, metric: str) -> None:
    times = UNITS[factor][0]
    if factor in SINGLE:
        axes.axvspan(0, times * detector_errors(quality)[factor], color="0.92", linewidth=0, zorder=0)
    for number, sweep in enumerate(found.sweeps):
        colour, (dashes, marker) = COLOURS[number], LOOKS[number]
        _line(axes, sweep, quality, factor, metric, {"color": colour, "linestyle": dashes}, marker)
        if factor == "joint" and any(each[:2] == (quality, WORST) for each in sweep.measured):
            look = {"color": colour, "linestyle": (0, (1, 2)), "linewidth": 0.8}
            _line(axes, sweep, quality, WORST, metric, look, "x", band=False)
    axes.set_xlim(0, times * max(found.sweeps[0].levels(quality, factor)) * 1.04)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _line(
    axes: Axes,
    sweep: Sweep,
    quality: str,
    factor: str,
    metric: str,
    look: Mapping[str, Any],
    marker: str,
    *,
    band: bool = True,
) -> None:
    levels = [0.0, *sweep.levels(quality, factor)]
    conditions = [Perturbation(quality, factor, level) for level in levels]
    values = [sweep.value(condition, metric) for condition in conditions]
    at = np.multiply(levels, UNITS["joint" if factor == WORST else factor][0])
    axes.plot(at, [100 * each.value for each in values], **look)
    if band:
        low, high = np.transpose([each.interval for each in values]) * 100
        axes.fill_between(at, low, high, color=look["color"], alpha=0.12, linewidth=0)
    for place_, value, condition in list(zip(at, values, conditions, strict=True))[1:]:
        sure = sweep.drop(condition, metric).significant
        face = look["color"] if sure else "white"
        axes.plot(place_, 100 * value.value, marker, color=look["color"], markerfacecolor=face, clip_on=False, zorder=3)


def _legend(figure: Figure, found: Robustness, top: float) -> None:
    handles: list[Any] = [
        Line2D(
            [], [], color=COLOURS[number], linestyle=LOOKS[number][0], marker=LOOKS[number][1], label=short(sweep.name)
        )
        for number, sweep in enumerate(found.sweeps)
    ]
    handles.append(Line2D([], [], color="0.3", marker="o", markerfacecolor="white", linewidth=0, label="loss n.s."))
    handles.append(Patch(color="0.92", label="modern detector, 2 sd"))
    if found.grid.worst_case:
        handles.append(Line2D([], [], color="0.3", linestyle=(0, (1, 2)), marker="x", label="worst case"))
    anchor = (MARGIN / figure.get_figwidth(), 1 - top / figure.get_figheight())
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=anchor,
        ncols=len(handles),
        frameon=False,
        borderaxespad=0,
        borderpad=0.2,
        handlelength=2.0,
        columnspacing=1.1,
        fontsize=7 if len(handles) < 6 else 6.3,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _maps(figure: Figure, found: Robustness, top: float, height: float) -> float:
    """Heat maps of the loss: a row a model, two maps a quality; returns where they end."""
    metric = found.grid.metrics[0]
    _heading(figure, MARGIN, top, maps_heading(found))
    top += HEADING + 0.32
    columns = maps_shown(found)
    width = _map_width(found)
    scale = map_scale(found)
    for i, sweep in enumerate(found.sweeps):
        down = top + i * (height + _MAP_GAP)
        look: dict[str, Any] = {"fontsize": 6.8, "color": COLOURS[i], "weight": "bold", "va": "bottom"}
        _write(figure, MARGIN, down - 0.02, sweep.name, **look)
        for j, (quality, pair) in enumerate(columns):
            left = MARGIN + j * (width + MAP_TICKS) + MAP_TICKS
            axes = place(figure, left, down, width, height)
            _map(axes, sweep, quality, pair, metric, scale, last=i == len(found.sweeps) - 1)
            if i == 0:
                axes.set_title(f"{quality_name(quality)}\n{pair[1]} over {pair[0]}", fontsize=6.8, pad=11)
    return top + len(found.sweeps) * (height + _MAP_GAP) - _MAP_GAP + 0.36


def maps_shown(found: Robustness) -> list[tuple[str, tuple[str, str]]]:
    """Quality and pair of errors of each heat map of a model."""
    return [(quality, pair) for quality in _few(found.qualities) for pair in MAPS]


def map_scale(found: Robustness) -> Normalize:
    """One scale of colours for the losses of all maps, in points; losses that are small everywhere stay light."""
    metric = found.grid.metrics[0]
    largest = max(
        max(
            sweep.drop(condition, metric).value
            for condition in sweep.measured
            if condition.factor not in (WORST, *PIXELS)
        )
        for sweep in found.sweeps
    )
    return Normalize(0, max(100 * largest, _DARKEST))


def map_levels(sweep: Sweep, quality: str, pair: tuple[str, str]) -> tuple[list[float], list[float]]:
    """The levels of both errors of a heat map, none first."""
    one, other = ([0.0, *coarse(sweep.levels(quality, factor))] for factor in pair)
    return one, other


def _map_width(found: Robustness) -> float:
    """Inches of a heat map: an even share of the page, but no tile wider than it reads well."""
    quality = found.qualities[0]
    tiles = max(len(map_levels(found.sweeps[0], quality, pair)[0]) for pair in MAPS)
    return min(WIDTH / len(maps_shown(found)) - MAP_TICKS, tiles * _TILE[0])


def _maps_width(found: Robustness) -> float:
    return len(maps_shown(found)) * (_map_width(found) + MAP_TICKS)


def _highest_map(found: Robustness) -> float:
    return _TILE[1] * max(len(map_levels(found.sweeps[0], found.qualities[0], pair)[1]) for pair in MAPS)


def _few(qualities: Sequence[str]) -> list[str]:
    """All, or the first, the middle and the last where there are more than a row has room for."""
    if len(qualities) <= _MOST_MAP_QUALITIES:
        return [*qualities]
    return [qualities[0], qualities[len(qualities) // 2], qualities[-1]]


def _map(
    axes: Axes, sweep: Sweep, quality: str, pair: tuple[str, str], metric: str, scale: Normalize, *, last: bool
) -> None:
    one, other = pair
    across, up = map_levels(sweep, quality, pair)
    drops = [[sweep.drop(Perturbation(quality, one, x, other, y), metric) for x in across] for y in up]
    values = np.array([[100 * drop.value for drop in row] for row in drops])
    axes.imshow(values, origin="lower", aspect="auto", cmap="YlOrBr", norm=scale)
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, pad=1.5, labelsize=5.8)
    axes.set_xticks(range(len(across)), [_bare(one, level) for level in across] if last else [])
    axes.set_yticks(range(len(up)), [_bare(other, level) for level in up])
    for y, row in enumerate(drops):
        for x, drop in enumerate(row):
            if x == y == 0:
                continue
            text = loss_words(drop)
            colour = "white" if values[y, x] > 0.62 * scale.vmax else "black"  # type: ignore[operator]
            axes.text(x, y, text, ha="center", va="center_baseline", fontsize=5.8, color=colour)


def loss_words(drop: Quantity) -> str:
    """A loss in whole points, in brackets where it is not significant."""
    number = f"{100 * drop.value:.0f}".replace("-0", "0").replace("-", "−")
    return number if drop.significant else f"({number})"


def _bare(factor: str, level: float) -> str:
    size = level_words(factor, level)
    return size if factor == "rotation" else size.replace(" %", "%")


UNIT_TITLES = {"scale": "scale, %", "rotation": "rotation, °", "shift": "shift, %", "joint": "jointly, % of max."}
WITHOUT = "without errors, %"


def _table(figure: Figure, found: Robustness, top: float, points: float) -> None:
    """The tolerated errors, quality by quality, with a detector's beside them."""
    loss = "1 point" if points == 1 else f"{points:g} points"
    text = f"{metric_name(found.grid.metrics[0])[0]} without errors, and the error tolerated at a loss of {loss}"
    top = _heading(figure, MARGIN, top, text) - 0.03
    starts = (0.0, 0.56, 1.72, 2.58, 3.28, 3.98, 4.66)
    titles = ("", "", WITHOUT, *(UNIT_TITLES[factor] for factor in found.factors))
    for start, title in zip(starts, titles, strict=True):
        _write(figure, MARGIN + start, top, title, fontsize=6.6, color="0.35")
    top += ROW
    metric = found.grid.metrics[0]
    for quality in _few(found.qualities):
        errors = detector_errors(quality)
        cells = [f"{UNITS[factor][0] * errors[factor]:.1f}" if factor in errors else "" for factor in found.factors]
        _table_row(figure, top, starts, [quality_name(quality), "detector, 2 sd", "", *cells], "0.45")
        top += ROW
        for number, sweep in enumerate(found.sweeps):
            values = [tolerated_words(sweep, quality, factor, metric, points) for factor in found.factors]
            row = ["", short(sweep.name), rate_words(sweep, quality, metric), *values]
            _table_row(figure, top, starts, row, "black", COLOURS[number])
            top += ROW


def _table_row(
    figure: Figure, top: float, starts: Sequence[float], texts: Sequence[str], colour: str, second: str | None = None
) -> None:
    for number, (start, text) in enumerate(zip(starts, texts, strict=False)):
        shade = second if number == 1 and second else "black" if number == 0 else colour
        _write(figure, MARGIN + start, top, text, fontsize=6.4, color=shade)


_CROPS_WIDTH, _CROPS_LABEL = 1.92, 0.13
_LARGEST_CROP = 0.7
_MAPS_HEADING = 4.4  # inches that the words above the heat maps take


def _beside_maps(found: Robustness) -> bool:
    """Tell whether example faces have room beside the heat maps."""
    return _maps_width(found) + _CROPS_WIDTH + 0.4 <= WIDTH


def _crop_side(found: Robustness) -> float:
    width = WIDTH - max(_maps_width(found) + 0.4, _MAPS_HEADING) if _beside_maps(found) else _CROPS_WIDTH
    return min((width - _CROPS_LABEL) / (1 + len(found.factors)) - 0.03, _LARGEST_CROP)


def _crops_height(found: Robustness) -> float:
    return 0.25 + len(found.qualities) * (_crop_side(found) + 0.03)


def _crops(figure: Figure, found: Robustness, crops: NDArray[np.uint8], top: float) -> None:
    """One probe at each quality, aligned and under the largest of each error."""
    side = _crop_side(found)
    left = PAGE[0] - MARGIN - _CROPS_LABEL - (1 + len(found.factors)) * (side + 0.03)
    top = _heading(figure, left, top, "A probe, as embedded") + 0.13
    for i, quality in enumerate(found.qualities):
        for j, (factor, level) in enumerate(columns_of_crops(found)):
            axes = place(figure, left + _CROPS_LABEL + j * (side + 0.03), top + i * (side + 0.03), side, side)
            axes.imshow(crops[i, j], interpolation="nearest", aspect="auto")
            axes.set_axis_off()
            if i == 0:
                text = "aligned" if factor is None else f"{factor}\n{level_words(factor, level)}"
                axes.set_title(text, fontsize=5.8, pad=2)
            if j == 0:
                axes.text(-0.08, 0.5, quality_name(quality), rotation=90, ha="right", va="center", fontsize=5.2,
                          transform=axes.transAxes)  # fmt: skip
