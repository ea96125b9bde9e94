"""Agreement of a face's halves, in the spirit of SymFace (arXiv 2409.11816).

Neither code, nor the threshold, weight and form of the halves are published: this is a method of its own. It takes
every image, where the paper takes those whose landmarks show a turned head, and completes a half by its mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aroface.distributed.collectives import mean_over_ranks
from aroface.heads.batch_losses.base import BatchLoss, BatchLossOptions, PassedBatch


@dataclass(frozen=True, slots=True)
class SymmetryOptions(BatchLossOptions):
    """Options of the agreement of halves: its weight."""


class Symmetry(BatchLoss):
    """One minus the cosine of the embeddings of two faces, each made of one half of an image and its mirror image."""

    def __init__(self, options: SymmetryOptions) -> None:
        super().__init__()
        self.options: SymmetryOptions = options

    def forward(self, passed: PassedBatch) -> Tensor:
        """See :class:`BatchLoss`."""
        faces = torch.cat([*mirrored_halves(passed.images)])
        left, right = F.normalize(passed.network(faces)).chunk(2)
        disparity = (1 - (left * right).sum(1)).mean()
        return passed.losses.mean() + self.options.weight * mean_over_ranks(disparity)


def mirrored_halves(images: Tensor) -> tuple[Tensor, Tensor]:
    """Complete the left and the right half of images (n, C, H, W) by their mirror images; W is even."""
    left, right = images.chunk(2, 3)
    return torch.cat([left, left.flip(3)], 3), torch.cat([right.flip(3), right], 3)
