"""Files of an evaluation of scores: one HTML page, its figures as PDF and PNG, all numbers as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from aroface.errors import InputError
from aroface.evaluation.scores import SystemComparison, SystemVerdict
from aroface.files import check_place, read_json_if_there, write_bytes, write_json, write_text
from aroface.humanize import plural
from aroface.provenance import git_commit, versions
from aroface.reporting.figures.save import picture
from aroface.reporting.plain_page import definitions, inline_svg, page, plain_table
from aroface.reporting.scores.figures import STYLE, DetAxes, cmc, det, distributions
from aroface.reporting.scores.words import (
    comparisons_table,
    metrics_table,
    reading,
    rests_on_few,
    thresholds_table,
    verdict_lines,
)

STEM = "scores"
_STYLE = "td { white-space: nowrap; } .wide { overflow-x: auto; }"
_COLUMNS = ("system", "metric", "value", "low", "high", "few", "other", "other_value", "p", "p_holm")


def write_scores_report(
    verdicts: Sequence[SystemVerdict],
    comparisons: Sequence[SystemComparison],
    out: str | PathLike[str],
    *,
    det_axes: DetAxes = "log",
    sources: Mapping[str, Mapping[str, Any]] | None = None,
    command: str | None = None,
) -> list[Path]:
    """Write ``scores.html``, ``.json``, ``.csv`` and the figures ``det``, ``distributions`` and, of a search, ``cmc``.

    Args:
        verdicts: Systems.
        comparisons: Their comparison in pairs.
        out: Folder.
        det_axes: Scale of the axes of the DET curves.
        sources: Files of each system and their SHA-256, by its name.
        command: Command line that makes the files again.

    Returns:
        The files.
    """
    folder = Path(out)
    check_page_place(folder)
    drawings: dict[str, Callable[[], Figure]] = {
        "det": lambda: det(verdicts, det_axes),
        "distributions": lambda: distributions(verdicts),
    }
    if any(verdict.cmc for verdict in verdicts):
        drawings["cmc"] = lambda: cmc(verdicts)
    files = [folder / f"{STEM}{suffix}" for suffix in (".html", ".json", ".csv")]
    written = write_figures(folder, drawings)
    write_json(files[1], document(verdicts, comparisons, sources or {}, command))
    write_text(files[2], table_text(verdicts, comparisons))
    write_text(files[0], _html(verdicts, comparisons, drawings))
    return [*files, *written]


def check_page_place(folder: Path) -> None:
    """Refuse a folder whose page was not written here, before anything is computed.

    Raises:
        InputError: A page stands there without the numbers that belong to it.
    """
    pages = folder / f"{STEM}.html"
    check_place(pages)
    numbers = read_json_if_there(pages.with_suffix(".json")) if pages.exists() else {"systems": []}
    if not isinstance(numbers, dict) or "systems" not in numbers:
        raise InputError("exists and was not made here", file=pages, remedy="name another folder or remove it")


def write_figures(folder: Path, drawings: Mapping[str, Callable[[], Figure]]) -> list[Path]:
    """Write each figure as PDF and PNG."""
    files = []
    for name, draw in drawings.items():
        with matplotlib.rc_context(STYLE):
            figure = draw()
            for form in ("pdf", "png"):
                files.append(folder / f"{name}.{form}")
                write_bytes(files[-1], picture(figure, form))
    return files


def document(
    verdicts: Sequence[SystemVerdict],
    comparisons: Sequence[SystemComparison],
    sources: Mapping[str, Mapping[str, Any]],
    command: str | None,
) -> dict[str, Any]:
    """All numbers, with the files that they are of; rates are fractions, what is not bounded is null."""
    return {
        "systems": [{**_system(verdict), "files": dict(sources.get(verdict.name, {}))} for verdict in verdicts],
        "comparisons": [
            {
                "first": each.first,
                "second": each.second,
                "metric": each.row.metric,
                "difference": _finite(each.row.difference),
                "interval": [_finite(end) for end in each.row.interval],
                "p_value": _finite(each.row.p_value),
                "p_holm": _finite(each.row.adjusted),
            }
            for each in comparisons
        ],
        "provenance": {"command": command, "git_commit": git_commit(), "versions": versions()},
    }


def _system(verdict: SystemVerdict) -> dict[str, Any]:
    fields = ("wished", "threshold", "low", "high", "impostors", "accepted", "effective", "fmr", "fnmr")
    thresholds = []
    for each in verdict.thresholds:
        entry = {name: _finite(getattr(each, name)) for name in fields}
        intervals = {name: [_finite(end) for end in getattr(each, name)] for name in ("fmr_interval", "fnmr_interval")}
        thresholds.append({**entry, **intervals})
    return {
        "name": verdict.name,
        "scores_are": "distances" if verdict.scores.is_distance else "similarities",
        "intervals_over": verdict.unit,
        "counts": dict(verdict.counts),
        "metrics": {name: _finite(value) for name, value in verdict.metrics.items()},
        "intervals": {name: [float(end) for end in ends] for name, ends in verdict.intervals.items()},
        "few_false_matches": [name for name in verdict.metrics if rests_on_few(verdict, name)],
        "thresholds": thresholds,
        "curves": {"tar_far": dict(verdict.curve), "cmc": list(verdict.cmc)},
    }


def _finite(value: float) -> float | None:
    return (value if isinstance(value, int) else float(value)) if math.isfinite(value) else None


def table_text(verdicts: Sequence[SystemVerdict], comparisons: Sequence[SystemComparison]) -> str:
    """Metrics and comparisons as CSV; rates are fractions, a comparison's ends are of the difference other - system."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for verdict in verdicts:
        for name, value in verdict.metrics.items():
            few = "yes" if rests_on_few(verdict, name) else "no"
            writer.writerow({"system": verdict.name, "metric": name, "value": f"{value:.6g}", "few": few,
                             **_ends(verdict.intervals.get(name))})  # fmt: skip
        for each in verdict.thresholds:
            name = f"threshold_at_fmr_{each.wished:g}"
            writer.writerow({"system": verdict.name, "metric": name, "value": f"{each.threshold:.9g}",
                             "few": "yes" if each.few else "no", **_ends((each.low, each.high))})  # fmt: skip
    for pair in comparisons:
        row = pair.row
        writer.writerow({"system": pair.first, "metric": row.metric, "value": f"{row.first:.6g}", "other": pair.second,
                         "other_value": f"{row.second:.6g}", "p": f"{row.p_value:.6g}",
                         "p_holm": f"{row.adjusted:.6g}", **_ends(row.interval)})  # fmt: skip
    return buffer.getvalue()


