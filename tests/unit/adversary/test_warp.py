import itertools
import math

import pytest
import torch

from aroface.adversary.warp import Similarity, landmark_displacement, limit_displacement, warp
from aroface.faces.geometry import TEMPLATE

FILLS = ["pad", "exact"]


def _same(count, scale=1.0, theta=0.0, shift=(0.0, 0.0)):
    return Similarity(
        torch.full((count,), scale), torch.full((count,), theta), torch.tensor(shift).expand(count, 2).clone()
    )


def _images(count=2, size=24, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _corners():
    signs = torch.tensor(list(itertools.product([-0.1, 0.1], repeat=4)))
    return Similarity(1 + signs[:, 0], signs[:, 1], signs[:, 2:])


def _dot(size, x, y):
    """A smooth white dot on black."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (2 * torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8) - 1).expand(1, 3, size, size)


def _centre(image):
    """Where the dot is: the mean of x and y weighted by brightness."""
    weight = (image[0, 0] + 1).double()
    axis = torch.arange(image.shape[-1]).double()
    return float((weight.sum(0) * axis).sum() / weight.sum()), float((weight.sum(1) * axis).sum() / weight.sum())


def test_the_exact_identity_returns_the_image():
    images = _images()
    torch.testing.assert_close(warp(images, *_same(2), fill="exact"), images, atol=1e-5, rtol=0)


def test_the_padded_identity_shrinks_by_114_to_112_and_moves_landmarks_a_third_to_seven_tenths_of_a_pixel():
    moved = landmark_displacement(_same(1), 112, "pad")
    assert float(moved.min()) == pytest.approx(0.29, abs=0.02)
    assert float(moved.max()) == pytest.approx(0.70, abs=0.02)
    x, _ = _centre(warp(_dot(112, 90.0, 55.5), *_same(1), fill="pad"))
    assert x - 55.5 == pytest.approx((90 - 55.5) * 112 / 114, abs=0.02)


def test_the_exact_identity_moves_no_landmark():
    assert float(landmark_displacement(_same(1), 112, "exact").max()) < 1e-4


@pytest.mark.parametrize("fill", FILLS)
def test_scale_above_one_zooms_out(fill):
    x, y = _centre(warp(_dot(112, 80.0, 70.0), *_same(1, scale=1.25), fill=fill))
    shrink = 1 if fill == "exact" else 112 / 114
    assert (x - 55.5) / (80 - 55.5) == pytest.approx(0.8 * shrink, abs=2e-3)
    assert (y - 55.5) / (70 - 55.5) == pytest.approx(0.8 * shrink, abs=2e-3)


def test_shift_is_in_halves_of_the_image_and_moves_the_content_against_it():
    x, y = _centre(warp(_dot(112, 60.0, 50.0), *_same(1, shift=(0.25, -0.125)), fill="exact"))
    assert (x - 60, y - 50) == pytest.approx((-14, 7), abs=1e-3)


@pytest.mark.parametrize("fill", FILLS)
def test_outside_is_black(fill):
    warped = warp(torch.ones(1, 3, 24, 24), *_same(1, scale=2.0), fill=fill)
    assert torch.equal(warped[..., :4, :], torch.full((1, 3, 4, 24), -1.0))
    assert float(warped[..., 12, 12].min()) == pytest.approx(1)


MEAN, SD = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    ("normalise", "black"),
    [(lambda pixels: pixels, 0.0), (lambda pixels: (pixels - MEAN) / SD, -MEAN / SD)],
    ids=["0 to 1", "standardised"],
)
def test_black_is_what_the_normalisation_makes_of_it(fill, normalise, black):
    pixels = _images() / 2 + 0.5
    warps = _same(2, 1.3, 0.1, (0.05, -0.1))
    expected = normalise(warp(pixels * 2 - 1, *warps, fill=fill) / 2 + 0.5)
    torch.testing.assert_close(warp(normalise(pixels), *warps, fill=fill, black=black), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_type_and_memory_format_are_kept(fill, layout):
    images, warps = _images(), _same(2, 1.05, 0.03, (0.02, -0.04))
    expected = warp(images, *warps, fill=fill)
    for kind, off in ((torch.float32, 0.0), (torch.bfloat16, 0.02)):
        warped = warp(images.to(kind, memory_format=layout), *warps, fill=fill)
        assert warped.dtype == kind
        assert warped.is_contiguous(memory_format=layout)
        torch.testing.assert_close(warped.float(), expected, atol=off, rtol=0)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("warps", [_same(1, 1.1, 0.1, (0.1, -0.1)), _same(1, 0.9, -0.1, (0.1, 0.1))])
def test_a_landmark_goes_where_the_displacement_says(fill, warps):
    told = landmark_displacement(warps, 112, fill)[0]
    for landmark, distance in zip(TEMPLATE.tolist(), told.tolist(), strict=True):
        x, y = _centre(warp(_dot(112, *landmark), *warps, fill=fill))
        assert math.hypot(x - landmark[0], y - landmark[1]) == pytest.approx(distance, abs=0.03)


def test_the_sixteen_corners_move_landmarks_by_5_to_11_pixels_on_average():
    moved = landmark_displacement(_corners(), 112, "pad")
    means = moved.mean(1)
    assert float(means.min()) == pytest.approx(5.4, abs=0.05)
    assert float(means.double().quantile(0.5)) == pytest.approx(8.7, abs=0.05)
    assert float(means.max()) == pytest.approx(11.3, abs=0.05)
    assert float(moved.max()) == pytest.approx(14.1, abs=0.05)


def test_displacement_grows_with_the_image():
    torch.testing.assert_close(
        landmark_displacement(_corners(), 224, "exact"),
        2 * landmark_displacement(_corners(), 112, "exact"),
        rtol=0.02,
        atol=0,
    )


@pytest.mark.parametrize("fill", FILLS)
def test_gradients_reach_every_parameter(fill):
    inputs = (_images(size=9), *_same(2, 1.05, 0.03, (0.02, -0.04)))
    leaves = tuple(part.double().requires_grad_() for part in inputs)
    assert torch.autograd.gradcheck(lambda *parts: warp(*parts, fill=fill), leaves, atol=1e-4)


def test_the_callers_autocast_does_not_reach_the_pixels():
    warps = _same(2, 1.05, 0.03, (0.02, -0.04))
    with torch.autocast("cpu", torch.bfloat16):
        warped = warp(_images(), *warps, fill="pad")
    assert torch.equal(warped, warp(_images(), *warps, fill="pad"))


@pytest.mark.parametrize("fill", FILLS)
def test_a_budget_is_used_up_and_not_exceeded(fill):
    limited = limit_displacement(_corners(), 4.0, 112, fill)
    worst = landmark_displacement(limited, 112, fill).amax(1)
    assert (worst <= 4.0).all()
    assert (worst > 3.99).all()


def test_a_budget_keeps_the_direction():
    corners = _corners()
    limited = limit_displacement(corners, 4.0, 112, "exact")
    assert torch.equal((limited.scale - 1).sign(), (corners.scale - 1).sign())
    torch.testing.assert_close(limited.theta / corners.theta, (limited.scale - 1) / (corners.scale - 1))
    torch.testing.assert_close(limited.shift[:, 0] / corners.shift[:, 0], limited.theta / corners.theta)


def test_warps_within_the_budget_stay_as_they_are():
    corners = _corners()
    limited = limit_displacement(corners, 10.0, 112, "exact")
    inside = landmark_displacement(corners, 112, "exact").amax(1) <= 10
    assert 0 < int(inside.sum()) < 16
    assert torch.equal(limited.scale[inside], corners.scale[inside])
    assert torch.equal(limited.shift[inside], corners.shift[inside])
