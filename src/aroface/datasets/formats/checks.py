"""Checks of labels: whether a benchmark's metrics are defined on it.

Verifying a set and using it make the same checks, so that a set that passed is not refused later.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.errors import InputError

FOLDS = 10
"""Folds of the accuracy of labelled pairs, and so the least number of pairs."""

Booleans = npt.NDArray[np.bool_]


def check_pairs(same: Booleans, file: Path, *, folds: bool = True) -> None:
    """Check that metrics of labelled pairs are defined.

    Args:
        same: Label of each pair, bool (N,), true for a genuine one.
        file: Origin of the labels, for the message.
        folds: True if a ten-fold accuracy is among the metrics.

    Raises:
        InputError: The pairs are all of one kind, or fewer than folds.
    """
    if folds and len(same) < FOLDS:
        raise InputError(f"{len(same)} pairs", file=file, expected=f"at least {FOLDS}, one a fold")
    if same.all() or not same.any():
        what = f"all {len(same)} pairs are {'genuine' if len(same) and same.all() else 'impostors'}"
        raise InputError(what, file=file, expected="genuine and impostor pairs")


def check_mates(mated: bool, probes: int, file: Path) -> None:
    """Check that a search has a probe with a mate.

    Args:
        mated: True if any probe has a mate in a gallery.
        probes: Number of probes, for the message.
        file: Origin of the lists, for the message.

    Raises:
        InputError: No probe has one.
    """
    if not mated:
        expected = "subjects of the lists of probes in those of the galleries"
        raise InputError(f"none of {probes} probes has a mate in a gallery", file=file, expected=expected)
