"""The caption of a table, what it shows and how its values came about, and the notes that explain its marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aroface.reporting.rounding import exact, rounded
from aroface.reporting.statistics.multiplicity import SIGNIFICANT
from aroface.reporting.tables.grid import DAGGER, HEADINGS, MISSING, PUBLISHED, Cell, GridRow, Leaf, Mode, Part
from aroface.reporting.tables.spec import Seeds, Spec
from aroface.reporting.text import enumerated, one_line, over_seeds, with_percent_signs

CONFIDENCE_INTERVAL = {
    False: "95 % confidence interval of the mean difference on this benchmark (paired by seed, Student's t)",
    True: "95 % confidence interval of the mean difference on faces like these (seeds and people random and paired; "
    "Obuchowski and Rockette)",
}
"""Meaning of the interval of a difference, by whether it speaks of other people, too."""

AUTHORS = ("Values as reported by the authors", "values reported by the authors")
OTHERS = (
    "Published values, none of them the authors': letters name their sources",
    "values of others, for the authors print none (letters name the sources)",
)
BOTH = (
    "Values as reported by the authors, and those with a letter by others, which it names",
    "values reported by the authors, and those with a letter by others, which it names",
)


def caption(spec: Spec, mode: Mode, leaves: Sequence[Leaf], rows: Sequence[GridRow], note: str | None) -> str:
    """The specification's caption, how the values came about, and a note on what they are worth.

    Args:
        spec: Table.
        mode: Mode of the table.
        leaves: Its columns of cells.
        rows: Its rows.
        note: Last sentence instead of the specification's own; an empty one drops it.
    """
    cells = _cells(leaves, rows)
    ours = [cell for leaf, cell in cells if leaf.part == "reproduced" and cell.number is not None]
    sentences = [spec.caption]
    if mode == "reported":
        attribution = _whose(cells)
        sentences.append(f"{attribution[0]}." if attribution else "The authors' page reports no values.")
    elif len({leaf.part for leaf in leaves}) > 1:
        heading = _heading(cells)
        whose = (_whose(cells) or AUTHORS)[1]
        parts = [f"{heading.capitalize()}: {whose}", f"reproduced: {_seeds(ours, spec.seeds) or 'none yet'}"]
        parts += [f"Δ: reproduced minus {heading}"] if mode == "delta" else []
        sentences.append(f"{'; '.join(parts)}.")
    elif ours:
        sentences.append(f"Reproduced values: {_seeds(ours, spec.seeds)}.")
    closing = spec.note if note is None else note
    return with_percent_signs(one_line(" ".join([*sentences, *([closing] if closing else [])])))


def legend(
    spec: Spec, mode: Mode, leaves: Sequence[Leaf], rows: Sequence[GridRow], *, faces: bool = False
) -> tuple[str, ...]:
    """Sentences below a table: its abbreviations, its marks, its intervals, and how its rows were trained.

    Args:
        spec: Table.
        mode: Mode of the table.
        leaves: Its columns of cells.
        rows: Its rows.
        faces: True if intervals of differences speak of faces like these, and not of this benchmark alone.
    """
    cells = _cells(leaves, rows)
    sentences = [*spec.notes]
    if spec.training_note is not None and mode != "reported":
        sentences.append(spec.training_note)
    sentences += [*_bold(spec, cells, faces), *_intervals(spec, rows, faces)]
    sentences += [*_corrected(rows), *_missing(spec, leaves, rows)]
    return tuple(with_percent_signs(one_line(sentence)) for sentence in sentences)


def _cells(leaves: Sequence[Leaf], rows: Sequence[GridRow]) -> list[tuple[Leaf, Cell]]:
    return [(leaf, cell) for row in rows for leaf, cell in zip(leaves, row.cells, strict=True)]


def _whose(cells: Sequence[tuple[Leaf, Cell]]) -> tuple[str, str] | None:
    """Whose the values of the paper's part are, as a sentence and after a colon; None where there are none."""
    reported = [cell for leaf, cell in cells if leaf.part == "reported" and cell.number]
    others = [cell for cell in reported if cell.mark]
    if not others:
        return AUTHORS if reported else None
    return OTHERS if len(others) == len(reported) else BOTH


def _heading(cells: Sequence[tuple[Leaf, Cell]]) -> str:
    """Heading of the paper's part."""
    return HEADINGS["reported"] if _whose(cells) in (AUTHORS, None) else PUBLISHED


