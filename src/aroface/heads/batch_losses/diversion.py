"""Index diversion of recognizability embedding enhancement (Deng et al., CVPR 2023), as far as its text fixes it.

Embeddings are pushed away from the place where a network puts faces that nobody could recognise. There is no public
code. The paper finds that place by clustering, pushes images of a low recognizability index, and adds a regression of
the index and an attention: here the place is that of the batch's own images at a few pixels, and all images within a
margin are pushed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aroface.distributed.collectives import mean_over_ranks, sum_over_ranks
from aroface.heads.batch_losses.base import BatchLoss, BatchLossOptions, PassedBatch, require_batch_loss


@dataclass(frozen=True, slots=True)
class DiversionOptions(BatchLossOptions):
    """Options of index diversion; none of these numbers is known from the paper.

    Attributes:
        margin: Distance, one minus the cosine, from the centre of unrecognisable faces below which a face is pushed, in
            (0, 2].
        pixels: Height and width to which images are reduced to be unrecognisable, >= 1.
    """

    margin: float = 0.75
    pixels: int = 7

    def __post_init__(self) -> None:
        BatchLossOptions.__post_init__(self)
        require_batch_loss(0 < self.margin <= 2, "margin", self.margin, "0 < margin <= 2")
        require_batch_loss(self.pixels >= 1, "pixels", self.pixels, "pixels >= 1")


class Diversion(BatchLoss):
    """Mean of [margin - d]+, d being the distance of an embedding from the centre of all ranks' unrecognisable faces.

    The centre has no gradient.
    """

    def __init__(self, options: DiversionOptions) -> None:
        super().__init__()
        self.options: DiversionOptions = options

    def forward(self, passed: PassedBatch) -> Tensor:
        """See :class:`BatchLoss`."""
        with torch.no_grad():
            hopeless = passed.network(unrecognisable(passed.clean, self.options.pixels))
            centre = F.normalize(sum_over_ranks(F.normalize(hopeless).sum(0)), dim=0)
        distances = 1 - (F.normalize(passed.embeddings) * centre).sum(1)
        pushed = (self.options.margin - distances).clamp_min(0).mean()
        return passed.losses.mean() + self.options.weight * mean_over_ranks(pushed)


def unrecognisable(images: Tensor, pixels: int) -> Tensor:
    """Reduce images (n, C, H, W) to ``pixels`` in height and width, and enlarge them again."""
    small = F.interpolate(images, (pixels, pixels), mode="area")
    return F.interpolate(small, images.shape[2:], mode="bilinear", align_corners=False)
