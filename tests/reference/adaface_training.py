"""The training step of AdaFace's code, transcribed as plainly as it goes.

One process plays all of them: each has a loss over its own images, with statistics of its own norms, and
DistributedDataParallel averages the gradients, having given the first one's buffers to all. The network is AdaFace's IR
with insightface's names for its parameters. Nothing here is taken from the package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from tests.reference.official_training import StateDict, batch_norm, is_buffer
from torch import Tensor

ABSENT = ("features.weight", "features.bias", "layer1.0.downsample.")
"""Of an IResNet, what AdaFace's network does not have."""


def ir(state: StateDict, images: Tensor, mask: Tensor, *, stem_stride: int, strides: Sequence[int]) -> Tensor:
    """Features of images: ``mask`` is 1 where dropout keeps a value of the last map."""
    maps = F.conv2d(images, state["conv1.weight"], stride=stem_stride, padding=1)
    maps = F.prelu(batch_norm(state, "bn1", maps), state["prelu.weight"])
    for stage, stride in enumerate(strides, 1):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in state:
            name, step = f"layer{stage}.{block}", stride if block == 0 else 1
            first = state[f"{name}.conv1.weight"]
            inner = F.conv2d(batch_norm(state, f"{name}.bn1", maps), first, padding=1)
            inner = F.prelu(batch_norm(state, f"{name}.bn2", inner), state[f"{name}.prelu.weight"])
            inner = F.conv2d(inner, state[f"{name}.conv2.weight"], stride=step, padding=1)
            inner = batch_norm(state, f"{name}.bn3", inner)
            if first.shape[0] == first.shape[1]:
                maps = F.max_pool2d(maps, 1, step)
            else:
                maps = F.conv2d(maps, state[f"{name}.downsample.0.weight"], stride=step)
                maps = batch_norm(state, f"{name}.downsample.1", maps)
            maps = inner + maps
            block += 1
    maps = batch_norm(state, "bn2", maps) * mask / 0.6
    flat = F.linear(maps.flatten(1), state["fc.weight"], state["fc.bias"])
    state["features.num_batches_tracked"] += 1
    return F.batch_norm(
        flat, state["features.running_mean"], state["features.running_var"], None, None, True, 0.1, 1e-5
    )


def adaface_loss(features: Tensor, kernel: Tensor, labels: Tensor, running: list[Tensor]) -> Tensor:
    """Mean loss of one process; ``running`` are mean and standard deviation of the norms, which it moves."""
    norms = torch.norm(features, 2, 1, True)
    cosines = ((features / norms) @ (kernel / torch.norm(kernel, 2, 1, True)).T).clamp(-1 + 1e-3, 1 - 1e-3)
    safe = norms.clamp(0.001, 100).detach()
    running[0] = 0.01 * safe.mean() + 0.99 * running[0]
    running[1] = 0.01 * safe.std() + 0.99 * running[1]
    scaler = ((safe - running[0]) / (running[1] + 1e-3) * 0.333).clamp(-1, 1)
    target = F.one_hot(labels, len(kernel)).to(features)
    angles = (cosines.acos() - 0.4 * scaler * target).clamp(1e-3, math.pi - 1e-3)
    logits = 64 * (angles.cos() - (0.4 + 0.4 * scaler) * target)
    return F.cross_entropy(logits, labels)


class AdaFaceTraining:
    """Network, classes, momentum and learning rate, from where they start.

    Args:
        state: of the network, by insightface's names.
        kernel: (classes, D).
        processes: how many there are.
        milestones: steps at which the learning rate of 0.1 is divided by ten.
        stem_stride: of the network.
        strides: of the network's stages.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        kernel: Tensor,
        processes: int,
        milestones: Sequence[int],
        stem_stride: int,
        strides: Sequence[int],
    ) -> None:
        self.parameters = {
            name: value.clone() for name, value in state.items() if not is_buffer(name) and not name.startswith(ABSENT)
        }
        self.buffers = [{name: value.clone() for name, value in state.items() if is_buffer(name)}] * processes
        self.running = [[kernel.new_tensor(20.0), kernel.new_tensor(100.0)]] * processes
        self.parameters["kernel"] = kernel.clone()
        self.momentum = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.milestones, self.stem_stride, self.strides, self.number = milestones, stem_stride, strides, 0

    def step(self, images: Sequence[Tensor], labels: Sequence[Tensor], masks: Sequence[Tensor]) -> float:
        """One step; the arguments have an entry for each process."""
        self.buffers = [{name: value.clone() for name, value in self.buffers[0].items()} for _ in images]
        self.running = [[*self.running[0]] for _ in images]
        trained = {name: value.requires_grad_() for name, value in self.parameters.items()}
        losses = []
        for own, running, image, label, mask in zip(self.buffers, self.running, images, labels, masks, strict=True):
            features = ir({**trained, **own}, image, mask, stem_stride=self.stem_stride, strides=self.strides)
            losses.append(adaface_loss(features, trained["kernel"], label, running))
        loss = torch.stack(losses).mean()
        gradients = torch.autograd.grad(loss, [*trained.values()])
        lr = 0.1 * 0.1 ** sum(self.number >= milestone for milestone in self.milestones)
        with torch.no_grad():
            for (name, value), gradient in zip(trained.items(), gradients, strict=True):
                is_norm = ".bn" in f".{name}" or "downsample.1" in name
                decayed = gradient if is_norm else gradient + 5e-4 * value
                self.momentum[name] = 0.9 * self.momentum[name] + decayed
                self.parameters[name] = value.detach() - lr * self.momentum[name]
        self.number += 1
        return float(loss.detach())
