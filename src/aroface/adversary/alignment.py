"""Alignment adversary of ARoFace (arXiv 2407.14972): train on the misalignments that most increase the loss.

Each image starts at a small random similarity warp. The sign of the training loss's gradient towards scale, angle and
shift gives the direction of one step of fixed length in each; a part of the batch is then trained on so warped.

    adversary = AlignmentAdversary("clean")
    for images, labels in loader:
        images, labels = adversary(images, labels, lambda x, y: criterion(model(x), y), model)
        criterion(model(images), labels).backward()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from aroface.adversary.options import AdversaryOptions
from aroface.adversary.warp import BLACK, Similarity, landmark_displacement, limit_displacement, warp
from aroface.errors import InputError
from aroface.models.module_contexts import frozen_statistics, running_statistics
from aroface.models.prelu import fixed_slopes

Loss = Callable[[Tensor, Tensor], Tensor]
"""From warped images (n, C, H, W) and their labels (n, ...) to a scalar loss.

It runs backbone and classifier in training mode. Under fp16 it should multiply by the GradScaler's factor: only the
gradient's signs are used, and unscaled ones underflow to zero. It may enter an autocast of its own.
"""

CORNERS = 16
_SCALE_BELOW, _SCALE_ABOVE, _SCALE_ABOVE_RELEASED, _THETA, _SHIFT = 0.5, 0.5, 1.5, 0.8, 0.3


@dataclass(frozen=True, slots=True)
class Warped:
    """Warped part of a batch.

    Attributes:
        images: Images (n, 3, H, W).
        rows: Rows int64 (n,) of the images in the batch.
        warps: The n warps.
        displacement_px: Displacements (n, 5) in pixels of each landmark of the ArcFace template.
        corners: Directions int64 (n,) of each warp from its start: 8 for zooming out, 4 for a positive angle, 2 and 1
            for a positive shift along x and y, added up; 0 to 15.
        zero_signs: Scalar, share of the gradient's signs that were zero, over all images that were attacked and
            all steps; None without a gradient. Under fp16 an unscaled loss can make it 1.
    """

    images: Tensor
    rows: Tensor
    warps: Similarity
    displacement_px: Tensor
    corners: Tensor
    zero_signs: Tensor | None = None

    def summary(self) -> dict[str, Any]:
        """Return numbers for a log: displacement in pixels, counts of the corners, and the share of zero signs."""
        numbers: dict[str, Any] = {
            "displacement_mean_px": float(self.displacement_px.mean()),
            "displacement_max_px": float(self.displacement_px.max()),
            "corners": torch.bincount(self.corners, minlength=CORNERS).tolist(),
        }
        return numbers if self.zero_signs is None else {**numbers, "zero_signs": float(self.zero_signs)}


@dataclass(frozen=True, slots=True)
class Mixed:
    """Batch to train on: clean images, then warped ones, as in the authors' code.

    Attributes:
        images: Images (B, C, H, W).
        labels: Labels (B, ...) of these images.
        warped: Warped part; None where there is none.
        rows: Row int64 (B,) of the original batch that each image and label is from. It indexes everything else that
            belongs to the images: ``extra[mixed.rows]``.
    """

    images: Tensor
    labels: Tensor
    warped: Warped | None
    rows: Tensor

    def in_place(self) -> Mixed:
        """Return the same images and labels, each at the row that it is from, clean or warped.

        With ``mix: disjoint`` all rows are filled: ``rows`` is 0 to B - 1. With ``independent`` some images come twice
        and others not at all: then the clean one of the two is at its own row, and the warped one takes, in ascending
        order, that of an image which does not come at all, with its own label; ``rows`` says which.
        """
        order = self.rows.argsort(stable=True)
        ordered = self.rows[order]
        again = torch.zeros_like(ordered, dtype=torch.bool)
        again[1:] = ordered[1:] == ordered[:-1]
        free = torch.ones_like(again)
        free[ordered] = False
        source = torch.empty_like(order)
        source[ordered[~again]] = order[~again]
        source[free] = order[again]
        return Mixed(self.images[source], self.labels[source], self.warped, self.rows[source])


class AlignmentAdversary:
    """Adversary that warps a part of each batch, for any training loop.

    Its only state is a generator of random numbers, and only where none is passed in.

    Args:
        options: Name of a profile, ``clean`` or ``official``, or :class:`AdversaryOptions`.
        black: Value of black in the images, which fills their outside: one number or one for each channel. -1 for
            images in [-1, 1], 0 for those in [0, 1], -mean / sd for standardised ones.
        changes: Options that differ from the profile's, as in ``AlignmentAdversary("clean", steps=2)``.

    Attributes:
        generator: Source of random draws where :meth:`__call__` is given none: None until it is first needed, then a
            generator on the CPU, seeded by one draw of PyTorch's global generator plus the rank of the process where
            ``torch.distributed`` is initialised. So ``torch.manual_seed`` decides it, and ranks that are seeded alike
            draw unlike warps. A training that resumes bit for bit saves and sets its state.

    Raises:
        InputError: An unknown profile or option, or an option of the wrong type or range.
    """

    def __init__(
        self, options: AdversaryOptions | str = "clean", *, black: float | Sequence[float] = BLACK, **changes: Any
    ) -> None:
        self.options = (
            AdversaryOptions.profile(options, **changes) if isinstance(options, str) else replace(options, **changes)
        )
        self.black = black
        _check_black(black)
        self.generator: torch.Generator | None = None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> AlignmentAdversary:
        """Make the adversary that a recipe describes; see :meth:`AdversaryOptions.from_mapping`."""
        return cls(AdversaryOptions.from_mapping(mapping))

    @property
    def warmup_epochs(self) -> float:
        """Epochs over which the training loop raises the strength from 0 to 1."""
        return self.options.warmup_epochs

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
        model: nn.Module,
        generator: torch.Generator | None = None,
        *,
        strength: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Replace a part of a batch by warped images, for any training loop.

        No parameter's ``.grad`` is touched, and under the profile ``clean`` no running statistics of batch norm.

        Args:
            images: Images (B, C, H, W), floating, H = W, of any normalisation; see ``black``.
            labels: Labels or other targets (B, ...) of any type that the loss needs, on the images' device.
            loss: Training loss: from images (n, C, H, W) and their labels to a scalar, in training mode. Called once
                per ascent step, and only for kind ``gradient``. For mixed precision it enters autocast itself, or the
                caller has. Under fp16 it should return ``scaler.scale(loss)``: tiny gradients underflow to zero, and
                their signs matter here. It may call a DistributedDataParallel, whose gradients are not synchronised
                meanwhile, or the module in it.
            model: Module whose batch norm statistics are frozen where the options ask for it, bare or in a
                DistributedDataParallel without ``static_graph``, under which ranks drift apart silently.
            generator: Source of all draws; :attr:`generator` where None.
            strength: Factor of the warps' distance from the identity, 0 to 1, for a warm-up.

        Returns:
            B images and their labels. Row i is of image i of the batch, clean or warped, so that other data of the
            images still match. Only under ``mix: independent``, the authors' way, do some images come twice, in
            the rows of others that do not come at all; then take the rest by :attr:`Mixed.rows` of :meth:`augment`.

        Raises:
            InputError: Images or labels of another shape, type or device, or a model with a static graph.
        """
        mixed = self.augment(images, labels, loss, model, generator, strength=strength).in_place()
        return mixed.images, mixed.labels

    def augment(
        self,
        images: Tensor,
        labels: Tensor,
        loss: Loss,
        model: nn.Module,
        generator: torch.Generator | None = None,
        *,
        strength: float = 1.0,
    ) -> Mixed:
        """Mix a batch as :meth:`__call__` does, but in the authors' order: clean images, then warped ones.

        Args:
            images: See there.
            labels: See there.
            loss: See there.
            model: See there.
            generator: See there; on any device, the draws do not depend on that of ``images``.
            strength: See there.

        Returns:
            B images with their labels, their rows in the batch and their warps; :meth:`Mixed.in_place` restores the
            order of the batch.

        Raises:
            InputError: See there.
        """
        _check(images, labels, model)
        levels = torch.as_tensor(self.black).numel()
        if levels not in (1, images.shape[1]):
            fault = f"black has {levels} numbers, images {images.shape[1]} channels"
            raise InputError(fault, where="adversary", expected="one number, or one for each channel")
        if generator is None:
            generator = self.generator = self.generator or _seeded_by_torch()
        options = self.options
        clean, used = split(len(images), options.warped_ratio, options.mix, generator)
        if options.kind == "none" or len(used) == 0:
            return Mixed(images, labels, None, torch.arange(len(images), device=images.device))
        clean, used = clean.to(images.device), used.to(images.device)
        everything = options.kind == "gradient" and options.adversary_on == "all"
        attacked = torch.arange(len(images), device=images.device) if everything else used
        start, end, zeros = self._attack(images[attacked], labels[attacked], loss, model, generator, strength)
        if everything:
            start, end = start.rows(used), end.rows(used)
        warped = Warped(
            images=self._warp(images[used], end),
            rows=used,
            warps=end,
            displacement_px=landmark_displacement(end, images.shape[-1], options.fill),
            corners=_corners(start, end),
            zero_signs=zeros,
        )
        rows = torch.cat([clean, used])
        return Mixed(torch.cat([images[clean], warped.images]), labels[rows], warped, rows)

    def _attack(
        self,
        images: Tensor,
        labels: Tensor,
        loss: Loss,
        model: nn.Module,
        generator: torch.Generator,
        strength: float,
    ) -> tuple[Similarity, Similarity, Tensor | None]:
        """Draw a start for each image and ascend the loss from there.

        Returns:
            Start and end of each warp, and the share of zero signs on the way; None without a gradient.
        """
        options = self.options
        factors = (options.step_scale, options.step_theta, options.step_shift)
        sizes = strength * _normal((3,), options.step_mean, options.step_sd, generator, images)
        start = self._start(len(images), generator, images, strength)
        coin = _coin_signs(len(images), generator, images) if options.kind == "random" else None
        now = start
        zeros: list[Tensor] = []
        with _undisturbed(model, options):
            for _ in range(options.steps):
                signs = coin or self._gradient_signs(images, labels, now, loss)
                zeros += [] if coin else [_share_of_zeros(signs)]
                moved = Similarity(
                    *(
                        parameter + factor * size * sign
                        for parameter, factor, size, sign in zip(now, factors, sizes, signs, strict=True)
                    )
                )
                now = _clip(moved, start, released=options.clip == "released")
                if options.landmark_budget_px is not None:
                    now = limit_displacement(now, options.landmark_budget_px, images.shape[-1], options.fill)
        return start, now, torch.stack(zeros).mean() if zeros else None

    def _start(self, count: int, generator: torch.Generator, like: Tensor, strength: float) -> Similarity:
        options = self.options
        draw = _normal if options.start == "normal" else _uniform
        return Similarity(
            1 + strength * draw((count,), 0.0, options.start_sd_scale, generator, like),
            strength * draw((count,), 0.0, options.start_sd_theta, generator, like),
            strength * draw((count, 2), 0.0, options.start_sd_shift, generator, like),
        )

    def _gradient_signs(self, images: Tensor, labels: Tensor, warps: Similarity, loss: Loss) -> Similarity:
        """Compute the signs of the loss's gradient towards each parameter of each warp; 0 where it is not a number."""
        leaves = Similarity(*(parameter.detach().requires_grad_() for parameter in warps))
        with torch.enable_grad():
            warped = self._warp(images.detach(), leaves)
            with _precision(self.options.precision, images.device):
                value = loss(warped, labels)
        gradients = torch.autograd.grad(value, leaves)
        return Similarity(*(gradient.nan_to_num().sign() for gradient in gradients))

    def _warp(self, images: Tensor, warps: Similarity) -> Tensor:
        black: float | Tensor
        if isinstance(self.black, int | float):
            black = self.black
        else:
            black = torch.as_tensor(self.black, dtype=images.dtype, device=images.device).view(-1, 1, 1)
        return warp(images, *warps, fill=self.options.fill, black=black)


