"""What all objectives have in common: a loss on cosines that splits into the target's branch and that of the others.

The target's branch is one number for each sample. The branch of the other classes is a reduction over classes, a
log-sum-exp or a sum, so that it can be taken over chunks and shards of them and put together afterwards. An objective
sees cosines and feature norms and nothing else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aroface.errors import InputError

Gradient = Literal["exact", "straight_through"]
"""Gradient of the margined target towards its cosine: the derivative, or 1 whatever the margin."""

Reduction = Literal["log_sum_exp", "sum"]
"""How the logits of the other classes become one number for each sample."""

SMALLEST_SINE = 3e-4
"""The exact gradient's factor 1 / sin(angle) is bounded here: float32 cosines do not resolve smaller angles."""


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuse an option out of its range.

    Raises:
        InputError: ``condition`` does not hold.
    """
    if not condition:
        raise InputError(f"{name} is {value}", record="head", expected=expected)


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """Options that every objective has.

    Attributes:
        s: scale of the logits, > 0.
    """

    s: float = 64.0

    def __post_init__(self) -> None:
        require(self.s > 0, "s", self.s, "s > 0")


@dataclass(frozen=True, slots=True)
class MarginOptions(HeadOptions):
    """Options of the objectives with a fixed margin.

    Attributes:
        m: margin, >= 0; radians or cosine, as the objective says.
    """

    m: float = 0.5

    def __post_init__(self) -> None:
        HeadOptions.__post_init__(self)
        require(0 <= self.m < math.pi, "m", self.m, "0 <= m < pi")


class Head(nn.Module, ABC):
    """An objective; subclasses say what becomes of the target's cosine, and some of what becomes of the others'.

    One step calls, in this order: :meth:`sample_terms` and :meth:`penalty` on the rank where a sample lives;
    :meth:`observe` and :meth:`other_terms` on all ranks and for the samples of all; :meth:`others` where classes live;
    :meth:`target` and :meth:`loss` on all ranks again.

    Attributes:
        s: scale of the logits.
        reduction: see :data:`Reduction`.
    """

    reduction: ClassVar[Reduction] = "log_sum_exp"

    def __init__(self, s: float) -> None:
        super().__init__()
        self.s = s

    def sample_terms(self, norms: Tensor, generator: torch.Generator | None, *, update_statistics: bool) -> Tensor:
        """What the target's branch needs to know of a sample beside its cosine: none here.

        Args:
            norms: (b,) lengths of the features before normalisation.
            generator: source of what is random, on any device; None stands for torch's own.
            update_statistics: whether running statistics of the norms, if there are any, may move.

        Returns:
            (b, k), k the same at each call.
        """
        return norms.new_empty(len(norms), 0)

    @abstractmethod
    def target(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Scaled logits (B,) of the target classes.

        Args:
            cosines: (B,) of all ranks' samples, in [-1, 1].
            terms: (B, k) of all ranks' samples.
        """

    def observe(self, target: Tensor) -> None:
        """Move running statistics of the target cosines (B,) of all ranks; called only when statistics may move."""
        return

    def other_terms(self, target: Tensor) -> Tensor:
        """What :meth:`others` needs to know of a sample, (B, k), from its target cosine (B,), without gradient."""
        return target.new_empty(len(target), 0)

    def others(self, cosines: Tensor, terms: Tensor) -> Tensor:
        """Scaled logits (B, C) of the other classes; what it makes of a target class's column is left out later.

        It is called again for the gradient, so that nothing but its arguments may decide what it returns.

        Args:
            cosines: (B, C), in [-1, 1]; a chunk of the classes.
            terms: (B, k) of :meth:`other_terms`.
        """
        return self.s * cosines

    def penalty(self, norms: Tensor) -> Tensor:
        """What is added to the loss of each sample, (b,), for its feature's length (b,)."""
        return torch.zeros_like(norms)

    def loss(self, target: Tensor, others: Tensor) -> Tensor:
        """Loss (B,) from the target's logit (B,) and the reduced logits (B,) of the others: cross entropy, or a sum."""
        difference = others - target
        # Beyond 40, log(1 + exp(x)) is x in float64, too.
        return F.softplus(difference, threshold=40) if self.reduction == "log_sum_exp" else difference


def sine(cosines: Tensor) -> Tensor:
    """The non-negative sine of the angles with these cosines, with a bounded gradient at 0 and pi."""
    return (1 - cosines.square()).clamp_min(SMALLEST_SINE**2).sqrt()


def turned(cosines: Tensor, margin: float | Tensor, *, guard: bool = False) -> Tensor:
    """The cosines (B,) of angles that are ``margin`` radians larger.

    Args:
        cosines: (B,) in [-1, 1].
        margin: one or (B,).
        guard: where the larger angle would pass pi, subtract m sin(m) from the cosine instead, so that the result keeps
            falling with the angle (the ArcFace paper's code).
    """
    m = torch.as_tensor(margin, dtype=torch.float64) if isinstance(margin, float | int) else margin
    moved = cosines * m.cos() - sine(cosines) * m.sin()
    return torch.where(cosines > (math.pi - m).cos(), moved, cosines - m * m.sin()) if guard else moved


def with_gradient(margined: Tensor, target: Tensor, gradient: Gradient) -> Tensor:
    """``margined`` with its own gradient, or with that of ``target`` (straight through)."""
    return margined if gradient == "exact" else margined.detach() + (target - target.detach())
