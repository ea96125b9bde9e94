"""The alignment adversary of ARoFace (arXiv 2407.14972): train on the misalignments that hurt most.

Each image starts at a small random similarity warp. The gradient of the training loss towards scale, angle and shift
says which way to move them, one step of fixed length in each; a part of the batch is then trained on so warped.

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

from aroface.errors import InputError
from aroface.models.prelu import fixed_slopes
from aroface.models.statistics import frozen_statistics, running_statistics
from aroface.robustness.options import AdversaryOptions
from aroface.robustness.warp import BLACK, Similarity, landmark_displacement, limit_displacement, warp

Loss = Callable[[Tensor, Tensor], Tensor]
"""From warped images (n, 3, H, W) and the rows int64 (n,) of the batch that they show to a scalar loss.

It runs backbone and classifier in training mode. Under fp16 it should multiply by the GradScaler's factor: only the
gradient's signs are used, and unscaled ones underflow to zero. What it runs it may run under an autocast of its own.
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
    """Warps a part of each batch, in whatever training loop.

    Its only state is a generator of random numbers, and only where none is passed in.

    Args:
        options: the name of a profile, ``clean`` or ``official``, or :class:`AdversaryOptions`.
        black: what black is in the images, by which their outside is filled: a number or one for each channel. -1 for
            images in [-1, 1], 0 for those in [0, 1], -mean / sd for standardised ones.
        changes: options that differ from the profile's, as in ``AlignmentAdversary("clean", steps=2)``.

    Attributes:
        generator: what :meth:`__call__` draws from where it is given none: None until it is first needed, then a
            generator on the CPU, seeded by one draw of PyTorch's global generator plus the rank of the process where
            ``torch.distributed`` is initialised. So ``torch.manual_seed`` decides it, and ranks that are seeded alike
            draw unlike warps. A training that resumes bit for bit saves and sets its state.

    Raises:
        InputError: an unknown profile or option, or an option of the wrong type or range.
    """

    def __init__(
        self, options: AdversaryOptions | str = "clean", *, black: float | Sequence[float] = BLACK, **changes: Any
    ) -> None:
        self.options = (
            AdversaryOptions.profile(options, **changes) if isinstance(options, str) else replace(options, **changes)
        )
        self.black = black
        self.generator: torch.Generator | None = None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> AlignmentAdversary:
        """The adversary that a recipe describes; see :meth:`AdversaryOptions.from_mapping`."""
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
        """Replace a part of a batch by warped images, for a training loop of one's own.

        No parameter's ``.grad`` is touched, and under the profile ``clean`` no running statistics of batch norm.

        Args:
            images: floating (B, C, H, W), H = W, of any normalisation; see ``black``.
            labels: whatever the loss needs of each image, in rows: (B, ...) of any type, on the images' device.
            loss: from images (n, C, H, W) and their labels to a scalar: what the training minimises, in training mode.
                Mixed precision is its own affair: it enters autocast itself, or the caller has. Under fp16 it should
                return ``scaler.scale(loss)``, for tiny gradients underflow to zero and only their signs matter here. It
                may call a DistributedDataParallel, whose gradients are not synchronised meanwhile, or the module in it.
            model: the module whose batch norm is kept still where the options say so, bare or in a
                DistributedDataParallel; in one without ``static_graph``, under which ranks drift apart silently.
            generator: source of all draws; :attr:`generator` where None.
            strength: factor of the warps' distance from the identity, 0 to 1, for a warm-up.

        Returns:
            B images, clean ones first, and their labels.

        Raises:
            InputError: images or labels of another shape, type or device, or a model with a static graph.
        """
        if generator is None:
            generator = self.generator = self.generator or _seeded_by_torch()
        mixed = self.augment(
            images, labels, lambda warped, rows: loss(warped, labels[rows]), model, generator, strength=strength
        )
        return mixed.images, mixed.labels

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
        """What :meth:`__call__` does, told in full.

        Args:
            images: as there.
            labels: as there.
            loss: the training loss; see :data:`Loss`. Called once per ascent step, and only for kind ``gradient``.
            backbone: the ``model`` there.
            generator: source of all draws, on any device; the draws do not depend on the device of ``images``.
            strength: factor of the warps' distance from the identity, 0 to 1, for a warm-up.

        Returns:
            B images with their labels, and how some of them were warped.

        Raises:
            InputError: as there.
        """
        _check(images, labels, backbone)
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
            images=self._warp(images[used], end),
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
        factors = (options.step_scale, options.step_theta, options.step_shift)
        sizes = strength * _normal((3,), options.step_mean, options.step_sd, generator, images)
        start = self._start(len(images), generator, images, strength)
        coin = _coin_signs(len(images), generator, images) if options.kind == "random" else None
        now = start
        with _undisturbed(backbone, options):
            for _ in range(options.steps):
                signs = coin or self._gradient_signs(images, rows, now, loss)
                moved = Similarity(
                    *(
                        part + factor * size * sign
                        for part, factor, size, sign in zip(now, factors, sizes, signs, strict=True)
                    )
                )
                now = _clip(moved, start, released=options.clip == "released")
                if options.landmark_budget_px is not None:
                    now = limit_displacement(now, options.landmark_budget_px, images.shape[-1], options.fill)
        return start, now

    def _start(self, count: int, generator: torch.Generator, like: Tensor, strength: float) -> Similarity:
        options = self.options
        draw = _normal if options.start == "normal" else _uniform
        return Similarity(
            1 + strength * draw((count,), 0.0, options.start_sd_scale, generator, like),
            strength * draw((count,), 0.0, options.start_sd_theta, generator, like),
            strength * draw((count, 2), 0.0, options.start_sd_shift, generator, like),
        )

    def _gradient_signs(self, images: Tensor, rows: Tensor, warps: Similarity, loss: Loss) -> Similarity:
        """The signs of the loss's gradient towards each parameter of each warp; 0 where it is not a number."""
        leaves = Similarity(*(part.detach().requires_grad_() for part in warps))
        with torch.enable_grad():
            warped = self._warp(images.detach(), leaves)
            with _precision(self.options.precision, images.device):
                value = loss(warped, rows)
        gradients = torch.autograd.grad(value, leaves)
        return Similarity(*(gradient.nan_to_num().sign() for gradient in gradients))

    def _warp(self, images: Tensor, warps: Similarity) -> Tensor:
        black = self.black if isinstance(self.black, int | float) else images.new_tensor(self.black).view(-1, 1, 1)
        return warp(images, *warps, fill=self.options.fill, black=black)


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


