"""Templates from the features of their faces, in bounded memory however many frames there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from aroface.evaluation.metrics.vectors import unit
from aroface.progress import track

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ROW_BLOCK = 8192


def pool_templates(
    features: Features, medium_offsets: Integers, template_offsets: Integers, template_media: Integers
) -> Floats:
    """The mean of all faces of each template, scaled to unit length.

    A face counts as it is stored: the embedding scaled to one, times its norm. So faces of a good quality, which have
    long features, count for more.

    Args:
        features: (N, D), not normalised, memory-mapped or in memory; read once, in blocks of rows.
        medium_offsets: (M + 1,) the rows of medium m are ``medium_offsets[m]`` up to ``medium_offsets[m + 1]``.
        template_offsets: (T + 1,) likewise the part of ``template_media`` that is a template's.
        template_media: Numbers of media.

    Returns:
        (T, D), summed in float64. A template without a face is zero. Beside it and a block of rows there is one row for
        each medium in memory, nothing for each frame.
    """
    sums = segment_sums(features, medium_offsets)
    # The mean's direction is the sum's.
    return unit(_indicators(template_offsets, template_media, len(sums)) @ sums, np.float64)


def segment_sums(features: Features, offsets: Integers, *, block: int = ROW_BLOCK) -> Floats:
    """Sums (M, D), in float64, over M segments of consecutive rows.

    Args:
        features: (N, D), read in blocks of rows.
        offsets: (M + 1,) ascending from 0 to N; segment m is rows ``offsets[m]`` up to ``offsets[m + 1]``.
        block: Number of rows read at once.
    """
    sums = np.zeros((len(offsets) - 1, features.shape[1]))
    for start in track(range(0, len(features), block), "templates"):
        rows = features[start : start + block].astype(np.float64)
        first, last = np.searchsorted(offsets, [start, start + len(rows) - 1], side="right") - 1
        cuts = np.clip(offsets[first : last + 2] - start, 0, len(rows))
        sums[first : last + 1] += _indicators(cuts, np.arange(len(rows)), len(rows)) @ rows
    return sums


def _indicators(offsets: Integers, members: Integers, size: int) -> sparse.csr_array:
    """The matrix (T, size) that has a one where a segment has a member."""
    return sparse.csr_array((np.ones(len(members)), members, offsets), shape=(len(offsets) - 1, size))
