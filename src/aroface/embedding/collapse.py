"""Refusal of embeddings that do not distinguish images: those of a collapsed network, or of an output that is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aroface.embedding.feature_store import Rows
from aroface.embedding.image_source import Images
from aroface.errors import InputError

REMEDY = "the network has collapsed, or its embeddings are another output (--output)"
"""Remedy of an error about embeddings that do not distinguish images."""

_ALIKE = 1e-5  # largest difference between unit vectors that are called the same
_ENOUGH = 8  # different images after which embeddings that are all the same are not waited for any longer


def distinct(
    batches: Iterator[tuple[Images, Rows]], checkpoint: Mapping[str, Any], spec: Mapping[str, Any]
) -> Iterator[Rows]:
    """Embeddings of a benchmark of any protocol, as long as they are not all of one direction though the images differ.

    No more than rounding may lie between embeddings that are called the same: the first images can be frames of one
    video.

    Raises:
        InputError: All embeddings are the same.
    """
    first: tuple[Images, Rows] | None = None
    different, alike = 0, True
    for images, rows in batches:
        if alike and len(rows):
            lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
            units = rows / np.where(lengths > 0, lengths, 1)
            first = first or (images[0], units[0])
            alike = bool(np.abs(units - first[1]).max() <= _ALIKE)
            different += int(np.count_nonzero((images != first[0]).any(axis=(1, 2, 3))))
            if alike and different >= _ENOUGH:
                break
        yield rows
    if alike and different:
        raise InputError(
            f"the embeddings do not distinguish images: {different} different ones of {spec['path']} have the same",
            file=checkpoint["weights"]["file"],
            remedy=REMEDY,
        )
