"""Triplet loss of FaceNet (Schroff et al., arXiv 1503.03832), with all triplets of a batch at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aroface.heads.pair_terms.base import PairLoss, PairLossOptions, require_pairs, same_label


@dataclass(frozen=True, slots=True)
class TripletOptions(PairLossOptions):
    """Options of the triplet loss.

    Attributes:
        margin: Margin alpha between squared distances, > 0.
        negatives: Negatives of an anchor and a positive. ``semi_hard``, of the paper: the nearest of those that are
            farther than the positive. ``violating``: all that are within the margin, as in a public implementation,
            which draws one of them at random, where this takes their mean.
    """

    margin: float = 0.2
    negatives: Literal["semi_hard", "violating"] = "semi_hard"

    def __post_init__(self) -> None:
        PairLossOptions.__post_init__(self)
        require_pairs(self.margin > 0, "margin", self.margin, "margin > 0")


class Triplet(PairLoss):
    """Mean of |a - p|² - |a - n|² + margin over the pairs (a, p) of an identity for which it is positive."""

    def __init__(self, options: TripletOptions) -> None:
        super().__init__()
        self.options: TripletOptions = options

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """See :class:`PairLoss`."""
        distances = 2 - 2 * features @ features.T
        same = same_label(labels)
        positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        # Each anchor's negatives in ascending order; positives come last.
        ordered = torch.where(same, math.inf, distances).sort(1).values
        losses, violated = self._losses(distances, ordered)
        violated = violated & positive
        return torch.where(violated, losses, 0).sum() / violated.sum().clamp_min(1)

    def _losses(self, distances: Tensor, ordered: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the loss (B, B) of each anchor and positive, and where there is a negative within the margin."""
        margin, last = self.options.margin, len(distances) - 1
        limits = distances.detach()
        bounds = ordered.detach().contiguous()
        if self.options.negatives == "semi_hard":
            nearest = torch.searchsorted(bounds, limits.contiguous(), right=True).clamp_max(last)
            negatives = ordered.gather(1, nearest)
            violated = (negatives > distances) & (negatives < distances + margin)
            return distances - torch.where(violated, negatives, 0) + margin, violated.detach()
        within = torch.searchsorted(bounds, (limits + margin).contiguous())
        # Cumulative sums by a product: those of CUDA have no fixed order.
        sums = torch.where(ordered.isinf(), 0, ordered) @ torch.ones_like(ordered).triu()
        mean = sums.gather(1, (within - 1).clamp_min(0)) / within.clamp_min(1)
        return distances - mean + margin, within > 0
