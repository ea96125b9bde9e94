from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from aroface.faces import augment
from aroface.faces.augment import INTERPOLATIONS, LowQualityOptions, draw_low_quality, low_quality

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CV2 = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
NOTHING = LowQualityOptions(crop=0, resolution=0, photometric=0)
ALWAYS = LowQualityOptions(crop=1, resolution=1, photometric=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, height: int = 112, width: int = 112) -> np.ndarray:
    """Coarse and fine detail, with black and white in it: uint8 (N, H, W, 3)."""
    rng = np.random.default_rng(5)
    coarse = rng.normal(128, 70, (n, 8, 8, 3)).astype(np.float32)
    smooth = np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in coarse])
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def lose_resolution(image: np.ndarray, side: int, down: int, up: int) -> np.ndarray:
    """One image (H, W, 3) of float32 in [0, 1] or uint8, by OpenCV."""
    down, up = CV2[INTERPOLATIONS[down]], CV2[INTERPOLATIONS[up]]
    top = 255 if image.dtype == np.uint8 else 1
    small = cv2.resize(image, (side, side), interpolation=down).clip(0, top)
    return cv2.resize(small, image.shape[1::-1], interpolation=up).clip(0, top)


def jitter(image: np.ndarray, factors: list[float], order: list[int]) -> np.ndarray:
    """One uint8 image, by PIL: what torchvision's ``adjust_*`` do to a PIL image."""
    picture = Image.fromarray(image)
    enhancers = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
    for which in order:
        picture = enhancers[which](picture).enhance(factors[which])
    return np.asarray(picture)


