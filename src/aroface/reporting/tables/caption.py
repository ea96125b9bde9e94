"""The caption of a table: what it shows, how its values came about, and a note on what they are worth."""

from __future__ import annotations

from collections.abc import Sequence

from aroface.reporting.rounding import exact, rounded
from aroface.reporting.statistics.multiplicity import SIGNIFICANT
from aroface.reporting.tables.grid import HEADINGS, MISSING, PUBLISHED, Cell, GridRow, Leaf, Mode
from aroface.reporting.tables.spec import Seeds, Spec
from aroface.reporting.text import one_line, over_seeds

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


def caption(
    spec: Spec,
    mode: Mode,
    leaves: Sequence[Leaf],
    rows: Sequence[GridRow],
    note: str | None,
    *,
    faces: bool = False,
) -> str:
    """The specification's caption, what the values are, and a note.

    Args:
        spec: Table.
        mode: Mode of the table.
        leaves: Its columns of cells.
        rows: Its rows.
        note: Last sentence instead of the specification's own; an empty one drops it.
        faces: True if intervals of differences speak of faces like these, and not of this benchmark alone.
    """
    cells = [(leaf, cell) for row in rows for leaf, cell in zip(leaves, row.cells, strict=True)]
    ours = [cell for leaf, cell in cells if leaf.part == "reproduced" and cell.number is not None]
    sentences = [spec.caption]
    if mode == "reported":
        attribution = _whose(cells)
        sentences.append(f"{attribution[0]}." if attribution else "The authors' page reports no values.")
    elif len({leaf.part for leaf in leaves}) > 1:
        over = _seeds(ours, spec.seeds) or "none yet"
        whose = _whose(cells) or AUTHORS
        heading = PUBLISHED if whose is not AUTHORS else HEADINGS["reported"]
        sentences.append(f"{heading.capitalize()}: {whose[1]}; reproduced: {over}.")
        if mode == "delta":
            sentences.append(f"Δ: reproduced minus {heading}.")
    elif ours:
        sentences.append(f"Reproduced values: {_seeds(ours, spec.seeds)}.")
    if spec.training_note is not None and mode != "reported":
        sentences.append(spec.training_note)
    brackets = sum(cell.interval is not None for row in rows if row.compares for cell in row.cells)
    if brackets:
        where = "Brackets of differences" if spec.seeds.spread == "prediction" else "Brackets"
        where = "± of differences: half the" if spec.layout.interval == "half" else f"{where}:"
        sentences.append(f"{where} {CONFIDENCE_INTERVAL[faces]}.")
    if brackets > 1:
        chance = rounded(brackets * exact(SIGNIFICANT), 1)
        alone = f"Each stands alone: where nothing differs, about {chance} of these {brackets} leave out 0 by chance."
        sentences.append(alone)
    if mode != "reported":
        sentences += _bold(spec, cells, faces)
    if any(cell.number is None for _, cell in cells) and mode != "reported":
        sentences.append(f"{MISSING}: no result.")
    closing = spec.note if note is None else note
    return one_line(" ".join([*sentences, *([closing] if closing else [])]))


def _whose(cells: Sequence[tuple[Leaf, Cell]]) -> tuple[str, str] | None:
    """Whose the values of the paper's part are, as a sentence and after a colon; None where there are none."""
    reported = [cell for leaf, cell in cells if leaf.part == "reported" and cell.number]
    others = [cell for cell in reported if cell.mark]
    if not others:
        return AUTHORS if reported else None
    return OTHERS if len(others) == len(reported) else BOTH


def _bold(spec: Spec, cells: Sequence[tuple[Leaf, Cell]], faces: bool) -> list[str]:
    """Meaning of bold and underlined values, where there are any."""
    marked = {leaf.part for leaf, cell in cells if cell.emphasis}
    sentences = []
    if "reported" in marked:
        own = (
            "the authors' own" if spec.emphasis.rule == "as_paper" else "best, underlined: second best, by their digits"
        )
        if any(cell.mark for _, cell in cells):
            sentences.append(f"Bold published values: {own}, whatever their source.")
        else:
            sentences.append(f"Bold values of the paper: {own}.")
    if "reproduced" in marked:
        whose = "Bold reproduced values" if "reported" in marked else "Bold"
        among = "block" if spec.emphasis.within == "block" and spec.block_by else "column"
        population = "on faces like these" if faces else "on this benchmark"
        by = f"{population}, paired by seed, 5 % after Holm over all pairs of rows"
        sentences.append(f"{whose}: best of its {among}, or not significantly worse ({by}).")
    return sentences


def _seeds(cells: Sequence[Cell], seeds: Seeds) -> str:
    counts = {cell.seeds for cell in cells}
    if not counts:
        return ""
    if seeds.spread == "none":
        return over_seeds(counts)
    spread = "[95 % prediction interval of a further seed]" if seeds.spread == "prediction" else "± standard deviation"
    return over_seeds(counts).replace("mean", f"mean {spread}")