def _ends(ends: tuple[float, float] | None) -> dict[str, str]:
    return {} if ends is None else {"low": f"{ends[0]:.9g}", "high": f"{ends[1]:.9g}"}


def _html(
    verdicts: Sequence[SystemVerdict],
    comparisons: Sequence[SystemComparison],
    drawings: Mapping[str, Callable[[], Figure]],
) -> str:
    titles = {
        "det": "Error rates: FNMR over FMR (DET)",
        "distributions": "Score distributions",
        "cmc": "Search: rank of the mate (CMC)",
    }
    parts = [definitions(verdict_lines(verdicts)), "<h2>Thresholds</h2>", _wide(*thresholds_table(verdicts))]
    parts += ["<h2>Metrics, with 95 % intervals</h2>", _wide(*metrics_table(verdicts))]
    if comparisons:
        parts += ["<h2>Systems compared in pairs</h2>", _wide(*comparisons_table(comparisons))]
    for name, draw in drawings.items():
        with matplotlib.rc_context({**STYLE, "font.family": ["DejaVu Sans"]}):
            figure = draw()
        links = ", ".join(f'<a href="{name}.{form}">{form.upper()}</a>' for form in ("pdf", "png"))
        parts += [f"<h2>{titles[name]}</h2>", inline_svg(figure, name, STYLE), f"<p>{links}</p>"]
    parts += ["<h2>How to read it</h2>", definitions(reading(verdicts), "notes")]
    parts.append(f'<p>All numbers: <a href="{STEM}.json">{STEM}.json</a>, <a href="{STEM}.csv">{STEM}.csv</a>.</p>')
    return page("Verdict on scores", _about(verdicts), parts, style=_STYLE)


def _about(verdicts: Sequence[SystemVerdict]) -> str:
    names = ", ".join(verdict.name for verdict in verdicts)
    return f"{names}: {plural(verdicts[0].counts['comparisons'], 'comparison')}"


def _wide(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<div class='wide'>{plain_table(heads, rows)}</div>"
