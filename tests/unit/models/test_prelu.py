"""PReLU's own gradient against PyTorch's and against the formula in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aroface.adversary.alignment import AlignmentAdversary
from aroface.models import prelu
from aroface.models.prelu import PReLU, fixed_slopes
from aroface.models.registry import build

SHAPES = [(4, 6, 9, 7), (3, 64, 5, 5), (2, 1, 8, 8), (5, 7), (1, 300, 1, 1), (2, 3, 4)]


def backward(layer: nn.Module, maps: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    maps = maps.clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    out = layer(maps)
    out.backward(gradient)
    assert maps.grad is not None
    slopes = next(layer.parameters()).grad
    return out.detach(), maps.grad, None if slopes is None else slopes.clone()


def draw(shape: tuple[int, ...], layout: torch.memory_format) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
    maps[0, 0] = 0  # the edge belongs to the slope
    if len(shape) == 4:
        maps, gradient = (each.contiguous(memory_format=layout) for each in (maps, gradient))
    return maps, gradient, torch.rand(shape[1], generator=generator) - 0.3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("part", [1, 50, 65536])
def test_gradients_are_pytorchs_and_the_formulas(
    shape: tuple[int, ...], layout: torch.memory_format, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prelu, "_PART", part)
    maps, gradient, slopes = draw(shape, layout)
    ours, theirs = PReLU(shape[1]), nn.PReLU(shape[1])
    for layer in (ours, theirs):
        layer.load_state_dict({"weight": slopes})
    out, towards_maps, of_slopes = backward(ours, maps, gradient)
    expected = backward(theirs, maps, gradient)
    assert torch.equal(out, expected[0])
    assert torch.equal(towards_maps, expected[1])
    assert towards_maps.stride() == expected[1].stride()
    others = [axis for axis in range(len(shape)) if axis != 1]
    exact = (maps.double() * gradient.double() * (maps <= 0)).sum(others)
    torch.testing.assert_close(of_slopes, exact.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [-1.7, -0.3, 0.0, 0.25, 0.5, 0.97, 1.0, 1.9])
def test_fixed_slopes_get_no_gradient(slope: float, shape: tuple[int, ...], layout: torch.memory_format) -> None:
    maps, gradient, slopes = draw(shape, layout)
    layer, theirs = (kind(shape[1]).requires_grad_(False) for kind in (PReLU, nn.PReLU))
    for each in (layer, theirs):
        each.load_state_dict({"weight": torch.full_like(slopes, slope) + 0.01 * slopes})
    _, towards_maps, of_slopes = backward(layer, maps, gradient)
    assert of_slopes is None
    expected = backward(theirs, maps, gradient)[1]
    assert towards_maps.stride() == expected.stride()
    if abs(slope) < 0.5:
        assert torch.equal(towards_maps, expected)
    else:  # made from the other end: a last bit may differ
        torch.testing.assert_close(towards_maps, expected, rtol=2.5e-7, atol=0)


def test_fixed_slopes_are_as_before_afterwards() -> None:
    trained, frozen = PReLU(3), PReLU(3).requires_grad_(False)
    with pytest.raises(RuntimeError, match="inside"), fixed_slopes(nn.Sequential(trained, frozen)):
        assert not trained.weight.requires_grad
        raise RuntimeError("inside")
    assert trained.weight.requires_grad
    assert not frozen.weight.requires_grad


def test_an_attack_makes_no_gradient_of_the_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    gradients = prelu._gradients

    def watched(*args: Tensor, of_slopes: bool) -> tuple[Tensor, Tensor | None]:
        asked.append(of_slopes)
        return gradients(*args, of_slopes=of_slopes)

    monkeypatch.setattr(prelu, "_gradients", watched)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), PReLU(4))
    images, labels = torch.rand(8, 3, 16, 16), torch.zeros(8)
    adversary = AlignmentAdversary("clean", steps=2)
    images, _ = adversary(images, labels, lambda warped, _: network(warped).square().sum(), network)
    assert asked == [False, False]
    network(images).sum().backward()
    assert asked == [False, False, True]


def test_a_gradient_in_another_layout_than_its_maps() -> None:
    maps, gradient, _ = draw((4, 6, 9, 7), torch.channels_last)
    expected = backward(nn.PReLU(6), maps, gradient)[1]
    assert torch.equal(backward(PReLU(6), maps, gradient.contiguous())[1], expected)
    every_second = torch.zeros(4, 6, 9, 14)
    every_second[..., ::2] = gradient
    assert torch.equal(backward(PReLU(6), maps, every_second[..., ::2])[1], expected)


def test_in_bfloat16_under_autocast() -> None:
    maps, gradient, _ = draw((4, 6, 9, 7), torch.channels_last)
    results = []
    for layer in (PReLU(6), nn.PReLU(6)):
        with torch.autocast("cpu", torch.bfloat16):
            results.append(backward(layer, maps, gradient.bfloat16()))
    (out, towards_maps, of_slopes), expected = results
    assert out.dtype == expected[0].dtype == torch.bfloat16
    assert torch.equal(out, expected[0])
    assert torch.equal(towards_maps, expected[1])
    torch.testing.assert_close(of_slopes, expected[2], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("arch", ["mbf", "r18"])
def test_backbones_use_it(arch: str) -> None:
    found = [part for part in build(arch).modules() if isinstance(part, nn.PReLU)]
    assert found
    assert all(isinstance(part, PReLU) for part in found)
