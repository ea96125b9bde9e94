"""The warp and one whole step of the adversary against straightforward transcriptions of what they should do."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aroface.adversary.alignment import AlignmentAdversary
from aroface.adversary.options import AdversaryOptions
from aroface.adversary.warp import warp


def _naive_warp(image, scale, theta, shift, fill):
    """One image (C, H, W), pixel by pixel."""
    channels, height, width = image.shape
    pad = 1 if fill == "pad" else 0
    source = np.full((channels, height + 2 * pad, width + 2 * pad), -1.0)
    source[:, pad : height + pad, pad : width + pad] = image

    def pixel(row, column):
        if fill == "pad":
            return source[:, min(max(row, 0), height + 1), min(max(column, 0), width + 1)]
        inside = 0 <= row < height and 0 <= column < width
        return source[:, row, column] if inside else np.full(channels, -1.0)

    out = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            u, v = (2 * column + 1) / width - 1, (2 * row + 1) / height - 1
            x = scale * (math.cos(theta) * u - math.sin(theta) * v) + shift[0]
            y = scale * (math.sin(theta) * u + math.cos(theta) * v) + shift[1]
            x, y = ((x + 1) * source.shape[2] - 1) / 2, ((y + 1) * source.shape[1] - 1) / 2
            left, top = math.floor(x), math.floor(y)
            a, b = x - left, y - top
            upper = (1 - a) * pixel(top, left) + a * pixel(top, left + 1)
            lower = (1 - a) * pixel(top + 1, left) + a * pixel(top + 1, left + 1)
            out[:, row, column] = (1 - b) * upper + b * lower
    return out


@pytest.mark.parametrize("fill", ["pad", "exact"])
def test_the_warp_pixel_by_pixel(fill):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 2, 12, 12, generator=generator, dtype=torch.float64) * 2 - 1
    scale = torch.tensor([1.1, 0.9, 1.4, 1.0], dtype=torch.float64)
    theta = torch.tensor([0.1, -0.3, 0.7, 0.0], dtype=torch.float64)
    shift = torch.tensor([[0.1, -0.1], [0.0, 0.2], [-0.3, 0.3], [0.0, 0.0]], dtype=torch.float64)
    warped = warp(images, scale, theta, shift, fill=fill)
    for index in range(4):
        expected = _naive_warp(
            images[index].numpy(), float(scale[index]), float(theta[index]), shift[index].tolist(), fill
        )
        np.testing.assert_allclose(warped[index].numpy(), expected, atol=1e-9)


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=3), nn.BatchNorm2d(6), nn.PReLU(6), nn.Flatten(), nn.Linear(600, 8), nn.BatchNorm1d(8)
    ).train()


def _released_warp(images, scale, theta, shift):
    matrices = torch.stack(
        [
            torch.stack([scale * torch.cos(theta), -scale * torch.sin(theta), shift[:, 0]], dim=1),
            torch.stack([scale * torch.sin(theta), scale * torch.cos(theta), shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(matrices, images.size(), align_corners=False)
    padded = F.pad(images, (1, 1, 1, 1), value=-1)
    return F.grid_sample(padded, grid, padding_mode="border", align_corners=False)


def _released_step(images, labels, loss, generator, steps):
    """One step as released, in the order in which this project draws; returns images and labels to train on."""
    batch = len(images)
    kept = torch.randperm(batch, generator=generator)[: int(0.75 * batch)]
    changed = torch.randperm(batch, generator=generator)[: batch - int(0.75 * batch)]
    eta = 0.1 + 0.001 * torch.randn(3, generator=generator)
    scale = first_scale = 1 + 0.01 * torch.randn(batch, generator=generator)
    theta = first_theta = 0.01 * torch.randn(batch, generator=generator)
    shift = first_shift = 0.01 * torch.randn(batch, 2, generator=generator)
    for _ in range(steps):
        scale, theta, shift = (part.clone().requires_grad_() for part in (scale, theta, shift))
        loss(_released_warp(images, scale, theta, shift), labels).backward()
        scale = (scale + eta[0] * scale.grad.sign()).detach()
        theta = (theta + eta[1] * theta.grad.sign()).detach()
        shift = (shift + eta[2] * shift.grad.sign()).detach()
        scale = torch.min(torch.max(scale, first_scale - 0.5), first_scale + 1.5)
        theta = torch.min(torch.max(theta, first_theta - 0.8), first_theta + 0.8)
        shift = torch.min(torch.max(shift, first_shift - 0.3), (first_theta + 0.3)[:, None])
    warped = _released_warp(images, scale, theta, shift)
    return torch.cat([images[kept], warped[changed]]), torch.cat([labels[kept], labels[changed]])


@pytest.mark.parametrize("steps", [1, 6])
def test_an_official_step_is_the_released_one(steps):
    images = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    labels = torch.arange(20) % 8
    ours, theirs = _network(), _network()
    adversary = AlignmentAdversary(AdversaryOptions.profile("official", steps=steps))
    mixed = adversary.augment(
        images,
        labels,
        lambda warped, targets: F.cross_entropy(ours(warped), targets),
        ours,
        torch.Generator().manual_seed(7),
    )
    expected_images, expected_labels = _released_step(
        images,
        labels,
        lambda warped, targets: F.cross_entropy(theirs(warped), targets),
        torch.Generator().manual_seed(7),
        steps,
    )
    assert torch.equal(mixed.labels, expected_labels)
    torch.testing.assert_close(mixed.images, expected_images, atol=1e-5, rtol=0)
    for name, value in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), value)


def _sample(image, scale, theta, shift):
    """Method, steps 3 and 6, for one image (3, H, W) and scalars: its own matrix, grid and interpolation."""
    _, height, width = image.shape
    rows, columns = torch.meshgrid(torch.arange(height).to(image), torch.arange(width).to(image), indexing="ij")
    u, v = (2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1
    x = scale * torch.cos(theta) * u - scale * torch.sin(theta) * v + shift[0]
    y = scale * torch.sin(theta) * u + scale * torch.cos(theta) * v + shift[1]
    padded = torch.full((3, height + 2, width + 2), -1.0, dtype=image.dtype)
    padded[:, 1:-1, 1:-1] = image
    x = (((x + 1) * (width + 2) - 1) / 2).clamp(0, width + 1)
    y = (((y + 1) * (height + 2) - 1) / 2).clamp(0, height + 1)
    left, top = x.detach().floor().long(), y.detach().floor().long()
    right, bottom = (left + 1).clamp(max=width + 1), (top + 1).clamp(max=height + 1)
    a, b = x - left, y - top
    upper = padded[:, top, left] * (1 - a) + padded[:, top, right] * a
    lower = padded[:, bottom, left] * (1 - a) + padded[:, bottom, right] * a
    return upper * (1 - b) + lower * b


def _sign(gradient):
    return (gradient > 0).double() - (gradient < 0).double()


def _method_step(images, labels, draws, network, steps):
    """The six steps of the method, sample by sample, with the random draws given."""
    count = len(images)
    eta_scale, eta_theta, eta_shift = draws["eta"]
    starts = [(draws["scale"][i], draws["theta"][i], draws["shift"][i]) for i in range(count)]
    current = list(starts)
    for _ in range(steps):
        leaves = [tuple(part.clone().requires_grad_() for part in sample) for sample in current]
        warped = torch.stack([_sample(images[i], *leaves[i]) for i in range(count)])
        F.cross_entropy(network(warped), labels).backward()
        for i, (s, theta, t) in enumerate(leaves):
            first_s, first_theta, first_t = starts[i]
            s = s.detach() + eta_scale * _sign(s.grad)
            theta = theta.detach() + eta_theta * _sign(theta.grad)
            t = t.detach() + eta_shift * _sign(t.grad)
            s = min(max(s, first_s - 0.5), first_s + 1.5)
            theta = min(max(theta, first_theta - 0.8), first_theta + 0.8)
            t = torch.stack([min(max(t[axis], first_t[axis] - 0.3), first_theta + 0.3) for axis in (0, 1)])
            current[i] = (s, theta, t)
    clean = int(0.75 * count)
    chosen = [(images[row], labels[row]) for row in draws["first"][:clean].tolist()]
    changed = draws["second"][: count - clean].tolist()
    chosen += [(_sample(images[row], *current[row]), labels[row]) for row in changed]
    return torch.stack([image for image, _ in chosen]), torch.stack([label for _, label in chosen]), current


def _draws(count, generator):
    """In the order in which this project draws, and in float32 as it does."""
    first, second = (torch.randperm(count, generator=generator) for _ in range(2))
    eta = 0.1 + 0.001 * torch.randn(3, generator=generator)
    scale = 1 + (0.01 * torch.randn(count, generator=generator)).double()
    theta = 0.01 * torch.randn(count, generator=generator)
    shift = 0.01 * torch.randn(count, 2, generator=generator)
    named = {"eta": eta, "scale": scale, "theta": theta, "shift": shift}
    return {"first": first, "second": second} | {name: value.double() for name, value in named.items()}


@pytest.mark.parametrize("count", [21, 24])
@pytest.mark.parametrize("steps", [1, 3])
def test_an_official_step_is_the_methods_six_steps_sample_by_sample(steps, count):
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    labels = torch.arange(count) % 8
    ours, theirs = _network().double(), _network().double()
    mixed = AlignmentAdversary("official", steps=steps).augment(
        images,
        labels,
        lambda warped, targets: F.cross_entropy(ours(warped), targets),
        ours,
        torch.Generator().manual_seed(11),
    )
    draws = _draws(count, torch.Generator().manual_seed(11))
    expected, targets, current = _method_step(images, labels, draws, theirs, steps)
    assert torch.equal(mixed.labels, targets)
    torch.testing.assert_close(mixed.images, expected, atol=1e-10, rtol=0)
    for index, row in enumerate(mixed.warped.rows.tolist()):
        for here, there in zip(mixed.warped.warps, current[row], strict=True):
            torch.testing.assert_close(here[index], there, atol=1e-12, rtol=0)
    assert all(parameter.grad is None for parameter in ours.parameters())
    for name, value in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), value)
    at_the_bound = [bool((t == theta + 0.3).any()) for (_, _, t), theta in zip(current, draws["theta"], strict=True)]
    assert any(at_the_bound) is (steps == 3)


def test_a_clean_step_is_the_principled_one():
    images = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    labels = torch.arange(20) % 8
    network = _network()
    before = copy.deepcopy(network.state_dict())
    mixed = AlignmentAdversary(AdversaryOptions.profile("clean")).augment(
        images,
        labels,
        lambda warped, targets: F.cross_entropy(network(warped), targets),
        network,
        torch.Generator().manual_seed(7),
    )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert sorted(mixed.labels.tolist()) == sorted(labels.tolist())
    scale, theta, shift = mixed.warped.warps
    for index, row in enumerate(mixed.warped.rows.tolist()):
        expected = _naive_warp(
            images[row].double().numpy(), float(scale[index]), float(theta[index]), shift[index].tolist(), "exact"
        )
        np.testing.assert_allclose(mixed.warped.images[index].numpy(), expected, atol=1e-4)
