"""One HTML file that a sceptic opens: every number, what stands behind it, and what is missing.

The file needs nothing beside it: no network, no font, no picture. The same records give the same bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import jinja2

from aroface.errors import InputError
from aroface.files import if_there, newest, write_text
from aroface.humanize import seconds_text
from aroface.reporting.anchors import cell_anchor, run_anchor
from aroface.reporting.claims import claims_text, compare_text
from aroface.reporting.claims.claims import read_claims
from aroface.reporting.claims.compare import ValueComparison, compare
from aroface.reporting.claims.lint import lint
from aroface.reporting.claims.verdicts import Evidence, criterion, judge_claims
from aroface.reporting.explain import Trace
from aroface.reporting.figures.fragment import alt_text, caption_text
from aroface.reporting.html_report.dag import Step, draw
from aroface.reporting.html_report.data import ReportedDataSet, view_data
from aroface.reporting.html_report.runs import (
    Differences,
    ReportedRun,
    RunView,
    commits,
    compare_runs,
    job_kinds,
    view_run,
)
from aroface.reporting.html_report.tables import fact_html, relative, view_tables
from aroface.reporting.records import Record, RecordedExperiment, load_records
from aroface.reporting.tables.latex import TEMPLATES
from aroface.reporting.tables.seed_notes import p_text
from aroface.reporting.tables.spec import Spec
from aroface.results import Results

TITLE = "ARoFace: what was reproduced, and from what"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure by the files that it consists of: ``{stem}.png``, ``.pdf`` and ``.tex``."""

    name: str
    stem: Path


@dataclass(frozen=True, slots=True)
class Material:
    """All that a report is made of, whether it is there yet or not.

    Attributes:
        note: Meaning of the numbers; None where there is nothing to add.
        specs: Tables that are shown, those of the configuration first.
        sources: Tables that claims refer to.
        claims: File of the claims.
        records: Folder of the records.
        results: Folder with ``runs`` and ``recipes``, as the commands name it.
        experiments: Experiments of the configuration.
        labels: Printed names of methods and data sets by their keys.
        runs: Runs of the configuration.
        data: Sets that they are trained and evaluated on.
        pictures: Figures of the page.
        document: PDF of all tables and figures; None where there is none.
        steps: Rules of the workflow with what they make.
        missing: Lines on data that are not there.
        costs: Lines on the cost of the runs that are left.
        workflow: Command that makes the file whose name follows it.
    """

    note: str | None
    specs: tuple[Spec, ...]
    sources: tuple[Spec, ...]
    claims: Path
    records: Path
    results: Path
    experiments: tuple[RecordedExperiment, ...]
    labels: Mapping[str, str]
    runs: tuple[ReportedRun, ...]
    data: tuple[ReportedDataSet, ...]
    pictures: tuple[Picture, ...]
    document: Path | None
    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    costs: tuple[str, ...]
    workflow: str

    @property
    def selection(self) -> dict[str, Any]:
        """The arguments by which functions of this package choose records."""
        names = [run.name for run in self.runs]
        return {"runs": names, "experiments": self.experiments, "labels": self.labels}


def write_report(material: Material, out: str | PathLike[str]) -> None:
    """Render the report into the file ``out``, atomically; see :func:`render_report`."""
    write_text(out, render_report(material, Path(out).parent))


def render_report(material: Material, folder: Path) -> str:
    """The report as HTML.

    Args:
        material: Material of the report.
        folder: Folder of the page, for its links to files beside it.

    Raises:
        InputError: A record is no record. Records that do not fit into one table are said in the place of that table.
    """
    records = load_records(material.records, {run.name: run.variant for run in material.runs})
    runs = [view_run(run, records) for run in material.runs]
    trace = Trace(records, Results(material.results), material.workflow)
    tables = view_tables(
        material.specs, trace, experiments=material.experiments, labels=material.labels, note=material.note
    )
    explained = {cell.anchor for table in tables for cell in table.cells}
    differing = compare_runs(material.runs)
    content = {
        "title": TITLE,
        "material": material,
        "status": _status(material, runs, records),
        "tables": tables,
        "figures": [_figure(picture, folder) for picture in material.pictures],
        "comparison": _attempt(lambda: _comparison(material)),
        "claims": _attempt(lambda: _claims(material, explained)),
        "runs": runs,
        "differing": differing,
        "settings": _embedded(differing),
        "kinds": job_kinds(runs),
        "data": [view_data(each) for each in material.data],
        "chain": draw(material.steps),
        "document": _link(material.document, folder),
        "link": lambda path: _link(path, folder),
        "mistakes": lambda run, benchmark: _link(Results(material.results).mistakes(run, benchmark), folder),
        "fact": lambda each: fact_html(each, folder),
    }
    return _environment().get_template("report.html.j2").render(content)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "duration": seconds_text,
        "sign": lambda text: text.replace("-", "−"),
        "run_anchor": run_anchor,
    }
    return environment


