"""Files on measures of image quality: a page, the figure of errors against discards, and all numbers as CSV."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from aroface.evaluation.image_quality import MeasuredQuality, QualityReport, Stratum
from aroface.evaluation.metrics.error_discard import AREA, DiscardCurve
from aroface.evaluation.scores import FEW
from aroface.files import write_text
from aroface.humanize import plural
from aroface.reporting.plain_page import definitions, inline_svg, page, plain_table
from aroface.reporting.quality.figures import error_discard
from aroface.reporting.scores.figures import STYLE
from aroface.reporting.scores.files import write_figures
from aroface.reporting.scores.words import MARK, metric_cell, name_of

STEM, FIGURE = "quality", "error_discard"
TITLE = "What image quality tells"
_STYLE = "td { white-space: nowrap; } .wide { overflow-x: auto; }"
_SHOWN = (0.05, 0.1, 0.2, 0.3)  # shares of the page's table
_STRATUM_METRICS = ("eer", "tar_strict_at_far_1e-2", "tar_strict_at_far_1e-3")
_CURVE_COLUMNS = (
    *("quality", "threshold", "discarded_genuine", "discarded_impostors", "genuine", "rejected", "accepted"),
    *("fnmr", "fmr", "few", "gain"),
)
_STRATA_COLUMNS = (
    *("quality", "stratum", "lowest", "highest", "genuine", "impostors", "rejected", "accepted", "fnmr", "fmr"),
    *(column for name in _STRATUM_METRICS for column in (name, f"{name}_low", f"{name}_high")),
)


def write_quality_report(report: QualityReport, out: str | PathLike[str], *, command: str = "") -> list[Path]:
    """Write ``quality.html``, ``quality.csv``, ``strata.csv`` and the figure ``error_discard``.

    Args:
        report: Measures of quality.
        out: Folder.
        command: Command line, for the page.

    Returns:
        The files.
    """
    folder = Path(out)
    files = [folder / f"{STEM}.html", folder / f"{STEM}.csv", folder / "strata.csv"]
    figures = write_figures(folder, {FIGURE: lambda: error_discard(report)})
    write_text(files[1], _table(_CURVE_COLUMNS, _curve_rows(report)))
    write_text(files[2], _table(_STRATA_COLUMNS, _strata_rows(report)))
    write_text(files[0], _html(report, command))
    return [*files, *figures]


def gains_table(report: QualityReport) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of measures: gains and FNMR after some discards, at both rules of the threshold."""
    heads = ["quality", "threshold", "gain", "FNMR (%)", *(f"−{100 * share:g} %" for share in _SHOWN)]
    rows = []
    for measure in report.measures:
        for curve in measure.curves:
            gain = f"{curve.gain:.2f}".replace("-", "−") if math.isfinite(curve.gain) else "--"
            rows.append([measure.name, curve.rule, gain, *(_rate(curve, share) for share in (0.0, *_SHOWN))])
    return heads, rows


