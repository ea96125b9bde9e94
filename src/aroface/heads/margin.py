"""What all margin functions have in common: they turn the target's cosine into something harder to reach.

A margin function sees cosines, labels and feature norms and nothing else, so that it works the same in a classifier
that holds all classes and in one that holds a shard of them (label -1: the class is in another shard).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aroface.errors import InputError

Gradient = Literal["exact", "straight_through"]
"""Gradient of the margined target towards its cosine: the derivative, or 1 whatever the margin."""

SMALLEST_SINE = 3e-4
"""The exact gradient's factor 1 / sin(angle) is bounded here: float32 cosines do not resolve smaller angles."""


@dataclass(frozen=True, slots=True)
class MarginOptions:
    """Options that every margin function has.

    Attributes:
        s: scale of the logits, > 0.
        m: margin, >= 0; radians or cosine, as the function says.
    """

    s: float = 64.0
    m: float = 0.5

    def __post_init__(self) -> None:
        if not self.s > 0:
            raise InputError(f"s is {self.s}", record="head", expected="s > 0")
        if not 0 <= self.m < torch.pi:
            raise InputError(f"m is {self.m}", record="head", expected="0 <= m < pi")


class Margin(nn.Module, ABC):
    """A margin function; subclasses say what becomes of the target cosines."""

    def __init__(self, s: float) -> None:
        super().__init__()
        self.s = s

    def forward(self, cosines: Tensor, labels: Tensor, norms: Tensor, *, update_statistics: bool = True) -> Tensor:
        """Turn cosines into scaled logits.

        Args:
            cosines: float32 (B, C) between unit features and unit class weights, in [-1, 1].
            labels: int64 (B,) in [0, C), or -1 where the class is not among these C.
            norms: float32 (B,) lengths of the features before normalisation.
            update_statistics: whether running statistics of the function, if it has any, may move.

        Returns:
            Logits (B, C): ``s`` times the cosines, with the margin in the target's column.
        """
        column = labels.clamp_min(0).unsqueeze(1)
        target = cosines.gather(1, column).squeeze(1)
        margined = self.margined(target, norms, update_statistics=update_statistics)
        margined = torch.where(labels >= 0, margined, target)
        return self.s * cosines.scatter(1, column, margined.unsqueeze(1))

    @abstractmethod
    def margined(self, target: Tensor, norms: Tensor, *, update_statistics: bool) -> Tensor:
        """Map the target cosines (B,) to what replaces them, (B,)."""


def sine(cosines: Tensor) -> Tensor:
    """The non-negative sine of the angles with these cosines, with a bounded gradient at 0 and pi."""
    return (1 - cosines.square()).clamp_min(SMALLEST_SINE**2).sqrt()


def with_gradient(margined: Tensor, target: Tensor, gradient: Gradient) -> Tensor:
    """``margined`` with its own gradient, or with that of ``target`` (straight through)."""
    return margined if gradient == "exact" else margined.detach() + (target - target.detach())
