"""CosFace (Wang et al., arXiv 1801.09414): a margin subtracted from the cosine."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aroface.heads.base import Head, MarginOptions


@dataclass(frozen=True, slots=True)
class CosFaceOptions(MarginOptions):
    """Options of CosFace; m = 0.4 is insightface's choice, 0.35 the paper's."""

    m: float = 0.4


class CosFace(Head):
    """Cosine minus m, equation 4 of the paper."""

    def __init__(self, options: CosFaceOptions) -> None:
        super().__init__(options.s)
        self.options = options

    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self.s * (cosines - self.options.m)