def _status(material: Material, runs: Sequence[RunView], records: Sequence[Record]) -> dict[str, Any]:
    """Numbers of finished and missing parts of the plan."""
    planned = [(run, name, record) for run in runs for name, record in run.records.items()]
    changed = newest(record.path for record in records)
    return {
        "newest": None if changed is None else f"{datetime.fromtimestamp(changed, UTC):%d %B %Y, %H:%M} UTC",
        "commits": commits(runs),
        "runs_done": sum(run.done for run in runs),
        "runs_missing": [run for run in runs if not run.done],
        "records_done": sum(record is not None for _, _, record in planned),
        "records_planned": len(planned),
        "records_missing": [
            (name, [run for run, _, _ in group])
            for name, group in _grouped([each for each in planned if each[2] is None], lambda each: each[1])
        ],
        "figures_missing": [each.name for each in material.pictures if not each.stem.with_suffix(".png").exists()],
    }


def _grouped(items: Sequence[Any], key: Callable[[Any], Any]) -> Iterator[tuple[Any, list[Any]]]:
    for name, group in groupby(sorted(items, key=key), key=key):
        yield name, list(group)


def _figure(picture: Picture, folder: Path) -> dict[str, Any]:
    png, fragment = picture.stem.with_suffix(".png"), picture.stem.with_suffix(".tex")
    image, text = if_there(png.read_bytes), if_there(partial(fragment.read_text, encoding="utf-8"))
    return {
        "name": picture.name,
        "png": None if image is None else base64.b64encode(image).decode(),
        "caption": caption_text(text or ""),
        "alt": alt_text(text or ""),
        "pdf": _link(picture.stem.with_suffix(".pdf"), folder),
    }


def _link(path: Path | None, folder: Path) -> str | None:
    """Path of a file relative to the page; None if the file does not exist."""
    return None if path is None or not path.exists() else relative(path, folder)


def _attempt(make: Callable[[], Result]) -> Result | str:
    """Result of a function, or one line on the reason of its failure."""
    try:
        return make()
    except InputError as error:
        return str(error)


def _comparison(material: Material) -> dict[str, Any]:
    report = compare([spec for spec in material.specs if spec.compares], material.records, **material.selection)
    made = [each for each in report.comparisons if each.reproduced is not None]
    return {
        "tables": [
            (table, [(row, [*map(_compared, cells)]) for row, cells in groupby(group, lambda each: each.row)])
            for table, group in groupby(made, lambda each: each.table)
        ],
        "causes": [
            (causes, [_compared(each) for each in group])
            for causes, group in _grouped([each for each in made if each.causes], lambda each: each.causes)
        ],
        "summary": compare_text.summary(report),
    }


def _compared(each: ValueComparison) -> dict[str, Any]:
    return {"cell": each, "anchor": cell_anchor(each.table, each.row, each.column)}


def _claims(material: Material, explained: Collection[str]) -> dict[str, Any]:
    """Claims with their verdicts; values are links to the cells that the page explains."""
    claims = read_claims(material.claims, material.sources)
    judged = judge_claims(claims, material.records, **material.selection)
    findings = lint(material.sources, claims)
    return {
        "judged": [
            {
                "judgement": each,
                "criterion": criterion(each.claim),
                "sides": [
                    (side, [_evidence_line(item, explained) for item in evidence])
                    for side, evidence in claims_text.sides(each)
                ],
            }
            for each in judged
        ],
        "findings": findings,
        "summary": claims_text.summary(judged, findings),
    }


def _evidence_line(each: Evidence, explained: Collection[str]) -> dict[str, Any]:
    signs = ("of", "minus")[: len(each.cells)]
    anchors = [(sign, cell_anchor(*cell)) for sign, cell in zip(signs, each.cells, strict=True)]
    p = "" if each.p_value is None else p_text(each.p_value)
    return {
        "what": each.what,
        "verdict": each.verdict,
        "value": each.value or "--",
        "interval": "" if each.low is None else f"[{each.low}, {each.high}]",
        "on": each.scope or "",
        "seeds": str(each.seeds or ""),
        "remark": "; ".join(part for part in (p, each.remark) if part),
        "cells": [(sign, anchor) for sign, anchor in anchors if anchor in explained],
    }


def _embedded(differing: Differences) -> str:
    """All settings of all runs as JSON that may stand in a ``script`` element: nothing in it can end the element."""
    text = json.dumps(differing.settings, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
