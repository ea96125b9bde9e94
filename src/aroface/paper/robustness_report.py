"""The files of a robustness report: one page as PDF, PNG and HTML, all numbers as CSV; the same bytes every time."""

from __future__ import annotations

import base64
import csv
import html
import io
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from aroface.datasets.pairs import read_pairs
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.sensitivity import spoil
from aroface.embedding.sweep import HIGH_QUALITY, Variant, choose_pairs, draw_directions
from aroface.evaluation.robustness import COLUMNS, Robustness, table
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import write_bytes, write_text
from aroface.paper.curves import metric_name, quality_name
from aroface.paper.drawing import AXES
from aroface.paper.robustness_findings import UNITS, Finding, findings, rate_words, reading, subtitle, tolerated_words
from aroface.paper.robustness_page import STYLE, columns_of_crops, page
from aroface.paper.saving import picture

STEM = "robustness"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
.about { color: #555; margin: .2rem 0 1rem; }
dl { display: grid; grid-template-columns: 8.5rem 1fr; gap: .35rem .8rem; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; } .notes { color: #444; font-size: 13px; }
img { width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid #ddd; }
""".strip()


def write_report(found: Robustness, out: str | PathLike[str], points: float) -> list[Path]:
    """Write ``robustness.pdf``, ``.png``, ``.html`` and ``.csv`` into ``out``.

    Args:
        found: what was measured.
        out: folder.
        points: the loss, of 100, up to which an error counts as tolerated.

    Returns:
        The files.

    Raises:
        InputError: the pair file has gone or changed.
    """
    stem = Path(out) / STEM
    files = [stem.with_suffix(suffix) for suffix in (".pdf", ".png", ".html", ".csv")]
    numbers = _csv(found, points)
    crops = example_crops(found)
    with matplotlib.rc_context(STYLE):
        figure = page(found, points, crops)
        for file in files[:2]:
            write_bytes(file, picture(figure, file.suffix[1:]))
        shown = picture(page(found, points, crops, words=False), "png")
    write_text(files[2], _html(found, points, shown, numbers))
    write_text(files[3], numbers)
    return files


def example_crops(found: Robustness) -> NDArray[np.uint8]:
    """One probe of a genuine pair, at each quality under each error of :func:`columns_of_crops`, as it is embedded.

    Returns:
        (qualities, errors, size, size, 3).
    """
    pairs = read_pairs(found.pairs)
    chosen = choose_pairs(pairs.same, found.grid.max_pairs)
    genuine = chosen[pairs.same[chosen]]
    number = genuine[len(genuine) // 2 : len(genuine) // 2 + 1]
    directions = draw_directions(len(pairs.same), found.grid.seed)[number]
    crop = decode_numbers(pairs, found.pairs, 2 * number + 1, TEMPLATE_SIZE)
    resolutions = [None if quality == HIGH_QUALITY else int(quality) for quality in found.grid.qualities]
    return np.stack(
        [
            np.concatenate(
                [
                    spoil(crop, Variant(resolution, factor, level), directions, found.joint_maximum, found.grid.order)
                    for factor, level in columns_of_crops(found)
                ]
            )
            for resolution in resolutions
        ]
    )


def _csv(found: Robustness, points: float) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in table(found, points))
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "inf" if math.isinf(value) else f"{value:.6g}"
    return str(value)


def _html(found: Robustness, points: float, picture: bytes, numbers: str) -> str:
    title = "What face alignment errors cost"
    metric = metric_name(found.grid.metrics[0])[0]
    data = base64.b64encode(numbers.encode()).decode()
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>",
            f'<h1>{title}</h1>\n<p class="about">{html.escape(f"{metric} on {subtitle(found)}")}</p>',
            _definitions(findings(found, points)),
            f'<p><img alt="Curves, heat maps, tolerated errors and example faces, as in the tables" '
            f'src="data:image/png;base64,{base64.b64encode(picture).decode()}"></p>',
            f"<h2>{metric} without errors, and the error tolerated at a loss of {points:g} "
            f"{'point' if points == 1 else 'points'}</h2>",
            _tolerated_table(found, points),
            "<h2>How to read it</h2>",
            _definitions(reading(found, points), "notes"),
            f'<p><a download="{STEM}.csv" href="data:text/csv;base64,{data}">All numbers (CSV)</a></p>',
            "</body>\n</html>\n",
        ]
    )


def _definitions(paragraphs: Sequence[Finding], kind: str = "findings") -> str:
    items = "\n".join(f"<dt>{html.escape(each.subject)}</dt><dd>{html.escape(each.text)}</dd>" for each in paragraphs)
    return f'<dl class="{kind}">\n{items}\n</dl>'


def _tolerated_table(found: Robustness, points: float) -> str:
    metric = found.grid.metrics[0]
    heads = [
        "quality",
        "model",
        "aligned, %",
        *(f"{AXES[factor][0]},{UNITS[factor][1].lstrip()}" for factor in found.factors),
    ]
    rows = [
        [
            quality_name(quality),
            sweep.name,
            rate_words(sweep, quality, metric),
            *(tolerated_words(sweep, quality, factor, metric, points) for factor in found.factors),
        ]
        for quality in found.qualities
        for sweep in found.sweeps
    ]
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{html.escape(each.replace(',', ', '))}</th>" for each in heads)
    return "\n".join(["<table>", f"<tr>{head}</tr>", *(f"<tr>{line}</tr>" for line in lines), "</table>"])
