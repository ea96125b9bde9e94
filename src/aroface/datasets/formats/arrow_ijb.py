"""IJB-B and IJB-C of CVLface's evaluation toolkit: aligned faces in an Arrow folder, templates in ``metadata.pt``.

``metadata.pt`` has ``templates``, ``medias`` and ``faceness_scores`` of the images, and ``p1``, ``p2`` and ``label`` of
the pairs of templates. There are no lists for the search among many.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.formats.arrow_folder import (
    LAYOUT,
    LAYOUT_FACT,
    METADATA,
    STATE,
    ArrowFolder,
    check_rows,
    column_names,
    data_files,
    is_arrow_folder,
    numbers,
    read_metadata,
    row_face,
)
from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.text_tables import unknown
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE

ALIGNED = "gt_aligned"
"""Option ``alignment`` of benchmarks on these faces, after the names of their folders."""

_IMAGES, _PAIRS = ("templates", "medias", "faceness_scores"), ("p1", "p2", "label")

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class AlignedIJB:
    """Content of a folder: N aligned faces, and P pairs of templates.

    Attributes:
        rows: Faces.
        templates: Template of each face, int64 (N,).
        media: Medium (still or video) of each face, int64 (N,).
        scores: Scores of the face detector, float32 (N,).
        pairs: Templates that are compared, int64 (P, 2).
        same: Label of each pair, bool (P,), true where both templates show one person.
    """

    rows: ArrowFolder
    templates: Int64
    media: Int64
    scores: npt.NDArray[np.float32]
    pairs: Int64
    same: npt.NDArray[np.bool_]


class ArrowIJBFormat(SetFormat):
    """An Arrow folder of IJB-B or IJB-C."""

    kind = "ijb"
    layout = LAYOUT
    default_name = "ijb"

    def matches(self, data: Path) -> bool:
        """Return whether it is an Arrow folder with metadata that tell templates."""
        others = {"path", "is_same"}  # of TinyFace and of pairs
        return is_arrow_folder(data) and (data / METADATA).is_file() and not others & column_names(data)

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Description, metadata and Arrow files."""
        return data, [STATE, METADATA, *data_files(data)]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        benchmark = read_aligned_ijb(data)
        return {
            "images": len(benchmark.rows),
            "templates": len(np.unique(benchmark.templates)),
            "media": len(np.unique(benchmark.media)),
            "pairs": len(benchmark.same),
            "genuine": int(benchmark.same.sum()),
            "layout": LAYOUT_FACT,
        }

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        benchmark = read_aligned_ijb(data)
        shown = [np.flatnonzero(benchmark.templates == template) for template in np.unique(benchmark.templates)[:ROWS]]
        return [[row_face(benchmark.rows, int(row), TEMPLATE_SIZE) for row in rows[:COLUMNS]] for rows in shown]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_labels

        benchmark = read_aligned_ijb(data)
        counts = {
            "images": len(benchmark.rows),
            "templates": len(np.unique(benchmark.templates)),
            "pairs": len(benchmark.same),
        }
        findings = Findings(counts)
        findings.noted["search"] = "no lists of the 1:N protocol"
        check_labels(findings, lambda: check_pairs(benchmark.same, data, folds=False))
        check_rows(findings, benchmark.rows, threads)
        return findings


def read_aligned_ijb(folder: Path) -> AlignedIJB:
    """Read the metadata of a folder, and open its faces.

    Memory holds the metadata, some 400 MB for IJB-C: its pairs, once as they are stored and once as they are used.

    Raises:
        InputError: The folder, a file or the metadata is malformed, a label is not 0 or 1, or a template of a pair has
            no face.
    """
    path = folder / METADATA
    rows = ArrowFolder(folder)
    content = read_metadata(folder, (*_IMAGES, *_PAIRS))
    templates, media = (numbers(content[name], name, path) for name in _IMAGES[:2])
    scores = numbers(content["faceness_scores"], "faceness_scores", path, np.float32)
    first, second, labels = (numbers(content[name], name, path) for name in _PAIRS)
    for name, array in zip(_IMAGES, (templates, media, scores), strict=True):
        if len(array) != len(rows):
            raise InputError(f"{len(array):,} {name}", file=path, expected=f"{len(rows):,}, one an image")
    if not len(first) == len(second) == len(labels) or not len(labels):
        what = f"{len(first):,} p1, {len(second):,} p2 and {len(labels):,} labels"
        raise InputError(what, file=path, expected="as many of each")
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise InputError(f"the label is {labels[wrong[0]]}", file=path, where=f"pair {wrong[0]}", expected="0 or 1")
    pairs = np.stack([first, second], axis=1)
    strange = unknown(pairs, np.unique(templates))
    if strange is not None:
        raise InputError("a template has no image", file=path, where=f"pair {strange}", expected="numbers in templates")
    return AlignedIJB(rows, templates, media, scores, pairs, labels == 1)
