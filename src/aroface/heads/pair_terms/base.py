"""Base of all pair terms: a number computed from the unit features of all ranks' images and their labels.

Each rank computes the term in full, as it does the loss from its reduced logits, and continues the gradient through its
own features. The images of a term are those of one forward pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from aroface.heads.base import require

NOTHING = -1e30
"""Log-sum-exp of no pair at all: finite, so that no difference of two is undefined."""


require_pairs = partial(require, where="pairs")
"""Refuse an option out of its range."""


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Options that every pair term has.

    Attributes:
        in_attack: True if the term is a part of the adversary's loss. It couples the images: the warp of each then
            depends on the others of the pass.
    """

    in_attack: bool = False


@dataclass(frozen=True, slots=True)
class PairLossOptions(PairOptions):
    """Options of the terms that are losses of their own.

    Attributes:
        weight: Factor of the term, > 0.
        class_weight: Factor of the head's loss beside it, >= 0. At 0 the classes are not computed, and the adversary
            needs the term: ``in_attack`` must be true.
    """

    weight: float = 1.0
    class_weight: float = 1.0

    def __post_init__(self) -> None:
        require_pairs(self.weight > 0, "weight", self.weight, "weight > 0")
        require_pairs(self.class_weight >= 0, "class_weight", self.class_weight, "class_weight >= 0")
        nothing_to_ascend = self.class_weight == 0 and not self.in_attack
        require_pairs(not nothing_to_ascend, "in_attack", False, "true where class_weight is 0")


class PairTerm(nn.Module, ABC):
    """Term of in-batch pairs; either a :class:`PairLoss` or :class:`MoreNegatives`.

    Attributes:
        options: Options of the term.
    """

    options: PairOptions


class PairLoss(PairTerm):
    """Loss of the pairs of a batch, added to that of the classes.

    Attributes:
        options: See :class:`PairLossOptions`.
    """

    options: PairLossOptions

    @abstractmethod
    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss, a scalar; 0 with a gradient of 0 where the labels give no pair that it needs.

        Args:
            features: Unit features (B, D) of all ranks.
            labels: Labels int64 (B,).
        """


class MoreNegatives(PairTerm):
    """Log-sum-exp of the scaled cosines of negative pairs, which joins that of each sample's other classes."""

    @abstractmethod
    def forward(self, features: Tensor, labels: Tensor, scale: float) -> Tensor:
        """Compute the log-sum-exp, a scalar for all samples; :data:`NOTHING` where the labels give no such pair.

        Args:
            features: Unit features (B, D) of all ranks.
            labels: Labels int64 (B,).
            scale: Scale of the head's logits.
        """


def log_sum_exp(logits: Tensor, chosen: Tensor) -> Tensor:
    """Compute the log-sum-exp of the chosen logits, over all dimensions; :data:`NOTHING` and no gradient for none."""
    return torch.where(chosen, logits, NOTHING).flatten().logsumexp(0)


def same_label(labels: Tensor) -> Tensor:
    """Tell which pairs of a batch have one label: bool (B, B), true on the diagonal."""
    return labels.unsqueeze(0) == labels.unsqueeze(1)