def choose_box(areas, ratios, corners, height, width) -> tuple[int, int, int, int]:
    """One crop as torchvision's RandomResizedCrop chooses it, from given uniform numbers."""
    for u, v in zip(areas, ratios, strict=True):
        area = height * width * (0.2 + 0.8 * u)
        ratio = math.exp(math.log(3 / 4) + v * (math.log(4 / 3) - math.log(3 / 4)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(corners[0] * (height - h + 1)), int(corners[1] * (width - w + 1)), h, w
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("side", [1, 22, 37, 56, 84, 111, 112])
@pytest.mark.parametrize("kind", range(5), ids=INTERPOLATIONS)
def test_either_way_resizes_as_opencv_does(kind: int, side: int):
    image = pictures(1)[0].astype(np.float32) / 255
    for before, after in ((112, side), (side, 112)):
        source = cv2.resize(image, (before, before), interpolation=cv2.INTER_AREA)
        matrix = augment.weights(kind, before, after)
        ours = np.einsum("yi,ijc,xj->yxc", matrix, source, matrix)
        theirs = cv2.resize(source, (after, after), interpolation=CV2[INTERPOLATIONS[kind]])
        assert np.abs(ours - theirs).max() < 2e-5, (before, after)


@pytest.mark.parametrize("shape", [(112, 112), (96, 112)])
def test_a_loss_of_resolution_is_the_one_of_each_image(shape: tuple[int, int]):
    pairs = [(down, up) for down in range(5) for up in range(5)]
    sides = np.random.default_rng(0).integers(19, shape[0], len(pairs))
    images = pictures(len(pairs), *shape)
    unit = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    down, up = (torch.tensor(kinds) for kinds in zip(*pairs, strict=True))
    result = augment.lose_resolution(unit, torch.from_numpy(sides), down, up).permute(0, 2, 3, 1).numpy()
    assert result.min() >= 0 and result.max() <= 1
    for image, side, (d, u), ours in zip(images, sides.tolist(), pairs, result, strict=True):
        exact = lose_resolution(image.astype(np.float32) / 255, side, d, u)
        assert np.abs(ours - exact).max() < 1e-4, (side, d, u)
        rounded = lose_resolution(image, side, d, u)
        assert np.abs(255 * ours - rounded).max() < 3.5, (side, d, u)
        assert np.abs(255 * ours - rounded).mean() < 0.5, (side, d, u)


def test_jitter_is_the_one_of_each_image_within_the_rounding():
    images = pictures(24)
    draw = draw_low_quality(24, 112, 112, generator(3), LowQualityOptions())
    assert len({tuple(order) for order in draw.order.tolist()}) == 6
    unit = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    result = augment.jitter(unit, draw.factors, draw.order).permute(0, 2, 3, 1).numpy()
    assert result.min() >= 0 and result.max() <= 1
    for image, factors, order, ours in zip(images, draw.factors.tolist(), draw.order.tolist(), result, strict=True):
        difference = 255 * ours - jitter(image, factors, order)
        assert np.abs(difference).max() < 6 and np.abs(difference).mean() < 2  # PIL cuts off digits three times


@pytest.mark.parametrize("which", range(3), ids=["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.5, 0.83, 1.0, 1.4])
def test_each_kind_of_jitter_alone_is_within_a_level_of_pil(which: int, factor: float):
    image = pictures(1)
    factors = [1.0, 1.0, 1.0]
    factors[which] = factor
    unit = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255
    ours = augment.jitter(unit, torch.tensor([factors]), torch.tensor([[0, 1, 2]]))
    assert np.abs(255 * ours.permute(0, 2, 3, 1).numpy() - jitter(image[0], factors, [0, 1, 2])).max() < 1.51


def test_the_released_codes_grey_is_that_of_exchanged_channels():
    unit = torch.rand(2, 3, 8, 8, generator=generator())
    factors, order = torch.tensor([[1.1, 0.6, 1.4]] * 2), torch.tensor([[2, 1, 0], [0, 1, 2]])
    exchanged = augment.jitter(unit.flip(1), factors, order, "rgb").flip(1)
    assert torch.allclose(augment.jitter(unit, factors, order, "bgr"), exchanged, atol=1e-6)
    assert not torch.allclose(augment.jitter(unit, factors, order, "rgb"), exchanged, atol=1e-2)


@pytest.mark.parametrize("shape", [(112, 112), (60, 112), (112, 60)])
def test_crops_are_chosen_as_torchvision_chooses_them(shape: tuple[int, int]):
    rng = np.random.default_rng(1)
    areas, ratios, corners = rng.random((300, 10)), rng.random((300, 10)), rng.random((300, 2))
    areas[:20] = 0.999  # with ratios far from 1, no attempt fits
    ratios[:20] = 0.001
    boxes = augment._boxes(areas, ratios, corners, *shape, LowQualityOptions())
    for box, *numbers in zip(boxes, areas, ratios, corners, strict=True):
        assert tuple(box) == choose_box(*numbers, *shape)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_crop_leaves_the_box_and_blackens_the_rest(layout: str, dtype: torch.dtype):
    images = torch.from_numpy(pictures(12)).clamp(min=1)
    options = LowQualityOptions(crop=1, resolution=0, photometric=0)
    draw = draw_low_quality(12, 112, 112, generator(), options)
    expected = torch.zeros_like(images)
    for image, (top, left, height, width), out in zip(images, draw.boxes.tolist(), expected, strict=True):
        box = slice(top, top + height), slice(left, left + width)
        out[box] = image[box]
    if dtype != torch.uint8:
        images, expected = (values.float() / 127.5 - 1 for values in (images, expected))
    if layout == "NCHW":
        images, expected = (values.permute(0, 3, 1, 2).contiguous() for values in (images, expected))
    assert torch.equal(low_quality(images, generator(), options), expected)


def test_the_three_follow_each_other():
    """All of it for whole images: each against OpenCV and PIL with the drawn numbers."""
    images = pictures(16)
    draw = draw_low_quality(16, 112, 112, generator(9), ALWAYS)
    result = low_quality(torch.from_numpy(images), generator(9), ALWAYS).numpy()
    for i, image in enumerate(images):
        top, left, height, width = draw.boxes[i].tolist()
        cropped = np.zeros_like(image)
        cropped[top : top + height, left : left + width] = image[top : top + height, left : left + width]
        small = lose_resolution(cropped, int(draw.sides[i]), int(draw.down[i]), int(draw.up[i]))
        expected = jitter(small, draw.factors[i].tolist(), draw.order[i].tolist())
        assert np.abs(result[i].astype(int) - expected).mean() < 2.5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "channels_last"])
@pytest.mark.parametrize("device", DEVICES)
def test_type_layout_and_range_stay_and_bytes_and_floats_agree(dtype: torch.dtype, layout: str, device: str):
    images = torch.from_numpy(pictures(20)).to(device)
    as_bytes = low_quality(images, generator(1), ALWAYS)
    given = images if dtype == torch.uint8 else (images.to(torch.float64) / 127.5 - 1).to(dtype)
    if layout != "NHWC":
        given = given.permute(0, 3, 1, 2)
        given = given.contiguous() if layout == "NCHW" else given
    before = given.clone()
    result = low_quality(given, generator(1), ALWAYS)
    assert torch.equal(given, before)
    assert (result.dtype, result.shape, result.stride()) == (given.dtype, given.shape, given.stride())
    result = result if layout == "NHWC" else result.permute(0, 2, 3, 1)
    if dtype == torch.uint8:
        assert torch.equal(result, as_bytes)
    else:
        assert result.min() >= -1 and result.max() <= 1
        difference = (result.double() + 1) * 127.5 - as_bytes
        assert difference.abs().max() < 2.5 and difference.abs().mean() < 0.5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_nothing_happens_at_probability_zero_and_to_images_that_are_not_drawn(dtype: torch.dtype):
    images = torch.from_numpy(pictures(64)).to(dtype)
    images = images if dtype == torch.uint8 else images / 127.5 - 1
    result = low_quality(images, generator(), NOTHING)
    assert torch.equal(result, images) and result.data_ptr() != images.data_ptr()
    draw = draw_low_quality(64, 112, 112, generator(), LowQualityOptions())
    drawn = draw.crop | draw.resolution | draw.photometric
    changed = (low_quality(images, generator()) != images).flatten(1).any(1)
    assert torch.equal(changed, drawn) and 0 < drawn.sum() < 64


@pytest.mark.parametrize("device", DEVICES)
def test_the_draw_is_the_generators_alone(device: str):
    images = torch.from_numpy(pictures(32)).to(device)
    one, other = generator(4), generator(4)
    result = low_quality(images, one)
    assert torch.equal(result, low_quality(images, generator(4)))
    assert not torch.equal(result, low_quality(images, generator(5)))
    low_quality(images, other, NOTHING)
    assert torch.equal(one.get_state(), other.get_state())
    difference = result.cpu().int() - low_quality(images.cpu(), generator(4)).int()
    assert difference.abs().max() <= 1


def test_draws_have_adafaces_distributions():
    n = 20_000
    draw = draw_low_quality(n, 112, 112, generator(), LowQualityOptions())
    for happens in (draw.crop, draw.resolution, draw.photometric):
        assert abs(happens.double().mean() - 0.2) < 0.01
    together = (draw.crop & draw.resolution & draw.photometric).double().mean()
    assert abs(together - 0.008) < 0.003
    assert (draw.sides.min(), draw.sides.max()) == (22, 111)
    assert abs(draw.sides.double().mean() + 0.5 - 0.6 * 112) < 0.7
    for kinds in (draw.down, draw.up):
        assert np.abs(np.bincount(kinds, minlength=5) / n - 0.2).max() < 0.015
    assert abs(np.mean(draw.down.numpy() == draw.up.numpy()) - 0.2) < 0.015
    assert draw.factors.min() >= 0.5 and draw.factors.max() <= 1.5
    assert (draw.factors.mean(0) - 1).abs().max() < 0.01
    assert (draw.order.sort(1).values == torch.arange(3)).all()
    top, left, height, width = draw.boxes.unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 112).all() and (left + width <= 112).all()
    area, ratio = (height * width).double() / 112**2, width.double() / height
    assert area.min() > 0.19 and area.max() > 0.95 and 0.5 < area.mean() < 0.6
    assert ratio.min() > 0.73 and ratio.max() < 1.37  # of whole pixels


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 112, 112), r"shape \(2, 112, 112\)"),
        (torch.zeros(2, 112, 112, 4), r"shape \(2, 112, 112, 4\)"),
        (torch.zeros(2, 3, 112, 3), "expected"),
        (torch.zeros(2, 3, 112, 112, dtype=torch.int64), "type torch.int64"),
    ],
)
def test_other_tensors_are_refused(images: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        low_quality(images, generator())
