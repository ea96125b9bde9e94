"""Text of a comparison with reported values, for a terminal, a page in Markdown, and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, get_args

from rich import box
from rich.table import Table
from rich.text import Text

from aroface.humanize import plural
from aroface.reporting.claims.compare import CHECK, TOLERANCES, Closeness, Report, ValueComparison
from aroface.reporting.tables.grid import MISSING
from aroface.reporting.text import markdown_table, print_wide

HEADS: tuple[str, ...] = ("Row", "Column", "Paper", "Reproduced", "Seeds", "Further seed", "Δ", "Tolerance", "Verdict")
RIGHT = ("Paper", "Seeds", "Δ", "Tolerance")
STYLES: dict[Closeness, str] = {"holds": "green", "differs": "red", "check the preprocessing": "bold red"}


def terminal(report: Report) -> str:
    """A table for each table, likely causes of large gaps, and a summary."""
    blocks: list[Table | str] = []
    for name, group in groupby(report.comparisons, key=lambda each: each.table):
        cells_of = list(group)
        drawn = Table(title=name, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for head, shown in zip(HEADS, _heads(cells_of), strict=True):
            drawn.add_column(shown, justify="right" if head in RIGHT else "left", no_wrap=True)
        for row in _rows(cells_of):
            *cells, verdict = row
            drawn.add_row(*map(Text, cells), Text(verdict, style=_style(verdict)))
        blocks.append(drawn)
    return print_wide([*blocks, *_causes(report), "", *summary(report)])


def markdown(report: Report) -> str:
    """The same as GitHub-flavoured Markdown."""
    blocks = []
    for name, group in groupby(report.comparisons, key=lambda each: each.table):
        blocks.append(f"## {name}")
        cells = list(group)
        blocks.append(markdown_table(_heads(cells), list(_rows(cells)), right=[HEADS.index(head) for head in RIGHT]))
    causes = "\n".join(f"- {line.strip(' -')}" if line.startswith(" ") else f"\n{line}\n" for line in _causes(report))
    return "\n\n".join(block for block in [*blocks, causes.strip("\n"), "\n".join(summary(report))] if block) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """All comparisons, numbers as numbers: percentages, differences and tolerances in points."""
    return {
        "tolerances": {source: float(points) for source, points in TOLERANCES.items()},
        "measured_tolerances": {
            table: {benchmark: {"points": float(each.points), "of": str(each)} for benchmark, each in spreads.items()}
            for table, spreads in report.spreads.items()
        },
        "check_beyond": float(CHECK),
        "holds": report.holds,
        "counts": {verdict: count for verdict, count in _counts(report.comparisons).items() if count},
        "cells": [_entry(each) for each in report.comparisons],
        "others": {table: list(rows) for table, rows in report.others.items() if rows},
    }


def summary(report: Report) -> list[str]:
    """Number of values that hold, for each table, and the tolerances."""
    lines = []
    for name, group in groupby(report.comparisons, key=lambda each: each.table):
        cells = list(group)
        counts = _counts(cells)
        tally = [
            f"{counts[verdict]} {_plural_verdict(verdict, counts[verdict])}" for verdict in counts if counts[verdict]
        ]
        others = report.others.get(name, ())
        left = f"; {plural(len(others), 'row')} of others' models left out: {', '.join(others)}" if others else ""
        lines.append(f"{name}: {plural(len(cells), 'value')}: {', '.join(tally)}{left}")
    lines += [
        f"{name}: released weights may differ by {each.points} points on {benchmark}, for {each}."
        for name, spreads in report.spreads.items()
        for benchmark, each in spreads.items()
    ]
    lines.append(
        f"A value holds within ±{TOLERANCES['released']} points of a released checkpoint and ±{TOLERANCES['trained']} "
        "of a network trained again, and where the reported value lies in the 95 % prediction interval of one further "
        f"run (Further seed). Of one seed, only gaps beyond {CHECK} points are judged: look at the preprocessing first."
    )
    return lines


def _plural_verdict(verdict: Closeness, count: int) -> str:
    if verdict == "check the preprocessing":
        return f"beyond {CHECK} points"
    return verdict.rstrip("s") if count > 1 and verdict in ("holds", "differs") else verdict


def _counts(comparisons: Sequence[ValueComparison]) -> dict[Closeness, int]:
    counts = Counter(each.verdict for each in comparisons)
    return {verdict: counts[verdict] for verdict in get_args(Closeness)}


def _heads(comparisons: Sequence[ValueComparison]) -> tuple[str, ...]:
    """Headings of one table: the paper's values are published ones where not all are the authors'."""
    others = any(each.publisher for each in comparisons)
    return tuple("Published" if others and head == "Paper" else head for head in HEADS)


def _rows(comparisons: Sequence[ValueComparison]) -> Iterator[tuple[str, ...]]:
    """Printed rows of one table; a row of it with nothing reproduced takes one."""
    for name, group in groupby(comparisons, key=lambda each: each.row):
        cells = list(group)
        if all(each.reproduced is None for each in cells):
            # The paper has values here, which "--" would deny.
            sources = ", ".join(dict.fromkeys(each.publisher.name for each in cells if each.publisher))
            yield (name, f"all {len(cells)}", sources, MISSING, "", "", "", "", cells[0].verdict)
            continue
        for number, each in enumerate(cells):
            yield (name if number == 0 else "", *_cells(each))


def _cells(each: ValueComparison) -> tuple[str, ...]:
    reported = f"{each.publisher.name} {each.reported}" if each.publisher else each.reported
    if each.reproduced is None:
        return (each.heading, reported, MISSING, "", "", "", "", each.verdict)
    spread = f" ± {each.sd}" if each.sd else ""
    seeds = "released" if each.source == "released" else str(each.seeds)
    gap = (each.difference or "").replace("-", "−")
    further = f"[{', '.join(each.further)}]" if each.further else ""
    value = each.reproduced + spread
    return (each.heading, reported, value, seeds, further, gap, f"±{each.tolerance}", each.verdict)


def _causes(report: Report) -> Iterator[str]:
    """The likely causes of each table's large gaps, those of one kind once."""
    seen: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for comparison in report.comparisons:
        if comparison.causes:
            seen.setdefault((comparison.table, comparison.causes), []).append(f"{comparison.row}, {comparison.heading}")
    for (table, causes), places in seen.items():
        yield f"{table}: likely causes of the gaps beyond {CHECK} points ({'; '.join(places)})"
        for cause in causes:
            yield f"  - {cause}"


def _entry(each: ValueComparison) -> dict[str, Any]:
    def number(text: object) -> float | None:
        return None if text is None else float(str(text))

    return {
        "cell": f"{each.table}/{each.row}/{each.column}",
        "reported": number(each.reported),
        "published_by": str(each.publisher) if each.publisher else None,
        "reproduced": number(each.reproduced),
        "sd": number(each.sd),
        "further_seed": [number(end) for end in each.further] if each.further else None,
        "seeds": each.seeds,
        "source": each.source,
        "difference": number(each.difference),
        "tolerance": number(each.tolerance),
        "verdict": each.verdict,
        "causes": list(each.causes),
    }


def _style(verdict: str) -> str:
    return next((style for name, style in STYLES.items() if name == verdict), "dim")
