"""Scores of pairs of templates: dot products, by products of whole blocks where pairs lie densely among them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.progress import track

Features = NDArray[np.float32]
Rows = NDArray[np.integer[Any]]

PAIR_BLOCK = 1 << 20
"""Pairs scored at a time."""

_DENSE = 32  # cells that a matrix product computes in the time in which one pair is gathered from memory
_GATHER = 1 << 15


def pair_scores(vectors: Features, first: Rows, second: Rows, *, block: int = PAIR_BLOCK) -> Features:
    """Dot products ``vectors[first] · vectors[second]``, float32 (P,).

    The lists of IJB pair some thousand templates with all others, sorted by the first: a block of pairs then has few
    first templates, and their product with all second ones, of which the pairs are picked, is far cheaper than
    fetching two vectors for each pair. Pairs in another order are sorted first.

    Args:
        vectors: (T, D).
        first: (P,) rows of ``vectors``.
        second: (P,) rows of ``vectors``.
        block: Number of pairs scored at a time, which bounds the memory.
    """
    scores = np.empty(len(first), np.float32)
    order = None if np.all(first[1:] >= first[:-1]) else _grouped(first, len(vectors))
    columns, column = _among(second, len(vectors))
    others = vectors[columns]
    for start in track(range(0, len(first), block), "pairs"):
        part = slice(start, start + block)
        chosen: Any = part if order is None else order[part]
        lines, line = _among(first[chosen], len(vectors))
        wanted = second[chosen]
        if len(lines) * len(columns) <= _DENSE * len(wanted):
            product = vectors[lines] @ others.T
            scores[chosen] = product.ravel().take(line[first[chosen]] * np.int64(len(columns)) + column[wanted])
        else:
            scores[chosen] = _gathered(vectors, first[chosen], wanted)
    return scores


def _gathered(vectors: Features, first: Rows, second: Rows) -> Features:
    scores = np.empty(len(first), np.float32)
    for start in range(0, len(first), _GATHER):
        part = slice(start, start + _GATHER)
        scores[part] = np.einsum("nd,nd->n", vectors[first[part]], vectors[second[part]])
    return scores


def _grouped(first: Rows, count: int) -> NDArray[np.intp]:
    """An order in which pairs of neighbouring first templates come together: NumPy sorts 16 bits in linear time."""
    return np.argsort((first >> max(0, (count - 1).bit_length() - 16)).astype(np.uint16), kind="stable")


def _among(rows: Rows, count: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The distinct rows, ascending, and for each of ``count`` possible ones its place among them."""
    there = np.zeros(count, np.bool_)
    there[rows] = True
    return np.flatnonzero(there), np.cumsum(there, dtype=np.int32) - 1
