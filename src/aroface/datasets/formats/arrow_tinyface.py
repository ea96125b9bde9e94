"""TinyFace of CVLface's evaluation toolkit: aligned faces in an Arrow folder, its lists in ``metadata.pt``.

Each row has the ``path`` that the face had; ``metadata.pt`` has ``probe_paths``, ``gallery_paths`` and
``distractor_paths``. A face is found by its file name without folder and ending, and its identity is that name up to
the first ``_``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

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
    read_metadata,
    row_face,
)
from aroface.datasets.formats.base import COLUMNS, ROWS, Findings, Pixels, SetFormat
from aroface.datasets.formats.tinyface import check_known, identity_of
from aroface.errors import InputError

_PATH = "path"
_LISTS = ("gallery_paths", "probe_paths", "distractor_paths")

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class AlignedTinyFace:
    """Content of a folder.

    Attributes:
        rows: Faces.
        gallery: Rows of the gallery's known people.
        gallery_labels: Identities of these, int64.
        probes: Rows that are searched for.
        probe_labels: Identities of these, int64; each has a face in the gallery.
        distractors: Rows of other people, part of the gallery.
    """

    rows: ArrowFolder
    gallery: Int64
    gallery_labels: Int64
    probes: Int64
    probe_labels: Int64
    distractors: Int64


class ArrowTinyFaceFormat(SetFormat):
    """An Arrow folder of TinyFace."""

    kind = "tinyface"
    layout = LAYOUT
    default_name = "tinyface"

    def matches(self, data: Path) -> bool:
        """Return whether it is an Arrow folder with metadata, and a path a row."""
        return is_arrow_folder(data) and (data / METADATA).is_file() and _PATH in column_names(data)

    def files(self, data: Path) -> tuple[Path, list[str]]:
        """Description, metadata and Arrow files."""
        return data, [STATE, METADATA, *data_files(data)]

    def facts(self, data: Path) -> dict[str, object]:
        """See :class:`SetFormat`."""
        benchmark = read_aligned_tinyface(data)
        return {
            "identities": len(np.unique(benchmark.gallery_labels)),
            **_counts(benchmark),
            "layout": LAYOUT_FACT,
        }

    def preview(self, data: Path) -> list[list[Pixels]]:
        """See :class:`SetFormat`."""
        benchmark = read_aligned_tinyface(data)
        parts = (benchmark.gallery, benchmark.probes, benchmark.distractors)
        return [[row_face(benchmark.rows, int(row)) for row in part[: COLUMNS * ROWS // 3]] for part in parts]

    def check(self, data: Path, threads: int) -> Findings:
        """See :class:`SetFormat`."""
        from aroface.datasets.formats.image_checks import check_labels

        benchmark = read_aligned_tinyface(data)
        findings = Findings(_counts(benchmark))
        check_labels(findings, lambda: None)  # the reader does it
        check_rows(findings, benchmark.rows, threads)
        return findings


def read_aligned_tinyface(folder: Path) -> AlignedTinyFace:
    """Read the lists of a folder, and open its faces.

    Raises:
        InputError: The folder, a file or a list is malformed, a list names a missing face or one without a number as
            identity, or a probe's identity is missing from the gallery.
    """
    rows = ArrowFolder(folder)
    places = {_key(path): row for row, path in enumerate(rows.values(_PATH))}
    content = read_metadata(folder, _LISTS)
    path = folder / METADATA
    lists = {name: _found(content[name], name, places, path) for name in _LISTS}
    (gallery, gallery_names), (probes, probe_names), (distractors, _) = (lists[name] for name in _LISTS)
    gallery_labels, probe_labels = _labels(gallery_names, path), _labels(probe_names, path)
    check_known(probe_labels, gallery_labels, probe_names, path)
    return AlignedTinyFace(rows, gallery, gallery_labels, probes, probe_labels, distractors)


def _counts(benchmark: AlignedTinyFace) -> dict[str, int]:
    return {
        "gallery": len(benchmark.gallery),
        "probes": len(benchmark.probes),
        "distractors": len(benchmark.distractors),
    }


def _key(path: Any) -> str:
    return PurePosixPath(str(path)).stem


def _found(listed: Any, name: str, places: dict[str, int], path: Path) -> tuple[Int64, list[str]]:
    """Rows of a list's faces, and their file names."""
    try:
        entries = [str(entry) for entry in listed]
    except TypeError:
        raise InputError(f"{name} is no list", file=path, expected="a list of paths") from None
    rows = np.empty(len(entries), np.int64)
    for number, entry in enumerate(entries):
        if _key(entry) not in places:
            where = f"{name}, entry {number}"
            raise InputError(f"no row has the path {entry!r:.80}", file=path, where=where)
        rows[number] = places[_key(entry)]
    if not entries and name != _LISTS[-1]:
        raise InputError(f"{name} is empty", file=path)
    return rows, [PurePosixPath(entry).name for entry in entries]


def _labels(names: Iterable[str], path: Path) -> Int64:
    return np.array([identity_of(name, path) for name in names], np.int64)
