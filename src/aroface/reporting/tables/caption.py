"""The caption of a table: what it shows, how its values came about, and a note on what they are worth."""

from __future__ import annotations

from collections.abc import Sequence

from aroface.reporting.tables.grid import MISSING, Cell, GridRow, Leaf, Mode
from aroface.reporting.tables.spec import Seeds, Spec
from aroface.reporting.text import one_line, over_seeds


def caption(spec: Spec, mode: Mode, leaves: Sequence[Leaf], rows: Sequence[GridRow], note: str | None) -> str:
    """The specification's caption, what the values are, and a note.

    Args:
        spec: the table.
        mode: Mode of the table.
        leaves: its columns of cells.
        rows: its rows.
        note: last sentence instead of the specification's own; an empty one drops it.
    """
    cells = [(leaf, cell) for row in rows for leaf, cell in zip(leaves, row.cells, strict=True)]
    ours = [cell for leaf, cell in cells if leaf.part == "reproduced" and cell.number is not None]
    sentences = [spec.caption]
    if mode == "reported":
        some = any(cell.number for _, cell in cells)
        sentences.append("Values as reported by the authors." if some else "The authors' page reports no values.")
    elif len({leaf.part for leaf in leaves}) > 1:
        over = _seeds(ours, spec.seeds) or "none yet"
        sentences.append(f"Paper: values reported by the authors; reproduced: {over}.")
        if mode == "delta":
            sentences.append("Δ: reproduced minus paper.")
    elif ours:
        sentences.append(f"Reproduced values: {_seeds(ours, spec.seeds)}.")
    if spec.training_note is not None and mode != "reported":
        sentences.append(spec.training_note)
    compared = [row for row in rows if row.compares]
    if any(cell.interval for row in compared for cell in row.cells):
        where = "Brackets of differences" if spec.seeds.spread == "prediction" else "Brackets"
        where = "± of differences: half the" if spec.layout.interval == "half" else f"{where}:"
        sentences.append(f"{where} 95 % confidence interval of the mean difference (paired by seed, Student's t).")
    if any(cell.number is None for _, cell in cells) and mode != "reported":
        sentences.append(f"{MISSING}: no result.")
    closing = spec.note if note is None else note
    return one_line(" ".join([*sentences, *([closing] if closing else [])]))


def _seeds(cells: Sequence[Cell], seeds: Seeds) -> str:
    counts = {cell.seeds for cell in cells}
    if not counts:
        return ""
    spread = "[95 % prediction interval of a further seed]" if seeds.spread == "prediction" else "± standard deviation"
    return over_seeds(counts).replace("mean", f"mean {spread}")
