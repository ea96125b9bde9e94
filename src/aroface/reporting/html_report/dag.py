"""The chain of rules as a picture: what comes from what, and how much of it there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 148, 46, 22, 34, 2


@dataclass(frozen=True, slots=True)
class Step:
    """A kind of jobs.

    Attributes:
        name: Name of the rule.
        files: Files, one for each job, present once it is done; empty where it is not counted.
        after: Names of the steps whose results it takes.
    """

    name: str
    files: tuple[Path, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A step in its place: upper left corner in pixels, and its counts."""

    name: str
    x: float
    y: float
    done: int
    planned: int


def layers(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Steps in rows, each below all that it comes after, and in a row near those.

    Args:
        after: Steps by name, each with those that it comes after; steps that are not keys are left aside.
    """
    depth: dict[str, int] = {}

    def measure(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((measure(each) for each in after[name] if each in after), default=-1)
        return depth[name]

    rows: list[list[str]] = [[] for _ in range(1 + max(map(measure, after), default=-1))]
    for name in after:
        rows[depth[name]].append(name)
    for above, row in pairwise(rows):
        place = {name: (index + 0.5) / len(above) for index, name in enumerate(above)}

        def centre(name: str, place: Mapping[str, float] = place) -> float:
            known = [place[each] for each in after[name] if each in place]
            return sum(known) / len(known) if known else 0.5

        row.sort(key=centre)
    return rows


def boxes(steps: Iterable[Step]) -> tuple[dict[str, Box], float, float]:
    """Every step in its place, and width and height of the picture."""
    known = {step.name: step for step in steps}
    rows = layers({name: step.after for name, step in known.items()})
    width = max((len(row) for row in rows), default=0) * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN
    placed = {}
    for level, row in enumerate(rows):
        left = (width - len(row) * (WIDTH + GAP_X) + GAP_X) / 2
        for index, name in enumerate(row):
            files = known[name].files
            done = sum(file.exists() for file in files)
            placed[name] = Box(
                name, left + index * (WIDTH + GAP_X), MARGIN + level * (HEIGHT + GAP_Y), done, len(files)
            )
    return placed, width, len(rows) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN


def draw(steps: Sequence[Step]) -> str:
    """The picture as an ``svg`` element that takes its colours from the page.

    Args:
        steps: Steps; one that another comes after and that is not among them is left aside.
    """
    placed, width, height = boxes(steps)
    label = escape("; ".join(f"{box.name}{_counts(box)}" for box in placed.values()))
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    arrows = [
        f'<path d="{_curve(placed[before], placed[step.name])}"/>'
        for step in steps
        for before in step.after
        if before in placed
    ]
    opening = f'<svg class="chain" {size} role="img" aria-label="Steps of the workflow, from top to bottom: {label}">'
    return "\n".join([opening, *arrows, *map(_drawn, placed.values()), "</svg>"])


def _curve(start: Box, end: Box) -> str:
    x0, y0, x1, y1 = start.x + WIDTH / 2, start.y + HEIGHT, end.x + WIDTH / 2, end.y
    bend = (y1 - y0) / 2
    return f"M{x0:g} {y0:g}C{x0:g} {y0 + bend:g} {x1:g} {y1 - bend:g} {x1:g} {y1:g}"


def _drawn(box: Box) -> str:
    share = box.done / box.planned if box.planned else 0
    state = "" if not box.planned else "done" if share == 1 else "some" if share else "none"
    middle, below = box.x + WIDTH / 2, box.y + HEIGHT - 9
    elements = [
        f'<rect class="box" x="{box.x:g}" y="{box.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        f'<text x="{middle:g}" y="{box.y + (18 if box.planned else 27):g}">{escape(box.name)}</text>',
    ]
    if box.planned:
        counts = f"{box.done:,} of {box.planned:,}"
        elements += [
            f'<text class="count" x="{middle:g}" y="{box.y + 33:g}">{counts}</text>',
            f'<rect class="bar" x="{box.x + 8:g}" y="{below + 3:g}" width="{share * (WIDTH - 16):g}" height="2"/>',
        ]
    return f'<g class="{state}">{"".join(elements)}</g>'


def _counts(box: Box) -> str:
    return f", {box.done} of {box.planned} done" if box.planned else ""
