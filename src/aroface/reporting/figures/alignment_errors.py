"""Figure 1: what face alignment errors cost, with example faces."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray

from aroface.errors import InputError
from aroface.reporting.figures.curves import factors, load_sweep, qualities
from aroface.reporting.figures.layout import AXES, draw, looks
from aroface.reporting.figures.save import save_figure
from aroface.reporting.records import Selection, selected
from aroface.reporting.text import DEFAULT_METRIC, metric_name, over_seeds, quality_name

Sheet = str | Path | NDArray[np.uint8]


def figure_fae(
    records: str | PathLike[str],
    benchmark: str,
    out: str | PathLike[str],
    *,
    examples: tuple[Sheet, Sheet] | None = None,
    metric: str = DEFAULT_METRIC,
    low: str | None = None,
    caption_note: str | None = None,
    **shown: Unpack[Selection],
) -> None:
    """Draw figure 1: example faces, and what face alignment errors cost at full and at low quality.

    Writes ``{out}.pdf``, ``{out}.png`` and ``{out}.tex`` (a figure environment with the caption).

    Args:
        records: Folder of the records.
        benchmark: Key of a benchmark with protocol ``sensitivity``.
        out: Path of the files without their suffix.
        examples: Contact sheets of high-quality and of low-quality faces, as PNG files or uint8 H×W×3 arrays; the upper
            half of each shows them aligned, the lower half the same faces misaligned. None leaves them out.
        metric: Metric of the series.
        low: Low quality, such as ``r24``; None takes the lowest resolution there is.
        caption_note: Last sentence of the caption.
        shown: Selection of runs, see :class:`aroface.reporting.records.Selection`.

    Raises:
        InputError: There are no such records, they are ambiguous or not comparable, or an example is no picture.
    """
    sweep = load_sweep(records, benchmark, metric, shown)
    _, experiments, labels = selected(shown)
    rows, columns = qualities([*sweep.curves.values()], low), factors([*sweep.curves.values()])
    sheets = [_pixels(sheet) for sheet in examples or ()]
    caption = _caption(metric, rows, columns, sweep.seeds, bool(sheets))
    styles = looks([*sweep.curves], labels, experiments or ())
    save_figure(out, lambda: draw(sweep.curves, styles, rows, columns, metric, sheets), caption, caption_note)


def _pixels(sheet: Sheet) -> NDArray[Any]:
    if isinstance(sheet, np.ndarray):
        return sheet
    try:
        return imread(sheet)
    except (OSError, SyntaxError) as error:
        raise InputError(f"not a picture ({error})", file=sheet, expected="a PNG file") from None


def _caption(metric: str, rows: Sequence[str], columns: Sequence[str], seeds: Sequence[int], sheets: bool) -> str:
    faces = f"(a) Aligned and (b) misaligned faces, {' and '.join(map(quality_name, rows))}. " if sheets else ""
    letters = ("cdef" if sheets else "abcd")[: len(columns)]
    span = f"({letters[0]}–{letters[-1]})" if len(letters) > 1 else f"({letters[0]})"
    errors = ", ".join(AXES[factor][0] for factor in columns)
    bands = "95 % intervals over draws of people" + ("" if seeds == [1] else ", averaged over seeds")
    return (
        f"What face alignment errors cost. {faces}{span} {metric_name(metric)[0]} against the size of the error "
        f"in the probes ({errors}), at {' (top) and '.join(map(quality_name, rows))}"
        f"{' (bottom)' if len(rows) > 1 else ''}; {over_seeds(seeds)}. Bands: {bands}. "
        "Filled marks: the drop from perfect alignment is significant."
    )
