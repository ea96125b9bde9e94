"""Unit vectors: all scores here are cosines or distances of features scaled to length one."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", np.float32, np.float64)


def unit(features: NDArray[np.floating[Any]], dtype: type[Real]) -> NDArray[Real]:
    """Scale each row of (N, D) to unit length, in the precision of ``dtype``; a zero row stays zero.

    The released evaluation scripts scale by scikit-learn's ``normalize``, which leaves zero rows alike.
    """
    rows = np.array(features, dtype=dtype)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1
    rows /= norms
    return rows