def _check(images: Tensor, labels: Tensor, model: nn.Module) -> None:
    if images.ndim != 4 or images.shape[2] != images.shape[3] or not images.is_floating_point():
        raise InputError(
            f"images are {images.dtype} {tuple(images.shape)}", record="adversary", expected="floating (B, C, H, H)"
        )
    if labels.shape[:1] != images.shape[:1]:
        raise InputError(f"labels are {tuple(labels.shape)}", record="adversary", expected=f"{len(images)} rows")
    if labels.device != images.device:
        raise InputError(
            f"labels are on {labels.device}, images on {images.device}",
            record="adversary",
            expected="labels on the images' device",
            remedy="labels.to(images.device)",
        )
    if isinstance(model, DistributedDataParallel) and model.static_graph:
        raise InputError(
            "the model is a DistributedDataParallel with static_graph",
            record="adversary",
            expected="one without",
            remedy="with a second gradient in each step its ranks would drift apart silently",
        )


@contextmanager
def _undisturbed(model: nn.Module, options: AdversaryOptions) -> Iterator[None]:
    """Keep gradients unsynchronised, slopes out of them and batch norm's statistics as the options want them."""
    keep = running_statistics if options.statistics == "running" else frozen_statistics
    with (
        model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext(),
        nullcontext() if options.update_batch_norm else keep(model),
        fixed_slopes(model),
    ):
        yield


def _precision(name: str, device: torch.device) -> AbstractContextManager[object]:
    """What the loss of the attack runs under."""
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
    return _place(mean + sd * torch.randn(shape, generator=generator, device=generator.device), like)


def _uniform(shape: tuple[int, ...], mean: float, sd: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Uniform draws of the same mean and standard deviation."""
    sides = 2 * torch.rand(shape, generator=generator, device=generator.device) - 1
    return _place(mean + math.sqrt(3) * sd * sides, like)


def _place(draws: Tensor, like: Tensor) -> Tensor:
    """Onto the device of ``like`` and to its type, but no less than float32, for a warp is a matter of sub-pixels."""
    return draws.to(like.device, torch.promote_types(like.dtype, torch.float32))
