"""From features of images to templates: the mean over each medium, the sum over a template's media, length one.

Source: insightface ``recognition/_evaluation_/ijb/ijb_11.py``, ``image2template_feature``. The mean and the sum are one
weighted sum over the images of a template, so that a block of images is one product with a sparse matrix.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from aroface.errors import InputError
from aroface.evaluation.metrics.vectors import unit

Features = NDArray[np.float32]
Integers = NDArray[np.integer[Any]]
Rows = NDArray[np.int32]

BLOCK = 8192
"""Images read at a time."""

_WIDEST_TABLE = 1 << 24  # of template numbers, beyond which they are searched for
_LOOKED_UP = 1 << 18  # templates at a time: what stays in the cache


@dataclass(frozen=True, slots=True, eq=False)
class PooledTemplates:
    """T templates.

    Attributes:
        ids: Numbers of the templates, ascending, (T,).
        vectors: (T, D), each of length one, or zero where the features of its images cancel out.
    """

    ids: Integers
    vectors: Features

    def rows(self, wanted: Integers) -> Rows:
        """Rows of the templates with these numbers (n,), (n,).

        Raises:
            InputError: A template has no image.
        """
        rows = np.empty(len(wanted), np.int32)
        first, last = int(self.ids[0]), int(self.ids[-1])
        table = np.full(last - first + 1, -1, np.int32) if last - first < _WIDEST_TABLE else None
        if table is not None:
            table[self.ids - first] = np.arange(len(self.ids))
        for start in range(0, len(wanted), _LOOKED_UP):
            here = wanted[start : start + _LOOKED_UP].astype(np.int64)
            inside = np.clip(here, first, last)
            places = np.searchsorted(self.ids, inside) if table is None else table[inside - first]
            strange = (places < 0) | (self.ids[places] != here)
            if strange.any():
                remedy = "embed again, from lists that belong together"
                raise InputError(f"template {here[strange][0]} has no image", remedy=remedy)
            rows[start : start + _LOOKED_UP] = places
        return rows


def pool(
    features: Features, templates: Integers, media: Integers, scores: Features | None, *, norm_weighting: bool
) -> PooledTemplates:
    """Pool N features into templates.

    Args:
        features: (N, D), memory-mapped or in memory; read once, in blocks of rows.
        templates: (N,) the template of each.
        media: (N,) the medium of each; media of two templates are two, whatever their numbers.
        scores: (N,) weight of each image, such as the face detector's score; None for equal weights.
        norm_weighting: True if features count as they are, the longer the more, rather than at length one.
    """
    ids, template = np.unique(templates, return_inverse=True)
    _, medium = np.unique(media, return_inverse=True)
    _, group, sizes = np.unique(
        template.astype(np.int64) * (medium.max(initial=0) + 1) + medium, return_inverse=True, return_counts=True
    )
    weights = (1 / sizes[group]).astype(np.float32)
    if scores is not None:
        weights *= scores
    sums = np.zeros((len(ids), features.shape[1]), np.float32)
    for start, block in _blocks(features):
        rows = slice(start, start + len(block))
        if not norm_weighting:
            block = unit(block, np.float32)
        here, inverse = np.unique(template[rows], return_inverse=True)
        entries = (weights[rows], (inverse, np.arange(len(block))))
        sums[here] += sparse.csr_array(entries, shape=(len(here), len(block))) @ block
    return PooledTemplates(ids, unit(sums, np.float32))


def _blocks(features: Features) -> Iterator[tuple[int, Features]]:
    """Blocks of rows, each gone when the next is asked for, and where each begins.

    A memory map is read as the file that it is: mapped pages would be counted to the process until the map is closed,
    and cost three times as long.
    """
    # A part of a map, whose base is an array, has the offset of the whole: it is read as it is.
    base: Any = features.base
    if isinstance(base, mmap) and isinstance(features, np.memmap) and features.flags.c_contiguous:
        buffer = np.empty((min(BLOCK, len(features)), features.shape[1]), features.dtype)
        with open(str(features.filename), "rb", buffering=0) as file:
            file.seek(features.offset)
            for start in range(0, len(features), BLOCK):
                block = buffer[: len(features) - start]
                _fill(file, block.data.cast("B"))
                yield start, block
        return
    for start in range(0, len(features), BLOCK):
        yield start, features[start : start + BLOCK]


def _fill(file: io.FileIO, view: memoryview) -> None:
    """Read as many bytes as fit; a call may bring fewer."""
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])
        if not count:
            raise InputError("cut short", file=file.name, remedy="embed again")
        done += count
