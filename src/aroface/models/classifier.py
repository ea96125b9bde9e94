"""Classifiers that are released with backbones: a row of weights for each class, kept for fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aroface.errors import remark

_TRANSPOSED = ("kernel",)  # last part of a name: features × classes in AdaFace, CurricularFace and ElasticFace
_LEAVES = ("weight", "kernel", "weight_activated")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class ReleasedClassifier:
    """A classifier that another project released.

    Attributes:
        weight: (classes, embedding size), as the file has it: not of unit length.
        names: Names in the file or files, by keys with dots between.
        files: Files that it comes from.
    """

    weight: Tensor
    names: tuple[str, ...]
    files: tuple[Path, ...]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.weight)


def find_classifier(
    matrices: Mapping[str, Tensor], embedding_size: int, file: Path, *, transposed: bool = False, tell: bool = True
) -> ReleasedClassifier | None:
    """The classifier among the matrices of a file that are no part of its backbone.

    Args:
        matrices: Matrices by their names.
        embedding_size: Number of features per face, one side of a classifier.
        file: File that they come from.
        transposed: True where a square matrix has a column for each class.
        tell: True to print a line on candidates none of which is taken.

    Returns:
        The only matrix with a side of ``embedding_size`` and a usual name; None if there is none, or several.
    """
    candidates = {name: value for name, value in matrices.items() if _fits(name, value, embedding_size)}
    if len(candidates) > 1 and tell:
        names = ", ".join(list(candidates)[:3])
        remark(f"{file}: no classifier is kept: {len(candidates)} matrices could be it ({names})")
    if len(candidates) != 1:
        return None
    ((name, value),) = candidates.items()
    by_column = value.shape[1] != embedding_size or transposed or name.rpartition(".")[2] in _TRANSPOSED
    by_row = value.shape[0] != embedding_size or not by_column
    return ReleasedClassifier(value if by_row else value.T, (name,), (file,))


def _fits(name: str, value: Tensor, embedding_size: int) -> bool:
    """Tell whether a matrix can be a classifier: its name, sides and type, and as many values as the file holds."""
    if name.rpartition(".")[2] not in _LEAVES or embedding_size not in value.shape or value.dtype not in _FLOATS:
        return False
    if value.layout is not torch.strided or value.is_meta or value.is_quantized:
        return False
    held = value.untyped_storage().nbytes() // value.element_size()
    return 0 < value.numel() <= held and bool(value.isfinite().all())
