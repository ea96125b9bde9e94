"""UNPG (Jung et al., arXiv 2203.11593): negative pairs of a batch as further negatives of all its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aroface.heads.pair_terms.base import NOTHING, MoreNegatives, PairOptions, require_pairs


@dataclass(frozen=True, slots=True)
class UNPGOptions(PairOptions):
    """Options of unified negative pair generation; the defaults are those of the authors' code.

    Attributes:
        whisker: Number of interquartile ranges beyond the quartiles within which a pair is kept, >= 0.
        reference_batch: Size of the batch whose number of pairs counts: with B images the log-sum-exp is lowered by
            2 log(B / reference_batch), so that a larger batch weighs the pairs no more. None for no such change.
    """

    whisker: float = 1.5
    reference_batch: int | None = None

    def __post_init__(self) -> None:
        require_pairs(self.whisker >= 0, "whisker", self.whisker, "whisker >= 0")
        size = self.reference_batch
        require_pairs(size is None or size > 0, "reference_batch", size, "reference_batch > 0, or none")


class UNPG(MoreNegatives):
    """Cosines of all pairs of images of two identities, without those that a box filter holds for noise.

    A pair is kept between Q1 - w (Q3 - Q1) and Q3 + w (Q3 - Q1), w being the whisker; the quartiles of n pairs are the
    elements at n / 4 and 3 n / 4, rounded down, in ascending order. All samples have the same set of pairs.
    """

    def __init__(self, options: UNPGOptions) -> None:
        super().__init__()
        self.options: UNPGOptions = options

    def forward(self, features: Tensor, labels: Tensor, scale: float) -> Tensor:
        """See :class:`MoreNegatives`."""
        first, second = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
        cosines = (features @ features.T)[first, second]
        negative = labels[first] != labels[second]
        # Positive pairs at the end of the order, not left out of it: their number would have to be waited for.
        ordered = torch.where(negative, cosines.detach(), math.inf).sort().values
        quarters = negative.sum() * torch.arange(1, 4, 2, device=labels.device) // 4
        low, high = ordered.gather(0, quarters.clamp_max(len(ordered) - 1)).unbind()
        reach = self.options.whisker * (high - low)
        kept = negative & (cosines >= low - reach) & (cosines <= high + reach)
        result = torch.where(kept, scale * cosines, NOTHING).logsumexp(0)
        if self.options.reference_batch is None:
            return result
        return result - 2 * math.log(len(labels) / self.options.reference_batch)
