"""Protocol ``tinyface``: rows are probes, gallery images with a mate and distractors, in the order of their lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.arrow_folder import is_arrow_folder, row_face
from aroface.datasets.formats.arrow_tinyface import read_aligned_tinyface
from aroface.datasets.formats.tinyface import ALIGNED, TinyFace, chosen_crops, is_crops, is_tinyface, read_tinyface
from aroface.datasets.formats.tinyface_crops import read_folder
from aroface.embedding.base import EmbeddingProtocol
from aroface.embedding.image_source import Images, ImageSource
from aroface.errors import InputError

DISTRACTOR_LABEL = -100  # as in the released evaluation script

Labels = NDArray[np.int64]


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open the images of TinyFace, with the arrays ``probe_labels`` and ``gallery_labels``.

    Of crops that were aligned by this program the layout has detector, options and counts as ``alignment``.

    Args:
        path: Root of the tree, a folder of crops, or a folder of CVLface's toolkit.
        options: Resolved options of the protocol.
        size: Side of the images in pixels.

    Raises:
        InputError: See :func:`~aroface.datasets.formats.tinyface.read_tinyface` and
            :func:`~aroface.datasets.formats.arrow_tinyface.read_aligned_tinyface`; or the set has other crops than the
            options name.
    """
    if is_arrow_folder(path):
        return _open_rows(path, options["alignment"], size)
    if not is_tinyface(path) and is_crops(path):
        _check_declared(path, options["alignment"])
        return _open_files(read_folder(path), path, size)
    crops = chosen_crops(path, options["alignment"])
    return _open_files(read_tinyface(path, crops), path / crops, size)


def _open_files(faces: TinyFace, crops: Path, size: int) -> ImageSource:
    from aroface.datasets.formats.image_checks import read_file, stored_face

    files = [*faces.probes, *faces.gallery, *faces.distractors]

    def images(start: int, stop: int) -> Images:
        return np.stack([stored_face(read_file(file), file, size) for file in files[start:stop]])

    arrays = _arrays(faces.probe_labels, faces.gallery_labels, len(faces.distractors))
    return ImageSource(len(files), images, arrays, _layout(crops))


def _open_rows(path: Path, alignment: str, size: int) -> ImageSource:
    _check_declared(path, alignment)
    faces = read_aligned_tinyface(path)
    rows = np.concatenate([faces.probes, faces.gallery, faces.distractors])

    def images(start: int, stop: int) -> Images:
        return np.stack([row_face(faces.rows, row, size) for row in rows[start:stop].tolist()])

    arrays = _arrays(faces.probe_labels, faces.gallery_labels, len(faces.distractors))
    return ImageSource(len(rows), images, arrays)


def _arrays(probe_labels: Labels, gallery_labels: Labels, distractors: int) -> dict[str, Labels]:
    others = np.full(distractors, DISTRACTOR_LABEL, dtype=np.int64)
    return {"probe_labels": probe_labels, "gallery_labels": np.concatenate([gallery_labels, others])}


def _check_declared(data: Path, alignment: str) -> None:
    """Check the alignment of a folder that holds one kind of crops: its name, or any words of whoever aligned them."""
    name = data.resolve().name
    if alignment.startswith(ALIGNED) and alignment != name:
        raise InputError(
            f"the crops are those of the folder {name}",
            file=data,
            expected=f"alignment {alignment!r} as the benchmark's options say",
            remedy=f"declare there how these crops were aligned, such as alignment: {name}",
        )


def _layout(crops: Path) -> dict[str, Any]:
    from aroface.datasets.preparation.align import described, read_report

    report = read_report(crops)
    if report is not None and report["name"] != crops.name:
        raise InputError("the folder has another name than its alignment", file=crops, expected=report["name"])
    return described(crops)


def _feature_rows(options: Mapping[str, Any], counts: Mapping[str, int]) -> int | None:
    parts = ("gallery", "distractors", "probes")
    return sum(counts[part] for part in parts) if counts.keys() >= {*parts} else None


def _check_options(data: Path, options: Mapping[str, Any]) -> None:
    if is_arrow_folder(data) or (is_crops(data) and not is_tinyface(data)):
        _check_declared(data, options["alignment"])
    else:
        chosen_crops(data, options["alignment"])


PROTOCOL = EmbeddingProtocol("tinyface", "tinyface", open_source, _feature_rows, check_options=_check_options)