def strata_table(measure: MeasuredQuality) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of strata of one measure."""
    names = [
        name
        for name in _STRATUM_METRICS
        if any(stratum.measured is not None and name in stratum.measured.metrics for stratum in measure.strata)
    ]
    heads = ["from", "to", "genuine", "impostors", "FNMR (%)", "FMR (%)", *map(name_of, names)]
    rows = []
    for stratum in measure.strata:
        metrics = [metric_cell(stratum.measured, name) if stratum.measured else "" for name in names]
        rates = [
            _few(stratum.rejected, stratum.genuine),
            _few(stratum.accepted, stratum.impostors),
        ]
        ends = [_number(stratum.lowest), _number(stratum.highest)]
        rows.append([*ends, f"{stratum.genuine:,}", f"{stratum.impostors:,}", *rates, *metrics])
    return heads, rows


def _rate(curve: DiscardCurve, share: float) -> str:
    """FNMR in per cent after discarding a share."""
    place = int(np.argmin(np.abs(curve.shares - share)))
    if abs(curve.shares[place] - share) > 0.02:
        return "--"
    return f"{100 * curve.fnmr[place]:.2f}{'' if curve.steady(FEW)[place] else MARK}"


def _few(errors: int, comparisons: int) -> str:
    """A rate in per cent, marked where it rests on few errors."""
    if not comparisons:
        return "--"
    return f"{100 * errors / comparisons:.2f}{MARK if errors < FEW else ''}"


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "none"


def _html(report: QualityReport, command: str) -> str:
    with matplotlib.rc_context({**STYLE, "font.family": ["DejaVu Sans"]}):
        figure = error_discard(report)
    links = ", ".join(f'<a href="{FIGURE}.{form}">{form.upper()}</a>' for form in ("pdf", "png"))
    parts = [
        definitions(findings(report)),
        "<h2>Errors against discarded comparisons</h2>",
        inline_svg(figure, FIGURE, STYLE),
        f"<p>{links}</p>",
        _wide(*gains_table(report)),
    ]
    for measure in report.measures:
        parts += [f"<h2>Strata: {html.escape(measure.name)}</h2>", _wide(*strata_table(measure))]
    parts += ["<h2>How to read it</h2>", definitions(_reading(report, command), "notes")]
    parts.append(f'<p>All numbers: <a href="{STEM}.csv">{STEM}.csv</a>, <a href="strata.csv">strata.csv</a>.</p>')
    return page(TITLE, f"{report.name} on {report.benchmark}", parts, style=_STYLE)


def _wide(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<div class='wide'>{plain_table(heads, rows)}</div>"


def findings(report: QualityReport) -> list[tuple[str, str]]:
    """Findings in sentences."""
    curve = report.measures[0].curves[0]
    text = (
        f"{report.genuine:,} genuine and {report.impostors:,} impostor pairs. At cosines of {report.threshold:.4f} and "
        f"above, the threshold for an FMR of {100 * report.fmr:g} % on them, "
        f"{plural(int(curve.rejected[0]), 'genuine pair')} ({100 * curve.fnmr[0]:.2f} %) "
        f"{'is' if curve.rejected[0] == 1 else 'are'} rejected."
    )
    lines = [("Pairs", text)]
    gains = {each.name: each.curves[0].gain for each in report.measures if math.isfinite(each.curves[0].gain)}
    if gains:
        ordered = sorted(gains, key=lambda name: -gains[name])
        listed = ", ".join(f"{name} {gains[name]:.2f}".replace("-", "−") for name in ordered)
        lines.append(("Gain", f"At the fixed threshold, 1 being ideal and 0 a random order: {listed}."))
    if (few := int(curve.rejected[0])) < FEW:
        lines.append(
            ("Warning", f"Only {plural(few, 'error')}: curves and gains rest on too few to tell measures apart.")
        )
    if (few := int(curve.accepted[0])) < FEW:
        lines.append(("Warning", f"The threshold rests on {plural(few, 'impostor pair')} that it accepts."))
    without = [each for each in report.measures if each.without]
    told = [(each.name, f"{plural(each.without, 'image')} without a value count as the poorest.") for each in without]
    return [*lines, *told]


def _reading(report: QualityReport, command: str) -> list[tuple[str, str]]:
    notes = [
        (
            "Discarding",
            "Pairs are discarded in the order of their poorer image's quality, in steps of shares of the genuine "
            "pairs; impostor pairs of the same quality go with them.",
        ),
        (
            "Threshold",
            "Fixed: that of all pairs, as a system in use keeps it. Estimated again: that of the wished FMR "
            f"({100 * report.fmr:g} %) among the impostor pairs that stay. The one tells what rejecting poor images "
            "saves, the other also what the threshold may then be.",
        ),
        (
            "Gain",
            f"Share of the errors within reach that is avoided up to {100 * AREA:g} % of discards, by areas under the "
            "curve.",
        ),
        (
            "Strata",
            "FNMR and FMR at the threshold of all pairs; the other metrics are of the stratum's own pairs alone.",
        ),
        (MARK, f"Rests on fewer than {FEW} errors of a kind; thin lines likewise."),
        (
            "Measures",
            "norm: length of the feature. resolution: smallest side in pixels that keeps 98 % of the image's contrast. "
            "alignment error and landmark geometry: distance of the detected landmarks from the template before and "
            "after the best similarity, negated. distance from unrecognisable: one minus the cosine to the mean "
            "feature of the set's images at 4 pixels.",
        ),
    ]
    return [*notes, ("Command", command)] if command else notes


def _curve_rows(report: QualityReport) -> Iterable[dict[str, Any]]:
    for measure in report.measures:
        for curve in measure.curves:
            for place in range(len(curve.shares)):
                yield {
                    "quality": measure.name,
                    "threshold": curve.rule,
                    "discarded_genuine": curve.shares[place],
                    "discarded_impostors": curve.impostor_shares[place],
                    "genuine": int(curve.genuine[place]),
                    "rejected": int(curve.rejected[place]),
                    "accepted": int(curve.accepted[place]),
                    "fnmr": curve.fnmr[place],
                    "fmr": curve.fmr[place],
                    "few": "no" if curve.steady(FEW)[place] else "yes",
                    "gain": curve.gain,
                }


def _strata_rows(report: QualityReport) -> Iterable[dict[str, Any]]:
    for measure in report.measures:
        for number, stratum in enumerate(measure.strata, 1):
            row = {"quality": measure.name, "stratum": number, "lowest": stratum.lowest, "highest": stratum.highest}
            row |= {name: getattr(stratum, name) for name in ("genuine", "impostors", "rejected", "accepted")}
            row |= {"fnmr": stratum.rejected / stratum.genuine if stratum.genuine else math.nan}
            row |= {"fmr": stratum.accepted / stratum.impostors if stratum.impostors else math.nan}
            yield {**row, **_metrics(stratum)}


def _metrics(stratum: Stratum) -> dict[str, float]:
    cells: dict[str, float] = {}
    for name in _STRATUM_METRICS:
        if stratum.measured is None or name not in stratum.measured.metrics:
            continue
        cells[name] = stratum.measured.metrics[name]
        if name in stratum.measured.intervals:
            cells[f"{name}_low"], cells[f"{name}_high"] = stratum.measured.intervals[name]
    return cells


def _table(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return str(value)
