"""The training step of the ARoFace authors' code, transcribed as plainly as it goes, in whatever precision it is given.

One process plays all of them: the reduction of gradients by DistributedDataParallel and the sharded softmax of Partial
FC come to the gradient of the mean loss over the images of all processes. What each process has of its own are its
images, its draws and the running statistics of its batch norm.

Nothing here is taken from the package; parameters have insightface's names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

StateDict = dict[str, Tensor]
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass
class Draws:
    """Random draws of one step of one process: step sizes, starts, and the rows that are kept and warped."""

    steps: Tensor
    scale: Tensor
    theta: Tensor
    shift: Tensor
    kept: Tensor
    warped: Tensor


def is_buffer(name: str) -> bool:
    """Tell whether a name of a state dict is that of a running statistic."""
    return name.endswith(BUFFERS)


def batch_norm(state: StateDict, name: str, values: Tensor) -> Tensor:
    """Batch norm in training mode, with its running statistics."""
    state[f"{name}.num_batches_tracked"] += 1
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(values, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], True, 0.1, 1e-5)


def iresnet(
    state: StateDict, images: Tensor, *, stem_stride: int, strides: Sequence[int], fc_dtype: torch.dtype
) -> Tensor:
    """Features of images: insightface's network, whatever its depth."""
    maps = F.conv2d(images, state["conv1.weight"], stride=stem_stride, padding=1)
    maps = F.prelu(batch_norm(state, "bn1", maps), state["prelu.weight"])
    for stage, stride in enumerate(strides, 1):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in state:
            name, step = f"layer{stage}.{block}", stride if block == 0 else 1
            inner = F.conv2d(batch_norm(state, f"{name}.bn1", maps), state[f"{name}.conv1.weight"], padding=1)
            inner = F.prelu(batch_norm(state, f"{name}.bn2", inner), state[f"{name}.prelu.weight"])
            inner = F.conv2d(inner, state[f"{name}.conv2.weight"], stride=step, padding=1)
            inner = batch_norm(state, f"{name}.bn3", inner)
            if f"{name}.downsample.0.weight" in state:
                maps = F.conv2d(maps, state[f"{name}.downsample.0.weight"], stride=step)
                maps = batch_norm(state, f"{name}.downsample.1", maps)
            maps = inner + maps
            block += 1
    flat = batch_norm(state, "bn2", maps).flatten(1)
    with torch.autocast("cpu", enabled=False):
        return batch_norm(state, "features", F.linear(flat.to(fc_dtype), state["fc.weight"], state["fc.bias"]))


def margin_loss(features: Tensor, weight: Tensor, labels: Tensor, margin: str) -> Tensor:
    """Partial FC with all classes; ``arcface`` adds .5 to the angle without a gradient, ``cosface`` takes .4 off."""
    cosines = (F.normalize(features) @ F.normalize(weight).T).clamp(-1, 1)
    rows = torch.arange(len(labels))
    target = cosines[rows, labels]
    if margin == "arcface":
        margined = torch.cos(torch.arccos(target.detach()) + 0.5)
        changed = target + (margined - target.detach())
    else:
        changed = target - 0.4
    logits = cosines.index_put((rows, labels), changed)
    return F.cross_entropy(64 * logits, labels)


