"""Base of all batch losses, the last word on a forward pass of the training: not part of the adversary's loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from aroface.heads.base import require

require_batch_loss = partial(require, where="batch_loss")
"""Refuse an option out of its range."""


@dataclass(frozen=True, slots=True)
class BatchLossOptions:
    """Options that every batch loss has.

    Attributes:
        weight: Factor of what it adds to the loss of the samples, > 0.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        require_batch_loss(self.weight > 0, "weight", self.weight, "weight > 0")


@dataclass(frozen=True, slots=True)
class PassedBatch:
    """Images of one forward pass of the training on this rank, and what the network and the classifier made of them.

    Attributes:
        images: Images (b, 3, H, W) in [-1, 1] that the network saw: degraded or warped, where the recipe says so.
        clean: The same images before, (b, 3, H, W).
        rows: Row int64 (b,) of each image in the clean batch; two rows that are equal are two views of one image.
        labels: Labels int64 (b,).
        embeddings: Embeddings (b, D), not normalised.
        losses: Loss (B,) of each sample of all ranks, as `Classifier.losses` returns it.
        network: Function from images (n, 3, H, W) to their embeddings (n, D), for losses that need more of them.
    """

    images: Tensor
    clean: Tensor
    rows: Tensor
    labels: Tensor
    embeddings: Tensor
    losses: Tensor
    network: Callable[[Tensor], Tensor]


class BatchLoss(nn.Module, ABC):
    """Loss of a forward pass.

    Each rank computes what concerns its own images and averages with
    :func:`aroface.distributed.collectives.mean_over_ranks`, so that the loss is the same on all ranks.

    Attributes:
        options: Options of the loss.
    """

    options: BatchLossOptions

    @abstractmethod
    def forward(self, passed: PassedBatch) -> Tensor:
        """Compute the loss that is trained, a float32 scalar, the same on all ranks; without more it is the mean."""
