"""Kinds of data sets, and what all sets of a kind have in common."""

from __future__ import annotations

from typing import Literal

SetKind = Literal["training", "pairs", "tinyface", "ijb", "ijbs"]

FOLDS = 10
"""Folds of the accuracy of labelled pairs, and so the least number of pairs."""