def warp(images: Tensor, scale: Tensor, theta: Tensor, shift: Tensor) -> Tensor:
    """The released warp: a pixel of black around the image, then the border repeated."""
    cosine, sine = torch.cos(theta), torch.sin(theta)
    first = torch.stack([scale * cosine, -scale * sine, shift[:, 0]], 1)
    second = torch.stack([scale * sine, scale * cosine, shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
    padded = F.pad(images, (1, 1, 1, 1), value=-1)
    return F.grid_sample(padded, grid, mode="bilinear", padding_mode="border", align_corners=False)


class OfficialTraining:
    """The whole training: network, classifier, momentum and learning rate.

    Args:
        state: of the network as it starts.
        weight: (classes, D) of the classifier as it starts.
        network: features from a state dict and images.
        margin: see :func:`margin_loss`.
        lr: learning rate at the start.
        steps: of the whole training.
        processes: how many there are.
        loss_scale: GradScaler's, of the loss that is trained on; the attack's is not scaled.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        weight: Tensor,
        network: Callable[[StateDict, Tensor], Tensor],
        margin: str,
        lr: float,
        steps: int,
        processes: int,
        loss_scale: float = 1.0,
    ) -> None:
        self.parameters = {name: value.clone() for name, value in state.items() if not is_buffer(name)}
        self.buffers = [
            {name: value.clone() for name, value in state.items() if is_buffer(name)} for _ in range(processes)
        ]
        self.weight, self.network, self.margin = weight.clone(), network, margin
        self.lr, self.steps, self.step_number = lr, steps, 0
        self.momentum = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.weight_momentum = torch.zeros_like(weight)
        self.loss_scale = loss_scale
        self.zero_signs: list[float] = []

    def step(self, images: Sequence[Tensor], labels: Sequence[Tensor], draws: Sequence[Draws]) -> float:
        """One step: attack, mix, train; the arguments have an entry for each process."""
        mixed_images, mixed_labels = self._mix(images, labels, draws)
        trained = {name: value.requires_grad_() for name, value in self.parameters.items() if name != "features.weight"}
        weight = self.weight.requires_grad_()
        features = [
            self.network({**self.parameters, **own}, each) for own, each in zip(self.buffers, mixed_images, strict=True)
        ]
        loss = margin_loss(torch.cat(features), weight, torch.cat(mixed_labels), self.margin)
        scaled = torch.autograd.grad(self.loss_scale * loss, [*trained.values(), weight])
        *found, of_weight = [gradient / self.loss_scale for gradient in scaled]
        gradients = dict(zip(trained, found, strict=True))
        length = torch.sqrt(sum((each**2).sum() for each in gradients.values()))
        clip = torch.clamp(5 / (length + 1e-6), max=1)
        lr = self.lr * (1 - self.step_number / self.steps)
        with torch.no_grad():
            for name, gradient in gradients.items():
                self.parameters[name] = self._update(
                    self.parameters[name].detach(), gradient * clip, self.momentum[name], lr
                )
            self.weight = self._update(weight.detach(), of_weight, self.weight_momentum, lr)
        self.step_number += 1
        return float(loss.detach())

    def _update(self, value: Tensor, gradient: Tensor, momentum: Tensor, lr: float) -> Tensor:
        momentum.mul_(0.9).add_(gradient + 5e-4 * value)
        return value - lr * momentum

    def _mix(
        self, images: Sequence[Tensor], labels: Sequence[Tensor], draws: Sequence[Draws]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Clean and warped images with their labels, by process."""
        starts = [(draw.scale, draw.theta, draw.shift) for draw in draws]
        leaves = [[part.clone().requires_grad_() for part in start] for start in starts]
        fixed = {name: value.detach() for name, value in self.parameters.items()}
        features = [
            self.network({**fixed, **own}, warp(each, *leaf))
            for own, each, leaf in zip(self.buffers, images, leaves, strict=True)
        ]
        loss = margin_loss(torch.cat(features), self.weight.detach(), torch.cat([*labels]), self.margin)
        found = torch.autograd.grad(loss, [part for leaf in leaves for part in leaf])
        self.zero_signs.append(float(sum((each == 0).sum() for each in found) / sum(each.numel() for each in found)))
        mixed_images, mixed_labels = [], []
        for number, draw in enumerate(draws):
            signs = [gradient.sign() for gradient in found[3 * number : 3 * number + 3]]
            parts = [part + eta * sign for part, eta, sign in zip(starts[number], draw.steps, signs, strict=True)]
            first_scale, first_theta, first_shift = starts[number]
            scale = torch.minimum(torch.maximum(parts[0], first_scale - 0.5), first_scale + 1.5)
            theta = torch.minimum(torch.maximum(parts[1], first_theta - 0.8), first_theta + 0.8)
            shift = torch.minimum(torch.maximum(parts[2], first_shift - 0.3), (first_theta + 0.3)[:, None])
            moved = warp(images[number], scale, theta, shift)
            mixed_images.append(torch.cat([images[number][draw.kept], moved[draw.warped]]))
            mixed_labels.append(torch.cat([labels[number][draw.kept], labels[number][draw.warped]]))
        return mixed_images, mixed_labels
