"""Circle loss on pairs (Sun et al., arXiv 2002.10857, equation 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aroface.heads.pair_terms.base import PairLoss, PairLossOptions, log_sum_exp, require_pairs, same_label


@dataclass(frozen=True, slots=True)
class CirclePairsOptions(PairLossOptions):
    """Options of Circle loss on pairs.

    Attributes:
        gamma: Scale, > 0.
        m: Relaxation, see :class:`aroface.heads.circle.CircleOptions`, in [0, 1].
        softplus: True for the paper's log(1 + exp(negatives + positives)); a public implementation leaves out the
            softplus, so that its loss is negative and goes on falling once the pairs are apart.
    """

    gamma: float = 256.0
    m: float = 0.25
    softplus: bool = True

    def __post_init__(self) -> None:
        PairLossOptions.__post_init__(self)
        require_pairs(self.gamma > 0, "gamma", self.gamma, "gamma > 0")
        require_pairs(0 <= self.m <= 1, "m", self.m, "0 <= m <= 1")


class CirclePairs(PairLoss):
    """All pairs of the batch in one loss; the weights of the pairs have no gradient."""

    def __init__(self, options: CirclePairsOptions) -> None:
        super().__init__()
        self.options: CirclePairsOptions = options

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """See :class:`PairLoss`."""
        gamma, m = self.options.gamma, self.options.m
        cosines = features @ features.T
        weights = cosines.detach()
        same = same_label(labels)
        # Each pair once.
        pairs = torch.ones_like(same).triu(1)
        positives = log_sum_exp(gamma * (1 + m - weights).clamp_min(0) * (1 - m - cosines), same & pairs)
        negatives = log_sum_exp(gamma * (weights + m).clamp_min(0) * (cosines - m), ~same & pairs)
        if self.options.softplus:
            return F.softplus(negatives + positives, threshold=40)
        both = (same & pairs).any() & (~same & pairs).any()
        return torch.where(both, negatives + positives, 0)
