"""Softmax without a margin, the baseline of the other heads (NormFace, Wang et al., arXiv 1704.06369)."""

from __future__ import annotations

from torch import Tensor

from aroface.heads.base import Head, HeadOptions


class Softmax(Head):
    """Scaled cosine: features and class weights stay normalised, and there is no bias."""

    def __init__(self, options: HeadOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self.s * cosines
