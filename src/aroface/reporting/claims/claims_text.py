"""Claims, verdicts and findings, for a terminal, a page in Markdown, and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

from rich import box
from rich.table import Table
from rich.text import Text

from aroface.humanize import plural
from aroface.reporting.claims.lint import LintFinding
from aroface.reporting.claims.verdicts import Evidence, Judgement, combined, criterion
from aroface.reporting.statistics.decisions import Verdict
from aroface.reporting.tables.grid import MISSING
from aroface.reporting.tables.latex import environment
from aroface.reporting.tables.seed_notes import p_text
from aroface.reporting.tables.tex_text import escape
from aroface.reporting.text import markdown_table, markdown_text, print_wide, with_percent_signs

HEADS = ("Values", "Verdict", "What", "Value", "95 % interval", "On", "Seeds", "Remark")
_KEYS = {"smallest": "smallest_effect"}
WIDTH = 347.12
"""Width in points of the line of Springer's LNCS class, which a LaTeX table fits where nothing else is said."""
NARROW = 300
"""Width in points below which a line has no room for four columns of text."""
NOTES = (
    "Reproduced values confirm or refute a claim by their whole 95 % interval: on faces like these (seeds and people "
    "both random) or on this benchmark alone (seeds random).",
    "With one seed there is not enough data.",
)
STYLES: dict[str, str] = {"confirmed": "green", "refuted": "bold red"}


def terminal(judgements: Sequence[Judgement], findings: Sequence[LintFinding]) -> str:
    """A block for each claim, the findings in the source, and a summary."""
    blocks: list[Table | Text | str] = []
    for judgement in judgements:
        blocks += [
            Text(_title(judgement), style="bold"),
            Text(f"Reproduced values: {criterion(judgement.claim)}.", style="dim"),
        ]
        drawn = Table(box=box.SIMPLE, pad_edge=False, show_header=True)
        for head in HEADS:
            drawn.add_column(head, no_wrap=True, justify="right" if head in ("Value", "Seeds") else "left")
        for cells in _rows(judgement):
            drawn.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
        blocks.append(drawn)
    return print_wide([*blocks, *_finding_lines(findings), *summary(judgements, findings)])


def lint_terminal(findings: Sequence[LintFinding]) -> str:
    """The findings alone."""
    return print_wide([*_finding_lines(findings), *([] if findings else ["nothing found"])])


def markdown(judgements: Sequence[Judgement], findings: Sequence[LintFinding]) -> str:
    """The same as GitHub-flavoured Markdown."""
    blocks = []
    for judgement in judgements:
        blocks += [
            f"## {markdown_text(_title(judgement))}",
            f"Reproduced values: {markdown_text(criterion(judgement.claim))}.",
        ]
        blocks.append(markdown_table(HEADS, list(_rows(judgement)), right=(3, 6)))
    if findings:
        blocks += ["## Findings in the source", _finding_table(findings)]
    return "\n\n".join([*blocks, *summary(judgements, findings)]) + "\n"


def lint_markdown(findings: Sequence[LintFinding]) -> str:
    """The findings alone."""
    return (_finding_table(findings) if findings else "nothing found") + "\n"


def latex(judgements: Sequence[Judgement], *, width: float = WIDTH, spanning: bool = False) -> str:
    """A table of the claims with both verdicts, to be put into a document as those of the paper are.

    Its columns are shares of the line, so that it fits any; in a narrow one each claim stands above its verdicts.

    Args:
        judgements: Claims with their verdicts.
        width: Width of the line in points.
        spanning: True for ``table*``, which spans both columns.
    """
    rows = [
        tuple(map(with_percent_signs, cells))
        for cells in (
            (each.claim.claim, each.claim.stands, _said(each.paper), _value(each.whole)) for each in judgements
        )
    ]
    lines = [" & ".join(rf"\raggedright {escape(cell)}" for cell in row) for row in rows]
    return (
        environment()
        .get_template("claims.tex.j2")
        .render(
            rows=rows,
            lines=lines,
            notes=map(with_percent_signs, NOTES),
            stacked=width < NARROW,
            environment="table*" if spanning else "table",
        )
    )


def as_json(judgements: Sequence[Judgement], findings: Sequence[LintFinding]) -> dict[str, Any]:
    """All of it, numbers as numbers: points, or per cent of a drop."""
    return {
        "claims": [
            {
                "id": each.claim.id,
                "claim": each.claim.claim,
                "stands": each.claim.stands,
                "kind": each.claim.kind,
                "criterion": criterion(each.claim),
                "paper": {"verdict": each.paper_verdict, "evidence": [*map(_entry, each.paper)]},
                "reproduction": {
                    "verdict": each.reproduction_verdict,
                    "whole": _entry(each.whole),
                    "evidence": [*map(_entry, each.reproduction)],
                },
            }
            for each in judgements
        ],
        "findings": lint_json(findings),
    }


