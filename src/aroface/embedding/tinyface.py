"""Protocol ``tinyface``: rows are probes, gallery images with a mate and distractors, in the order of their lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.tinyface import ALIGNED_CROPS, TinyFace, read_tinyface
from aroface.embedding.source import Images, Source, read_face
from aroface.errors import InputError

DISTRACTOR_LABEL = -100  # as in the released evaluation script


def open_source(path: Path, options: Mapping[str, Any], size: int) -> Source:
    """The images of a TinyFace tree, with the arrays ``probe_labels`` and ``gallery_labels``.

    Raises:
        InputError: see :func:`aroface.datasets.tinyface.read_tinyface`; or the crops that it finds are not those that
            the options name.
    """
    faces = read_tinyface(path)
    _check_alignment(faces, path, options["alignment"])
    files = [*faces.probes, *faces.gallery, *faces.distractors]
    distractors = np.full(len(faces.distractors), DISTRACTOR_LABEL, dtype=np.int64)

    def images(start: int, stop: int) -> Images:
        return np.stack([read_face(file, size) for file in files[start:stop]])

    arrays = {
        "probe_labels": faces.probe_labels,
        "gallery_labels": np.concatenate([faces.gallery_labels, distractors]),
    }
    return Source(len(files), images, arrays)


def _check_alignment(faces: TinyFace, path: Path, alignment: str) -> None:
    """TinyFace's rates hang on the alignment (72 or 46 % rank-1 in public reports): its name must not be wrong."""
    if (faces.crops == ALIGNED_CROPS) != (alignment == ALIGNED_CROPS):
        raise InputError(
            f"the images are taken from {faces.crops}",
            file=path,
            expected=f"alignment {alignment!r} as the benchmark's options say",
            remedy=f"name {ALIGNED_CROPS} where the tree has that folder, and only there",
        )
