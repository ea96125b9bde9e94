"""Judgement of a compiled document by its log and its PDF: what a typesetter would send back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aroface.reporting.export.glyphs import POINT, Glyph, fonts, glyphs

OVERFULL = 2.0
"""Width in pt by which something may stick out of its line."""
FLOOR = 7.0
"""Smallest type in pt that print takes."""
TOLERANCE = 0.03
"""Share of a size that is rounding: pictures are scaled, and a PDF counts in points of 1/72 inch."""
SMALL_CAPITALS = 0.8
"""Size of small capitals that a font lacks, as a share of its type."""
MAIN = "main.tex"

_MARK = re.compile(r"\(aroface: (.*)\)$")
_OVERFULL = re.compile(r"Overfull \\([hv])box \((\d+(?:\.\d+)?)pt too (?:wide|high)\)")
_LARGE = re.compile(r"LaTeX Warning: Float too large for page by (\d+(?:\.\d+)?)pt")
_WARNINGS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"LaTeX Warning: Label [`'](.*?)' multiply defined"),
        "the label {} is defined twice",
        "rename one of the two",
    ),
    (
        re.compile(r"LaTeX Warning: (?:Hyper )?[Rr]eference [`'](.*?)' on page \S+ undefined"),
        "the reference {} is not defined",
        "put the table or figure of that label into the document",
    ),
    (
        re.compile(r"(?:LaTeX|Package \w+) Warning: Citation [`'](.*?)' (?:on page \S+ )?(?:on input line|undefined)"),
        "the citation {} is not defined",
        "name aroface.bib in \\bibliography",
    ),
    (
        re.compile(r"Missing character: There is no (.*?) (?:\(.*?\) )?in font"),
        "the type has no {}",
        "take another engine, or write it as a command",
    ),
)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something that print would not take.

    Attributes:
        place: File of the fragment, or ``main.tex``.
        problem: Defect, in a few words.
        remedy: Remedy.
    """

    place: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}; {self.remedy}"


def judge(log: str, pdf: Path, pages: Mapping[str, int] | None = None) -> list[Fault]:
    """All faults of a compiled document.

    Args:
        log: Log of the last run, whose lines are not broken.
        pdf: Document.
        pages: Page of each fragment; without it faults of type are of ``main.tex``.
    """
    return [*judge_log(log), *judge_type(glyphs(pdf), pages or {}), *judge_fonts(pdf)]


def judge_log(log: str) -> list[Fault]:
    """Overfull boxes with the fragment they are in, labels, references and characters.

    A fragment is told by lines ``(aroface: FILE)``, which the document writes before and after each.
    """
    place = MAIN
    found: dict[Fault, None] = {}
    widest: dict[tuple[str, str], float] = {}
    for line in log.splitlines():
        if mark := _MARK.match(line):
            place = mark[1]
        elif match := _OVERFULL.search(line):
            if r"\output is active" in line:  # heads, feet and pages without text, as classes make them up
                continue
            key = (place, match[1])
            widest[key] = max(widest.get(key, 0.0), float(match[2]))
        elif match := _LARGE.search(line):
            widest[place, "v"] = max(widest.get((place, "v"), 0.0), float(match[1]))
        else:
            found |= dict.fromkeys(_warned(line, place))
    return [*_overfull(widest), *found]


def _overfull(widest: Mapping[tuple[str, str], float]) -> Iterator[Fault]:
    for (place, direction), amount in widest.items():
        if amount <= OVERFULL:
            continue
        if direction == "h":
            remedy = "set columns:, transpose: or a smaller size: in its specification's form, or give it both columns"
            yield Fault(place, f"{amount:.1f} pt wider than the line", remedy)
        else:
            yield Fault(place, f"{amount:.1f} pt higher than the page", "leave out rows, or split it")


def _warned(line: str, place: str) -> Iterator[Fault]:
    for pattern, problem, remedy in _WARNINGS:
        if match := pattern.search(line):
            yield Fault(place, problem.format(match[1]), remedy)


def judge_type(found: Iterable[Glyph], pages: Mapping[str, int]) -> list[Fault]:
    """Runs of type below the floor.

    Exempt are sub- and superscripts, told by their raise beside larger type, and small capitals.
    """
    by_page: dict[int, list[Glyph]] = {}
    for glyph in found:
        by_page.setdefault(glyph.page, []).append(glyph)
    faults = []
    for page, here in by_page.items():
        small = [run for run in _runs(here) if run[0].size * POINT < FLOOR * (1 - TOLERANCE)]
        sizes = {(glyph.font, round(glyph.size, 1)) for glyph in here}
        small = [run for run in small if not (_is_script(run, here) or _is_small_capitals(run, sizes))]
        if not small:
            continue
        least = min(small, key=lambda run: run[0].size)
        text = "".join(glyph.text for glyph in least)[:30]
        place = ", ".join(name for name, on in pages.items() if on == page) or MAIN
        size = least[0].size * POINT
        problem = f"type of {size:.1f} pt on page {page} ({text!r})"
        faults.append(Fault(place, problem, f"{FLOOR:g} pt is the least: give it more width, or fewer columns"))
    return faults


def _runs(here: Sequence[Glyph]) -> Iterator[list[Glyph]]:
    """Glyphs of one size that follow one another on one base line."""
    run: list[Glyph] = []
    for glyph in here:
        if run and not _follows(run[-1], glyph):
            yield run
            run = []
        run.append(glyph)
    if run:
        yield run


def _follows(before: Glyph, glyph: Glyph) -> bool:
    if abs(before.size - glyph.size) > 0.05 or before.direction != glyph.direction:
        return False
    along, across = _offset(before, glyph)
    return abs(across) < 0.1 * glyph.size and -0.5 * glyph.size < along - before.width < glyph.size


def _is_script(run: Sequence[Glyph], here: Iterable[Glyph]) -> bool:
    """True if larger type stands beside the run on another base line, no further up or down than its own height."""
    size = run[0].size
    for other in here:
        if other.size < 1.2 * size or other.direction != run[0].direction:
            continue
        for end in (run[0], run[-1]):
            along, across = _offset(end, other)
            beside = -other.width - other.size < along < end.width + other.size
            if beside and 0.1 * other.size < abs(across) < other.size:
                return True
    return False


def _is_small_capitals(run: Sequence[Glyph], sizes: Collection[tuple[str, float]]) -> bool:
    """True for capitals of four fifths of a size that the page has of the same font, as classes set small capitals."""
    letters = [glyph.text for glyph in run if glyph.text.isalpha()]
    whole = run[0].size / SMALL_CAPITALS
    large = any((run[0].font, round(whole + step, 1)) in sizes for step in (-0.1, 0.0, 0.1))
    return bool(letters) and all(map(str.isupper, letters)) and large and whole * POINT >= FLOOR * (1 - TOLERANCE)


def _offset(first: Glyph, second: Glyph) -> tuple[float, float]:
    """Distance from one glyph's origin to another's, along the line of text and across it."""
    (cosine, sine), x, y = first.direction, second.x - first.x, second.y - first.y
    return x * cosine + y * sine, y * cosine - x * sine


def judge_fonts(pdf: Path) -> list[Fault]:
    """Fonts that are not embedded, or bitmaps (Type 3)."""
    faults = []
    for font in fonts(pdf):
        if font.kind == "Type3":
            faults.append(
                Fault(MAIN, f"the font {font.name} is of Type 3", "install cm-super, or load lmodern in the preamble")
            )
        elif not font.embedded:
            faults.append(Fault(MAIN, f"the font {font.name} is not embedded", "install it, or take another"))
    return faults
