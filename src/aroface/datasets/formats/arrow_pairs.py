"""Verification pairs of CVLface's evaluation toolkit: an Arrow folder with ``image``, ``index`` and ``is_same``.

Images alternate, first and second of each pair, and both rows of a pair have its label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.arrow_folder import (
    LAYOUT,
    LAYOUT_FACT,
    STATE,
    ArrowFolder,
    check_rows,
    column_names,
    data_files,
    is_arrow_folder,
    row_face,
)
from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.pairs import Pairs
from aroface.errors import InputError

_LABEL = "is_same"


class ArrowPairsFormat(SetFormat):
    """An Arrow folder of labelled pairs."""

    kind = "pairs"
    layout = LAYOUT
    default_name = "pairs.bin"

    def matches(self, data: Path) -> bool:
        """Return whether it is an Arrow folder with a label a row."""
        return is_arrow_folder(data) and _LABEL in column_names(data)

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Description, and Arrow files."""
        return data, [STATE, *data_files(data)]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        same = _labels(ArrowFolder(data))
        return {"pairs": len(same), "genuine": int(same.sum()), "layout": LAYOUT_FACT}

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        rows = ArrowFolder(data)
        shown = np.unique(np.linspace(0, len(rows) // 2 - 1, COLUMNS * ROWS // 2).astype(int)).tolist()
        lines = [shown[begin : begin + COLUMNS] for begin in range(0, len(shown), COLUMNS)]
        return [[row_face(rows, 2 * pair + side) for pair in line] for line in lines for side in (0, 1)]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_labels

        rows = ArrowFolder(data)
        same = _labels(rows)
        findings = Findings({"pairs": len(same), "genuine": int(same.sum())})
        check_labels(findings, lambda: check_pairs(same, data))
        check_rows(findings, rows, threads)
        return findings

    def image_count(self, counts: Mapping[str, int]) -> int:
        """See :class:`SetFormat`."""
        return 2 * counts.get("pairs", 0)


def read_arrow_pairs(folder: Path) -> Pairs:
    """Read all pairs of a folder; memory holds the encoded images, as of a pair file.

    Raises:
        InputError: The folder or a file is malformed, or the labels of a pair differ.
    """
    rows = ArrowFolder(folder)
    same = _labels(rows)
    return Pairs([rows.image(row) for row in range(len(rows))], same)


def _labels(rows: ArrowFolder) -> npt.NDArray[np.bool_]:
    stored = rows.values(_LABEL)
    wrong = next((row for row, label in enumerate(stored) if label not in (0, 1, True, False)), None)
    if wrong is not None:
        raise InputError(f"{_LABEL} is {stored[wrong]!r:.40}", file=rows.folder, where=rows.where(wrong))
    labels = np.array(stored, np.bool_)
    if len(labels) % 2:
        raise InputError(f"{len(labels)} images", file=rows.folder, expected="two images a pair")
    differing = np.flatnonzero(labels[::2] != labels[1::2])
    if len(differing):
        where = f"rows {2 * differing[0]} and {2 * differing[0] + 1}"
        raise InputError(f"{_LABEL} differs within a pair", file=rows.folder, where=where)
    return labels[::2]
