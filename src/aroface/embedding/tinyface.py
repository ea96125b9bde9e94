"""Protocol ``tinyface``: rows are probes, gallery images with a mate and distractors, in the order of their lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.formats.tinyface import chosen_crops, read_tinyface
from aroface.embedding.base import EmbeddingProtocol
from aroface.embedding.image_source import Images, ImageSource
from aroface.errors import InputError

DISTRACTOR_LABEL = -100  # as in the released evaluation script


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    """Open the images of a TinyFace tree, with the arrays ``probe_labels`` and ``gallery_labels``.

    Of crops that were aligned by this program the layout has detector, options and counts as ``alignment``.

    Args:
        path: Root of the tree.
        options: Resolved options of the protocol.
        size: Side of the images in pixels.

    Raises:
        InputError: See :func:`~aroface.datasets.formats.tinyface.read_tinyface`; or the tree lacks the crops
            that the options name.
    """
    from aroface.datasets.formats.image_checks import read_file, stored_face

    crops = chosen_crops(path, options["alignment"])
    faces = read_tinyface(path, crops)
    files = [*faces.probes, *faces.gallery, *faces.distractors]
    distractors = np.full(len(faces.distractors), DISTRACTOR_LABEL, dtype=np.int64)

    def images(start: int, stop: int) -> Images:
        return np.stack([stored_face(read_file(file), file, size) for file in files[start:stop]])

    arrays = {
        "probe_labels": faces.probe_labels,
        "gallery_labels": np.concatenate([faces.gallery_labels, distractors]),
    }
    return ImageSource(len(files), images, arrays, _layout(path / crops))


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
    chosen_crops(data, options["alignment"])


PROTOCOL = EmbeddingProtocol("tinyface", "tinyface", open_source, _feature_rows, check_options=_check_options)