def _bold(spec: Spec, cells: Sequence[tuple[Leaf, Cell]], faces: bool) -> Iterator[str]:
    """Meaning of bold and underlined values, where there are any."""
    marked = {leaf.part for leaf, cell in cells if cell.emphasis}
    several = len({leaf.part for leaf, _ in cells}) > 1
    if "reported" in marked:
        whose = "Bold values of the paper" if _heading(cells) == HEADINGS["reported"] else "Bold published values"
        where = whose if several else "Bold"
        if spec.emphasis.rule == "as_paper":
            yield f"{where}: the authors' own rows, as in their table; not the best values."
        else:
            second = any(cell.emphasis == "underline" for _, cell in cells)
            others = ", whatever their source" if any(cell.mark for _, cell in cells) else ""
            underlined = "; underlined: second best" if second else ""
            yield f"{where}: best of its {_among(spec)}{underlined}, by their digits{others}."
    if "reproduced" in marked:
        where = "Bold reproduced values" if several else "Bold"
        population = "on faces like these" if faces else "on this benchmark"
        by = f"{population}, paired by seed, 5 % after Holm over all pairs of rows"
        yield f"{where}: best of its {_among(spec)}, or not significantly worse ({by}); none where nothing differs."


def _among(spec: Spec) -> str:
    return "block" if spec.emphasis.within == "block" and spec.block_by else "column"


def _intervals(spec: Spec, rows: Sequence[GridRow], faces: bool) -> Iterator[str]:
    """Meaning of the intervals of differences, and how many of them leave out zero by chance."""
    brackets = sum(cell.interval is not None for row in rows if row.compares for cell in row.cells)
    if not brackets:
        return
    where = "Brackets of differences:" if spec.seeds.spread == "prediction" else "Brackets:"
    where = "± of differences: half the" if spec.layout.interval == "half" else where
    sentence = f"{where} {CONFIDENCE_INTERVAL[faces]}."
    if brackets > 1:
        chance = rounded(brackets * exact(SIGNIFICANT), 1)
        alone = f"Each stands alone: where nothing differs, about {chance} of these {brackets} leave out 0 by chance."
        sentence = f"{sentence} {alone}"
    yield sentence


def _corrected(rows: Sequence[GridRow]) -> Iterator[str]:
    """Meaning of the dagger: what the authors print instead."""
    printed: dict[str, list[str]] = {}
    for row in rows:
        for text in row.corrected.values():
            printed.setdefault(text, []).append(_name(row, rows))
    if len(printed) == 1:
        yield f"{DAGGER}\u00a0Corrected; the authors print {next(iter(printed))}."
    elif printed:
        listed = "; ".join(f"{text} for {enumerated(names)}" for text, names in printed.items())
        yield f"{DAGGER}\u00a0Corrected; the authors print {listed}."


def _missing(spec: Spec, leaves: Sequence[Leaf], rows: Sequence[GridRow]) -> Iterator[str]:
    """Meaning of the dashes: not in print, never meant to be reproduced, or no result yet."""
    below = spec.layout.parts == "below" and len({leaf.part for leaf in leaves}) > 1
    reasons = []
    printed = [_of_part(row, leaves, "reported") for row in rows if not row.compares]
    if any(None in numbers and (not below or any(numbers)) for numbers in printed):
        reasons.append("not reported" if _heading(_cells(leaves, rows)) == HEADINGS["reported"] else "not published")
    others = [row for row in rows if not row.runs and _of_part(row, leaves, "reproduced")]
    if others and not below:
        names = dict.fromkeys(_name(row, rows) for row in others)
        reasons.append(f"not reproduced here ({enumerated(names)})")
    if any(row.runs and None in _of_part(row, leaves, "reproduced") for row in rows):
        reasons.append("no result")
    if reasons:
        yield f"{MISSING}: {enumerated(reasons, 'or')}."


def _of_part(row: GridRow, leaves: Sequence[Leaf], part: Part) -> list[str | None]:
    """Numbers of a row in the columns of one part."""
    return [cell.number for leaf, cell in zip(leaves, row.cells, strict=True) if leaf.part == part]


def _name(row: GridRow, rows: Sequence[GridRow]) -> str:
    """Name of a row: its first header, with the others where another row has the same."""
    first, *rest = row.full_headers
    alone = sum(other.full_headers[0] == first for other in rows) == 1
    return first if alone or not any(rest) else f"{first} ({', '.join(text for text in rest if text)})"


def _seeds(cells: Sequence[Cell], seeds: Seeds) -> str:
    counts = {cell.seeds for cell in cells}
    if not counts:
        return ""
    if seeds.spread == "none":
        return over_seeds(counts)
    spread = "[95 % prediction interval of a further seed]" if seeds.spread == "prediction" else "± standard deviation"
    return over_seeds(counts).replace("mean", f"mean {spread}")