def split(count: int, ratio: float, mix: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose which images of a batch stay clean and which are warped.

    ``count - round down((1 - ratio) * count)`` are warped, so that the batch keeps its size (the ARoFace authors' code
    rounds both parts down and can lose an image).

    Args:
        count: Number of images in the batch.
        ratio: Share that is warped.
        mix: Way of mixing, ``independent`` or ``disjoint``; see :class:`AdversaryOptions`.
        generator: Source of the permutations.

    Returns:
        Rows of the clean and of the warped images, int64 on the generator's device, ``count`` in all.
    """
    clean = int((1 - ratio) * count + 1e-9)  # 0.9 * 10 must not become 8.999...
    first = torch.randperm(count, generator=generator, device=generator.device)
    if mix == "disjoint":
        return first[:clean], first[clean:]
    second = torch.randperm(count, generator=generator, device=generator.device)
    return first[:clean], second[: count - clean]


def _check_black(black: float | Sequence[float]) -> None:
    levels = torch.as_tensor(black)
    if levels.numel() == 0 or not bool(levels.isfinite().all()):
        raise InputError(f"black is {black}", where="adversary", expected="a finite number, or one for each channel")


def _check(images: Tensor, labels: Tensor, model: nn.Module) -> None:
    given: tuple[tuple[str, object], ...] = (("images", images), ("labels", labels))
    for name, value in given:
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise InputError(f"{name} are a {kind}", where="adversary", expected="a tensor with a row for each image")
    if images.ndim != 4 or images.shape[2] != images.shape[3] or not images.is_floating_point():
        raise InputError(
            f"images are {images.dtype} {tuple(images.shape)}", where="adversary", expected="floating (B, C, H, H)"
        )
    if labels.shape[:1] != images.shape[:1]:
        raise InputError(f"labels are {tuple(labels.shape)}", where="adversary", expected=f"{len(images)} rows")
    if labels.device != images.device:
        raise InputError(
            f"labels are on {labels.device}, images on {images.device}",
            where="adversary",
            expected="labels on the images' device",
            remedy="labels.to(images.device)",
        )
    if isinstance(model, DistributedDataParallel) and model.static_graph:
        raise InputError(
            "the model is a DistributedDataParallel with static_graph",
            where="adversary",
            expected="one without",
            remedy="with a second gradient in each step its ranks would drift apart silently",
        )


@contextmanager
def _undisturbed(model: nn.Module, options: AdversaryOptions) -> Iterator[None]:
    """Leave gradients unsynchronised and slopes without them, and treat batch norm's statistics by the options."""
    keep = running_statistics if options.statistics == "running" else frozen_statistics
    with (
        model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext(),
        nullcontext() if options.update_batch_norm else keep(model),
        fixed_slopes(model),
    ):
        yield


def _precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast of the attack's loss."""
    if name == "same":
        return nullcontext()
    # Autocast's cache knows a weight's copy by the weight alone, not by type: one that the caller has open may hold
    # copies of another type, and must not be left any.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def _seeded_by_torch() -> torch.Generator:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if distributed else 0
    return torch.Generator().manual_seed(int(torch.randint(2**62, ())) + rank)


def _coin_signs(count: int, generator: torch.Generator, like: Tensor) -> Similarity:
    coins = torch.randint(0, 2, (count, 4), generator=generator, device=generator.device)
    signs = _place(2 * coins - 1, like)
    return Similarity(signs[:, 0], signs[:, 1], signs[:, 2:])


def _share_of_zeros(signs: Similarity) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in signs]).eq(0).float().mean()


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
    """Draw normally on the generator's device, then move to that of ``like``."""
    return _place(mean + sd * torch.randn(shape, generator=generator, device=generator.device), like)


def _uniform(shape: tuple[int, ...], mean: float, sd: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Draw uniformly with the same mean and standard deviation."""
    sides = 2 * torch.rand(shape, generator=generator, device=generator.device) - 1
    return _place(mean + math.sqrt(3) * sd * sides, like)


def _place(draws: Tensor, like: Tensor) -> Tensor:
    """Convert to the device and type of ``like``, but to float32 at least: warps need sub-pixel precision."""
    return draws.to(like.device, torch.promote_types(like.dtype, torch.float32))
