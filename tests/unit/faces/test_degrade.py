import numpy as np
import pytest

from aroface.errors import InputError
from aroface.faces.degrade import ALIGNMENT_ERRORS, AlignmentErrorModel, downsample, landmark_noise, surveillance
from aroface.faces.geometry import TEMPLATE, transform


def noise_images(count: int, height: int = 112, width: int = 112) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def test_downsample_leaves_full_resolution_alone_and_flat_images_flat() -> None:
    images = noise_images(2)
    np.testing.assert_array_equal(downsample(images, 112), images)
    flat = np.full((1, 112, 112, 3), 77, np.uint8)
    np.testing.assert_array_equal(downsample(flat, 16), flat)


def test_downsample_averages_areas_without_moving_them() -> None:
    image = np.zeros((1, 112, 112, 3), np.uint8)
    image[:, 32:48, 64:80] = 255
    small = downsample(image, 14)[0, ..., 0].astype(float)
    rows, columns = np.mgrid[:112, :112]
    np.testing.assert_allclose((small * rows).sum() / small.sum(), 39.5, atol=0.1)
    np.testing.assert_allclose((small * columns).sum() / small.sum(), 71.5, atol=0.1)


def test_each_image_has_its_resolution_and_detail_falls_with_it() -> None:
    resolution = np.repeat([64, 24, 14], 20)
    photo = np.kron(noise_images(1, 28, 28)[0], np.ones((4, 4, 1), np.uint8))
    images = np.repeat(photo[None], 60, axis=0)
    for degraded in (downsample(images, resolution), surveillance(images, resolution, np.random.default_rng(1))):
        steps = np.abs(np.diff(degraded.astype(float), axis=2)).mean(axis=(1, 2, 3))
        detail = steps.reshape(3, 20).mean(axis=1)
        assert detail[0] > 1.3 * detail[1] > 1.3 * detail[2]


def test_images_that_are_not_square_keep_their_shape() -> None:
    images = noise_images(2, 90, 60)
    assert downsample(images, 15).shape == images.shape
    assert surveillance(images, 15, np.random.default_rng(0)).shape == images.shape


def test_surveillance_is_a_function_of_its_stream() -> None:
    images = noise_images(3)
    once, again, other = (surveillance(images, 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_surveillance_neither_brightens_nor_moves_the_scene() -> None:
    images = np.full((200, 112, 112, 3), 40, np.uint8)
    images[:, 40:72, 40:72] = 200
    mean = surveillance(images, 16, np.random.default_rng(3)).astype(float).mean(axis=(0, 3))
    np.testing.assert_allclose(mean.mean(), images[0].mean(), atol=1.0)
    np.testing.assert_allclose(mean, mean[::-1, ::-1], atol=8)


@pytest.mark.parametrize("resolution", [0, 113, [20, 200]])
def test_impossible_resolutions_are_refused(resolution: object) -> None:
    with pytest.raises(InputError, match=r"1\.\.112"):
        downsample(noise_images(2), resolution)
    with pytest.raises(InputError, match=r"1\.\.112"):
        surveillance(noise_images(2), resolution, np.random.default_rng(0))


def test_alignment_errors_are_those_measured() -> None:
    model = ALIGNMENT_ERRORS["scrfd"]
    scale, degrees, shift = model.sds([112, 24, 14])
    np.testing.assert_allclose(scale, [0.0057, 0.0212, 0.0425])
    np.testing.assert_allclose(degrees, [0.36, 1.30, 2.33])
    np.testing.assert_allclose(shift, [0.0015, 0.0066, 0.0133])
    between = model.sds(np.sqrt(18 * 24))[1]
    np.testing.assert_allclose(between, [(1.82 + 1.30) / 2])
    np.testing.assert_allclose(model.sds([8, 200])[1], [2.33, 0.36])


@pytest.mark.parametrize("name", ["scrfd", "older"])
def test_drawn_alignment_errors_have_the_declared_spread(name: str) -> None:
    model = ALIGNMENT_ERRORS[name]
    matrices = model.sample(np.full(200_000, 18), np.random.default_rng(0))
    scale, degrees, shift = (float(sd[0]) for sd in model.sds(18))
    drawn_scale = np.log(np.hypot(matrices[:, 0, 0], matrices[:, 1, 0]))
    drawn_degrees = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    centre = transform(matrices, np.array([[55.5, 55.5]]))[:, 0] - 55.5
    for drawn, sd in ((drawn_scale, scale), (drawn_degrees, degrees), (centre[:, 0] / 112, shift)):
        assert abs(drawn.std() / sd - 1) < (0.02 if name == "scrfd" else 0.2)


def test_an_older_detector_fails_outright_at_times() -> None:
    far = {}
    for name, model in ALIGNMENT_ERRORS.items():
        drawn = model.sample(np.full(100_000, 18), np.random.default_rng(0))
        off = np.abs(transform(drawn, np.array([[55.5, 55.5]]))[:, 0, 0] - 55.5) / 112
        far[name] = (off > 5 * model.sds(18)[2][0]).mean()
    assert far["older"] > 1e-3 > 10 * far["scrfd"]


def test_faces_twice_as_large_are_off_by_twice_the_pixels() -> None:
    small, large = (ALIGNMENT_ERRORS["scrfd"].sample([18], np.random.default_rng(0), size) for size in (112, 224))
    np.testing.assert_allclose(large[0, :, :2], small[0, :, :2])
    moved = transform(small[0], np.array([[55.5, 55.5]])) - 55.5
    np.testing.assert_allclose(transform(large[0], np.array([[111.5, 111.5]])) - 111.5, 2 * moved)


@pytest.mark.parametrize("options", [{"tail": -1.0}, {"tail": float("nan")}, {"degrees_of_freedom": 2.0}])
def test_impossible_error_models_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        AlignmentErrorModel("broken", **options)


def test_landmark_noise_has_its_spread_and_heavy_tails() -> None:
    landmarks = np.repeat(TEMPLATE[None], 40_000, axis=0)
    gaussian = landmark_noise(landmarks, 2.0, np.random.default_rng(0)) - landmarks
    heavy = landmark_noise(landmarks, 2.0, np.random.default_rng(0), 3.0) - landmarks
    assert gaussian.dtype == np.float32
    assert abs(gaussian.std() - 2) < 0.02
    assert abs(heavy.std() - 2) < 0.4
    assert (np.abs(heavy) > 10).mean() > 100 * (np.abs(gaussian) > 10).mean()
    worst = np.abs(heavy).max(axis=(1, 2)).argmax()
    assert np.abs(heavy[worst]).mean() > 20


def test_landmark_noise_takes_one_spread_a_face() -> None:
    noisy = landmark_noise(np.zeros((2, 5, 2)), [0.0, 3.0], np.random.default_rng(0))
    assert not noisy[0].any()
    assert noisy[1].any()
    with pytest.raises(InputError):
        landmark_noise(np.zeros((2, 5, 2)), 1.0, np.random.default_rng(0), 1.0)
