"""The files of a robustness report: one page as PDF, PNG and HTML, all numbers as CSV; the same bytes every time.

The HTML page is made of text, tables and an SVG of the curves, all in its reader's typeface.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import math
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_hex
from numpy.typing import NDArray

from aroface.datasets.formats.pairs import read_pairs
from aroface.datasets.images import encode_jpeg
from aroface.embedding.alignment_sweep import HIGH_QUALITY, Variant, choose_pairs, draw_directions
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.sensitivity import spoil
from aroface.evaluation.robustness import COLUMNS, Perturbation, Quantity, Robustness, Sweep, table
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import write_bytes, write_text
from aroface.reporting.figures.layout import COLOURS
from aroface.reporting.figures.save import picture
from aroface.reporting.plain_page import definitions, inline_svg, plain_table
from aroface.reporting.plain_page import page as page_of
from aroface.reporting.robustness.extras import extra_parts, write_extras
from aroface.reporting.robustness.findings import (
    findings,
    level_words,
    rate_words,
    reading,
    subtitle,
    tolerated_words,
)
from aroface.reporting.robustness.page import (
    STYLE,
    TITLE,
    UNIT_TITLES,
    WITHOUT,
    columns_of_crops,
    curves,
    curves_heading,
    loss_words,
    map_levels,
    map_scale,
    maps_heading,
    maps_shown,
    page,
)
from aroface.reporting.text import metric_name, quality_name

STEM = "robustness"
_FACE_QUALITY = 90
_STYLE = """
.map caption { text-align: left; color: #555; padding-bottom: .2rem; } .faces th { font-weight: normal; color: #555; }
.map th, .map td, .faces th, .faces td { border: 0; text-align: center; padding: .1rem; min-width: 2.6rem; }
.map th { font-weight: normal; color: #555; } .faces img { display: block; width: 84px; height: 84px; }
""".strip()


def write_report(found: Robustness, out: str | PathLike[str], points: float) -> list[Path]:
    """Write ``robustness.pdf``, ``.png``, ``.html`` and ``.csv`` into ``out``.

    Args:
        found: Measurement.
        out: Folder.
        points: Loss, of 100, up to which an error counts as tolerated.

    Returns:
        The files.

    Raises:
        InputError: The pair file has gone or changed.
    """
    stem = Path(out) / STEM
    files = [stem.with_suffix(suffix) for suffix in (".pdf", ".png", ".html", ".csv")]
    crops = example_crops(found)
    metadata = _metadata(found)
    with matplotlib.rc_context(STYLE):
        figure = page(found, points, crops)
        for file in files[:2]:
            write_bytes(file, picture(figure, file.suffix[1:], metadata[file.suffix]))
    write_text(files[2], _html(found, points, crops))
    write_text(files[3], _csv(found, points))
    return [*files, *write_extras(found, Path(out))]


def _metadata(found: Robustness) -> dict[str, dict[str, Any]]:
    """Metadata of the PDF and PNG files."""
    models = ", ".join(sweep.name for sweep in found.sweeps)
    common: dict[str, Any] = {"Title": f"{TITLE}: {models}"}
    if found.facts is None:
        return {".pdf": common, ".png": common}
    creator = f"aroface {found.facts.version}"
    pdf = {"Subject": subtitle(found), "Keywords": found.facts.command, "Creator": creator}
    return {".pdf": {**common, **pdf, "CreationDate": found.facts.made}, ".png": {**common, "Software": creator}}


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


def _html(found: Robustness, points: float, crops: NDArray[np.uint8]) -> str:
    metric = metric_name(found.grid.metrics[0])[0]
    loss = "1 point" if points == 1 else f"{points:g} points"
    return page_of(
        TITLE,
        f"{metric} on {subtitle(found)}",
        [
            definitions(findings(found, points)),
            f"<h2>{html.escape(curves_heading(found))}</h2>",
            _curves(found),
            f"<h2>{html.escape(maps_heading(found))}</h2>",
            *(_maps(found, sweep, COLOURS[number]) for number, sweep in enumerate(found.sweeps)),
            f"<h2>{metric} without errors, and the error tolerated at a loss of {loss}</h2>",
            _tolerated_table(found, points),
            "<h2>A probe, as embedded</h2>",
            _faces(found, crops),
            *extra_parts(found),
            "<h2>How to read it</h2>",
            definitions(reading(found, points), "notes"),
            f'<p>All numbers: <a href="{STEM}.csv">{STEM}.csv</a>, beside this page.</p>',
        ],
        style=_STYLE,
    )


def _curves(found: Robustness) -> str:
    with matplotlib.rc_context({**STYLE, "font.family": ["DejaVu Sans"]}):
        figure = curves(found)
    return inline_svg(figure, STEM, STYLE)


def _maps(found: Robustness, sweep: Sweep, colour: str) -> str:
    """The heat maps of a model: a table each."""
    metric, scale = found.grid.metrics[0], map_scale(found)
    tables = []
    for quality, (one, other) in maps_shown(found):
        across, up = map_levels(sweep, quality, (one, other))
        rows = []
        for y in reversed(up):
            drops = [sweep.drop(Perturbation(quality, one, x, other, y), metric) for x in across]
            cells = "".join(_tile(drop, scale, is_none=x == y == 0) for x, drop in zip(across, drops, strict=True))
            rows.append(f"<tr><th>{level_words(other, y)}</th>{cells}</tr>")
        foot = "".join(f"<th>{level_words(one, x)}</th>" for x in across)
        caption = f"<caption>{quality_name(quality)}: {other} over {one}</caption>"
        tables.append(f"<table class='map'>{caption}{''.join(rows)}<tr><th></th>{foot}</tr></table>")
    return f'<h3 style="color: {colour}">{html.escape(sweep.name)}</h3>\n<div class="row">{"".join(tables)}</div>'


def _tile(drop: Quantity, scale: Normalize, *, is_none: bool) -> str:
    share = float(scale(100 * drop.value))
    text = "" if is_none else loss_words(drop)
    colour = "; color: white" if share > 0.62 else ""
    return f'<td style="background: {to_hex(matplotlib.colormaps["YlOrBr"](share))}{colour}">{text}</td>'


def _faces(found: Robustness, crops: NDArray[np.uint8]) -> str:
    """The example faces: a row a quality, a column an error."""
    titles = [
        "aligned" if factor is None else f"{factor} {level_words(factor, level)}"
        for factor, level in columns_of_crops(found)
    ]
    rows = []
    for quality, row in zip(found.qualities, crops, strict=True):
        faces = "".join(f"<td>{_face(crop, title)}</td>" for crop, title in zip(row, titles, strict=True))
        rows.append(f"<tr><th>{quality_name(quality)}</th>{faces}</tr>")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table class='faces'><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _face(crop: NDArray[np.uint8], title: str) -> str:
    data = base64.b64encode(encode_jpeg(crop, _FACE_QUALITY)).decode()
    return f'<img alt="{title}" src="data:image/jpeg;base64,{data}">'


def _tolerated_table(found: Robustness, points: float) -> str:
    metric = found.grid.metrics[0]
    heads = [
        "quality",
        "model",
        WITHOUT,
        *(UNIT_TITLES[factor] for factor in found.factors),
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
    return plain_table(heads, rows)
