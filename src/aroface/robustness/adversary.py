"""The alignment adversary of ARoFace (arXiv 2407.14972): train on the misalignments that hurt most.

Each image starts at a small random similarity warp. The gradient of the training loss towards scale, angle and shift
says which way to move them, one step of fixed length in each; a part of the batch is then trained on so warped.

    adversary = AlignmentAdversary(AdversaryOptions.profile("clean"))
    for images, labels in loader:
        def loss(warped, rows):
            return criterion(backbone(warped), labels[rows])
        batch = adversary.augment(images, labels, loss, backbone, generator)
        criterion(backbone(batch.images), batch.labels).backward()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aroface.robustness.options import AdversaryOptions
from aroface.robustness.statistics import frozen_statistics
from aroface.robustness.warp import Fill, Similarity, landmark_displacement, limit_displacement, warp

Loss = Callable[[Tensor, Tensor], Tensor]
"""From warped images (n, 3, H, W) and the rows int64 (n,) of the batch that they show to a scalar loss.

It runs backbone and classifier in training mode. Under fp16 it should multiply by the GradScaler's factor: only the
gradient's signs are used, and unscaled ones underflow to zero. It must call the bare module, not a
DistributedDataParallel around it, whose reducer is not made for a second gradient.
"""

CORNERS = 16
_SCALE_BELOW, _SCALE_ABOVE, _SCALE_ABOVE_RELEASED, _THETA, _SHIFT = 0.5, 0.5, 1.5, 0.8, 0.3


@dataclass(frozen=True, slots=True)
class Warped:
    """The warped part of a batch.

    Attributes:
        images: (n, 3, H, W).
        rows: int64 (n,), the images' rows in the batch.
        warps: the n warps.
        displacement_px: (n, 5), how far each landmark of the ArcFace template moved.
        corners: int64 (n,), which way each warp went from its start: 8 for zooming out, 4 for a positive angle, 2 and 1
            for a positive shift along x and y, added up; 0 to 15.
    """

    images: Tensor
    rows: Tensor
    warps: Similarity
    displacement_px: Tensor
    corners: Tensor

    def summary(self) -> dict[str, Any]:
        """Numbers for a log: mean and largest displacement in pixels, and how often each corner was chosen."""
        return {
            "displacement_mean_px": float(self.displacement_px.mean()),
            "displacement_max_px": float(self.displacement_px.max()),
            "corners": torch.bincount(self.corners, minlength=CORNERS).tolist(),
        }


@dataclass(frozen=True, slots=True)
class Mixed:
    """A batch to train on: clean images, then warped ones.

    Attributes:
        images: (B, 3, H, W).
        labels: int64 (B,).
        warped: the warped part, None where there is none.
    """

    images: Tensor
    labels: Tensor
    warped: Warped | None


class AlignmentAdversary:
    """Warps a part of each batch; without state, all randomness comes from the generator that is passed in.

    Args:
        options: see :class:`AdversaryOptions`.
    """

    def __init__(self, options: AdversaryOptions) -> None:
        self.options = options

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> AlignmentAdversary:
        """The adversary that a recipe describes; see :meth:`AdversaryOptions.from_mapping`."""
        return cls(AdversaryOptions.from_mapping(mapping))

    @property
    def warmup_epochs(self) -> float:
        """Epochs over which the training loop raises the strength from 0 to 1."""
        return self.options.warmup_epochs

    def augment(
        self,
        images: Tensor,
        labels: Tensor,
        loss: Loss,
        backbone: nn.Module,
        generator: torch.Generator,
        *,
        strength: float = 1.0,
    ) -> Mixed:
        """Replace a part of a batch by warped images.

        Args:
            images: float32 (B, 3, H, W) in [-1, 1], H = W.
            labels: int64 (B,).
            loss: the training loss; see :data:`Loss`. Called once per ascent step, and only for kind ``gradient``.
            backbone: the module whose running statistics are kept still where the options say so.
            generator: source of all draws, on any device; the draws do not depend on the device of ``images``.
            strength: factor of the warps' distance from the identity, 0 to 1, for a warm-up.

        Returns:
            B images with their labels.
        """
        options = self.options
        clean, used = split(len(images), options.warped_ratio, options.mix, generator)
        if options.kind == "none" or len(used) == 0:
            return Mixed(images, labels, None)
        clean, used = clean.to(images.device), used.to(images.device)
        everything = options.kind == "gradient" and options.adversary_on == "all"
        attacked = torch.arange(len(images), device=images.device) if everything else used
        start, end = self._attack(images[attacked], attacked, loss, backbone, generator, strength)
        if everything:
            start, end = start.rows(used), end.rows(used)
        warped = Warped(
            images=warp(images[used], *end, fill=options.fill),
            rows=used,
            warps=end,
            displacement_px=landmark_displacement(end, images.shape[-1], options.fill),
            corners=_corners(start, end),
        )
        return Mixed(torch.cat([images[clean], warped.images]), labels[torch.cat([clean, used])], warped)

    def _attack(
        self,
        images: Tensor,
        rows: Tensor,
        loss: Loss,
        backbone: nn.Module,
        generator: torch.Generator,
        strength: float,
    ) -> tuple[Similarity, Similarity]:
        """Draw a start for each image and climb from there; returns where each warp started and ended."""
        options = self.options
        sizes = strength * _normal((3,), options.step_mean, options.step_sd, generator, images)
        start = self._start(len(images), generator, images, strength)
        coin = _coin_signs(len(images), generator, images) if options.kind == "random" else None
        still = nullcontext() if options.update_batch_norm else frozen_statistics(backbone)
        now = start
        with still:
            for _ in range(options.steps):
                signs = coin or _gradient_signs(images, rows, now, loss, options.fill)
                moved = Similarity(*(part + size * sign for part, size, sign in zip(now, sizes, signs, strict=True)))
                now = _clip(moved, start, released=options.clip == "released")
                if options.landmark_budget_px is not None:
                    now = limit_displacement(now, options.landmark_budget_px, images.shape[-1], options.fill)
        return start, now

    def _start(self, count: int, generator: torch.Generator, like: Tensor, strength: float) -> Similarity:
        options = self.options
        return Similarity(
            1 + strength * _normal((count,), 0.0, options.start_sd_scale, generator, like),
            strength * _normal((count,), 0.0, options.start_sd_theta, generator, like),
            strength * _normal((count, 2), 0.0, options.start_sd_shift, generator, like),
        )


def split(count: int, ratio: float, mix: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose which images of a batch stay clean and which are warped.

    ``count - round down((1 - ratio) * count)`` are warped, so that the batch keeps its size (the ARoFace authors' code
    rounds both parts down and can lose an image).

    Args:
        count: images in the batch.
        ratio: share that is warped.
        mix: ``independent`` or ``disjoint``; see :class:`AdversaryOptions`.
        generator: source of the permutations.

    Returns:
        Rows of the clean and of the warped images, int64 on the generator's device, ``count`` in all.
    """
    clean = int((1 - ratio) * count + 1e-9)  # 0.9 * 10 must not become 8.999...
    first = torch.randperm(count, generator=generator, device=generator.device)
    if mix == "disjoint":
        return first[:clean], first[clean:]
    second = torch.randperm(count, generator=generator, device=generator.device)
    return first[:clean], second[: count - clean]