def lint_json(findings: Sequence[LintFinding]) -> list[dict[str, Any]]:
    """The findings alone."""
    return [
        {"rule": finding.rule, "place": finding.place, "text": finding.text, "explained": finding.explained}
        for finding in findings
    ]


def summary(judgements: Sequence[Judgement], findings: Sequence[LintFinding]) -> list[str]:
    """Numbers of claims by verdict."""
    paper = _count([judgement.paper_verdict for judgement in judgements])
    reproduction = _count([judgement.reproduction_verdict for judgement in judgements])
    lines = [f"paper: {paper}", f"reproduction: {reproduction}"]
    return [*lines, f"source: {plural(len(findings), 'finding')}"] if findings else lines


def _title(each: Judgement) -> str:
    return f"{each.claim.id}: {each.claim.claim} ({each.claim.stands})"


def sides(each: Judgement) -> Iterator[tuple[str, list[Evidence]]]:
    """Both sides, each with its verdict first; where it rests on several numbers, each of them follows.

    Where nothing can be said of any of several, one line stands for all.
    """
    paper = Evidence(
        f"{len(each.paper)} comparisons", each.paper_verdict, remark=_count([item.verdict for item in each.paper])
    )
    for side, first, evidence in (("paper", paper, each.paper), ("reproduction", each.whole, each.reproduction)):
        alike = len({(item.verdict, item.value, item.remark) for item in evidence}) == 1
        if len(evidence) == 1:
            yield side, [*evidence]
        elif alike and evidence[0].value is None:
            yield side, [replace(evidence[0], what=f"all {len(evidence)} comparisons", cells=())]
        else:
            yield side, [first, *evidence]


def _rows(each: Judgement) -> Iterator[tuple[str, ...]]:
    for side, evidence in sides(each):
        for number, item in enumerate(evidence):
            yield (side if number == 0 else "", *_cells(item))


def _cells(item: Evidence) -> tuple[str, ...]:
    value = MISSING if item.value is None else item.value.replace("-", "−")
    interval = "" if item.low is None else f"[{item.low}, {item.high}]".replace("-", "−")
    p = "" if item.p_value is None else p_text(item.p_value)
    remark = "; ".join(part for part in (p, item.remark) if part)
    return (item.verdict, item.what, value, interval, item.scope or "", str(item.seeds or ""), remark)


def _said(evidence: Sequence[Evidence]) -> str:
    """The verdict of reported values, with the value that it rests on or the number of comparisons."""
    verdict = combined(evidence)
    if len(evidence) > 1:
        count = sum(item.verdict == verdict for item in evidence)
        return f"{verdict} ({count} of {len(evidence)})"
    return _value(evidence[0])


def _value(item: Evidence) -> str:
    """A verdict with its value, interval and the population that it speaks of."""
    verdict, _, value, interval, scope, _, _ = _cells(item)
    if value == MISSING:
        return verdict
    return " ".join(part for part in (f"{verdict}: {value}", interval, scope and f"on {scope}") if part)


def _count(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])


def _finding_lines(findings: Sequence[LintFinding]) -> Iterator[Table | Text]:
    if not findings:
        return
    yield Text("Findings in the source", style="bold")
    drawn = Table(box=box.SIMPLE, pad_edge=False)
    for head in ("Rule", "Place", "Finding"):
        drawn.add_column(head, no_wrap=True)
    for finding in findings:
        drawn.add_row(*map(Text, _finding_cells(finding)))
    yield drawn


def _finding_table(findings: Sequence[LintFinding]) -> str:
    return markdown_table(("Rule", "Place", "Finding"), [_finding_cells(finding) for finding in findings])


def _finding_cells(each: LintFinding) -> tuple[str, str, str]:
    return each.rule, each.place, each.text + (" (explained in the specification)" if each.explained else "")


def _entry(item: Evidence) -> dict[str, Any]:
    numbers = {name: getattr(item, name) for name in ("value", "low", "high", "smallest")}
    return {
        "what": item.what,
        "verdict": item.verdict,
        **{_KEYS.get(name, name): None if digits is None else float(digits) for name, digits in numbers.items()},
        "on": item.scope,
        "seeds": item.seeds,
        "seeds_that_decide": item.deciding,
        "p_value": item.p_value,
        "remark": item.remark,
        "cells": ["/".join(cell) for cell in item.cells],
    }
