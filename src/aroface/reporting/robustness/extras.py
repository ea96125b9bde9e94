"""Further figures of a robustness report: norms under alignment errors, and corruptions of pixels."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from aroface.evaluation.norm_response import by_factor
from aroface.evaluation.robustness import Perturbation, Robustness
from aroface.faces.corruption import CORRUPTIONS
from aroface.files import write_bytes, write_text
from aroface.reporting.figures.layout import AXES, COLOURS, place
from aroface.reporting.figures.save import picture
from aroface.reporting.plain_page import inline_svg, plain_table
from aroface.reporting.robustness.page import LOOKS, PAGE, STYLE, short
from aroface.reporting.text import metric_name, quality_name

NORMS, PIXELS = "norms", "corruptions"
NORMS_HEADING = "Does the norm know that a face is misaligned?"
PIXELS_HEADING = "Corrupted pixels"
_LABELS = {
    "blur": ("blur", "sd (pixels)", 1.0),
    "noise": ("noise", "sd (grey levels)", 1.0),
    "jpeg": ("JPEG", "100 − quality", 1.0),
    "contrast": ("contrast", "lost (%)", 100.0),
    "occlusion": ("occlusion", "side (%)", 100.0),
}
_COLUMNS = ("model", "quality", "factor", "level", "probes", "norm_ratio", "norm_falls", "recognised")
_LEFT, _RIGHT, _GAP, _HEIGHT, _ROW_GAP, _TOP, _BOTTOM = 0.55, 0.1, 0.14, 1.2, 0.14, 0.5, 0.45


def norms_figure(found: Robustness) -> Figure:
    """Draw the norm under errors: above its ratio to the aligned face's, below how well it tells the error.

    Of the first quality of the report; to be saved within ``matplotlib.rc_context(STYLE)``.
    """
    quality = found.qualities[0]
    figure, panels = _grid(len(found.factors), 2)
    for column, factor in enumerate(found.factors):
        times = AXES[factor][2]
        for number, sweep in enumerate(found.sweeps):
            responses = by_factor(found.norms.get(sweep.name, ()), quality, factor)
            levels = [times * each.level for each in responses]
            look = _look(number)
            ratios = [100 * each.ratio for each in responses]
            panels[0][column].plot([0, *levels], [100, *ratios], **look)
            panels[1][column].plot([0, *levels], [0.5, *(each.recognised for each in responses)], **look)
        panels[0][column].set_title(AXES[factor][0])
        panels[0][column].axhline(100, color="0.6", linewidth=0.6, zorder=0)
        panels[1][column].axhline(0.5, color="0.6", linewidth=0.6, zorder=0)
        panels[1][column].set_xlabel(AXES[factor][1])
        for panel in (panels[0][column], panels[1][column]):
            panel.set_xlim(left=0)
    panels[0][0].set_ylabel("norm (% of aligned)")
    panels[1][0].set_ylabel("error told by norm (AUC)")
    _legend(figure, found)
    return figure


def corruptions_figure(found: Robustness) -> Figure:
    """Draw the first metric under corruptions; to be saved within ``matplotlib.rc_context(STYLE)``."""
    metric = found.grid.metrics[0]
    figure, panels = _grid(len(CORRUPTIONS), 1)
    for column, kind in enumerate(CORRUPTIONS):
        title, label, times = _LABELS[kind]
        panel = panels[0][column]
        for number, sweep in enumerate(found.sweeps):
            levels = [0.0, *sweep.levels("hq", kind)]
            values = [sweep.value(Perturbation("hq", kind, level), metric) for level in levels]
            at = [times * level for level in levels]
            look = _look(number)
            panel.plot(at, [100 * value.value for value in values], **look)
            low, high = zip(*(value.interval for value in values), strict=True)
            ends = ([100 * end for end in low], [100 * end for end in high])
            panel.fill_between(at, *ends, color=look["color"], alpha=0.12, linewidth=0)
        panel.set_title(title)
        panel.set_xlabel(label)
        panel.set_xlim(left=0)
    panels[0][0].set_ylabel(f"{metric_name(metric)[0]} (%)")
    _legend(figure, found)
    return figure


def write_extras(found: Robustness, out: Path) -> list[Path]:
    """Write ``norms.csv``, and each figure as PDF and PNG, as far as they were measured.

    Returns:
        The files.
    """
    drawings = {NORMS: norms_figure} if found.norms else {}
    drawings |= {PIXELS: corruptions_figure} if found.grid.corruptions else {}
    files = []
    for name, draw in drawings.items():
        with matplotlib.rc_context(STYLE):
            figure = draw(found)
            for form in ("pdf", "png"):
                files.append(out / f"{name}.{form}")
                write_bytes(files[-1], picture(figure, form))
    if found.norms:
        files.append(out / f"{NORMS}.csv")
        write_text(files[-1], _norms_table(found))
    return files


def extra_parts(found: Robustness) -> list[str]:
    """Parts of the HTML page."""
    with matplotlib.rc_context({**STYLE, "font.family": ["DejaVu Sans"]}):
        norms = norms_figure(found) if found.norms else None
        pixels = corruptions_figure(found) if found.grid.corruptions else None
    parts = [] if norms is None else _norms_parts(found, norms)
    if pixels is not None:
        parts += [f"<h2>{PIXELS_HEADING}</h2>", inline_svg(pixels, PIXELS, STYLE), plain_table(*_losses(found))]
    return parts


def _norms_parts(found: Robustness, norms: Figure) -> list[str]:
    quality = quality_name(found.qualities[0])
    return [
        f"<h2>{NORMS_HEADING}</h2>",
        f"<p>Norm of the probes' features, {quality}: mean ratio to the same probe aligned, and the area under the ROC "
        "of the norm as a detector of the error (0.5: the norm does not tell, below: it rises with the error). "
        "A network that is trained with "
        "misaligned faces may keep its norm where it should fall.</p>",
        inline_svg(norms, NORMS, STYLE),
        f'<p>All norms: <a href="{NORMS}.csv">{NORMS}.csv</a>.</p>',
    ]


def _losses(found: Robustness) -> tuple[list[str], list[list[str]]]:
    """Loss in points of each model under the largest of each corruption; in brackets what is not significant."""
    metric = found.grid.metrics[0]
    heads = ["loss in points", *(sweep.name for sweep in found.sweeps)]
    rows = []
    for kind in CORRUPTIONS:
        level = found.sweeps[0].levels("hq", kind)[-1]
        drops = [sweep.drop(Perturbation("hq", kind, level), metric) for sweep in found.sweeps]
        texts = [f"{100 * drop.value:.1f}".replace("-", "−") for drop in drops]
        cells = [text if drop.significant else f"({text})" for text, drop in zip(texts, drops, strict=True)]
        rows.append([f"{_LABELS[kind][0]}, {_LABELS[kind][1]} {_LABELS[kind][2] * level:g}", *cells])
    return heads, rows


def _norms_table(found: Robustness) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for model, responses in found.norms.items():
        for each in responses:
            measured = (f"{value:.6g}" for value in (each.ratio, each.falls, each.recognised))
            writer.writerow((model, each.quality, each.factor, f"{each.level:g}", each.probes, *measured))
    return buffer.getvalue()


def _look(number: int) -> dict[str, Any]:
    dashes, marker = LOOKS[number]
    return {"color": COLOURS[number], "linestyle": dashes, "marker": marker}


def _grid(columns: int, rows: int) -> tuple[Figure, list[list[Axes]]]:
    """Figure with rows of panels, each of one scale."""
    width = (PAGE[0] - _LEFT - _RIGHT - (columns - 1) * _GAP) / columns
    height = _TOP + rows * _HEIGHT + (rows - 1) * _ROW_GAP + _BOTTOM
    figure = Figure(figsize=(PAGE[0], height))
    panels: list[list[Axes]] = []
    for row in range(rows):
        line: list[Axes] = []
        for column in range(columns):
            corner = (_LEFT + column * (width + _GAP), _TOP + row * (_HEIGHT + _ROW_GAP))
            panel = place(figure, *corner, width, _HEIGHT, sharey=line[0] if line else None)
            panel.tick_params(labelleft=column == 0, labelbottom=row == rows - 1)
            panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            line.append(panel)
        panels.append(line)
    return figure, panels


def _legend(figure: Figure, found: Robustness) -> None:
    handles = [Line2D([], [], label=short(sweep.name), **_look(number)) for number, sweep in enumerate(found.sweeps)]
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(_LEFT / PAGE[0], 1), ncols=len(handles), frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