def _gradient_signs(images: Tensor, rows: Tensor, warps: Similarity, loss: Loss, fill: Fill) -> Similarity:
    """The signs of the loss's gradient towards each parameter of each warp; 0 where it is not a number."""
    leaves = Similarity(*(part.detach().requires_grad_() for part in warps))
    with torch.enable_grad():
        value = loss(warp(images.detach(), *leaves, fill=fill), rows)
    gradients = torch.autograd.grad(value, leaves)
    return Similarity(*(gradient.nan_to_num().sign() for gradient in gradients))


def _coin_signs(count: int, generator: torch.Generator, like: Tensor) -> Similarity:
    coins = torch.randint(0, 2, (count, 4), generator=generator, device=generator.device)
    signs = (2 * coins - 1).to(like)
    return Similarity(signs[:, 0], signs[:, 1], signs[:, 2:])


def _clip(warps: Similarity, start: Similarity, *, released: bool) -> Similarity:
    shift_centre = start.theta.unsqueeze(1).expand_as(start.shift) if released else start.shift
    scale_above = _SCALE_ABOVE_RELEASED if released else _SCALE_ABOVE
    return Similarity(
        warps.scale.clamp(start.scale - _SCALE_BELOW, start.scale + scale_above),
        warps.theta.clamp(start.theta - _THETA, start.theta + _THETA),
        warps.shift.clamp(start.shift - _SHIFT, shift_centre + _SHIFT),
    )


def _corners(start: Similarity, end: Similarity) -> Tensor:
    moved = torch.stack([end.scale - start.scale, end.theta - start.theta, *(end.shift - start.shift).unbind(1)], 1)
    return ((moved > 0).long() * moved.new_tensor([8, 4, 2, 1]).long()).sum(1)


def _normal(shape: tuple[int, ...], mean: float, sd: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Normal draws on the generator's device, then moved to that of ``like``."""
    return (mean + sd * torch.randn(shape, generator=generator, device=generator.device)).to(like)
