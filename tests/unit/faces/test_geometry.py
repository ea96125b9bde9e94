import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, align, similarity, similarity_matrix, template, transform, warp


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Umeyama 1991 as written in the paper, by singular values."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    u, values, vt = np.linalg.svd(covariance)
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(values) @ sign) / ((source - source_mean) ** 2).sum(1).mean()
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


@pytest.mark.parametrize("seed", range(5))
def test_similarity_is_umeyamas_even_for_mirrored_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = rng.normal(50, 20, (4, 5, 2)), rng.normal(60, 30, (4, 5, 2))
    source[1] = source[1] * [-1, 1]
    target[1] = TEMPLATE
    expected = np.stack([umeyama(a, b) for a, b in zip(source, target, strict=True)])
    np.testing.assert_allclose(similarity(source, target), expected, atol=1e-9)


def test_similarity_broadcasts_over_leading_dimensions() -> None:
    source = np.random.default_rng(0).normal(50, 20, (2, 3, 5, 2))
    many = similarity(source, TEMPLATE)
    assert many.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(many[1, 2], similarity(source[1, 2], TEMPLATE))


@given(
    st.floats(0.5, 2.0), st.floats(-90, 90), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.sampled_from([56, 112, 224])
)
def test_similarity_finds_the_matrix_that_moved_the_points(
    scale: float, degrees: float, right: float, down: float, size: int
) -> None:
    matrix = similarity_matrix(scale, degrees, right, down, size)[0]
    np.testing.assert_allclose(similarity(template(size), transform(matrix, template(size))), matrix, atol=1e-5)


def test_similarity_matrix_turns_clockwise_about_the_centre_and_shifts_by_the_width() -> None:
    matrix = similarity_matrix([2.0, 1.0], [90.0, 0.0], [0.0, 0.1], [0.0, -0.2])
    right_of_centre = np.array([[55.5 + 10, 55.5]])
    np.testing.assert_allclose(transform(matrix[0], right_of_centre), [[55.5, 55.5 + 20]])
    np.testing.assert_allclose(transform(matrix[1], right_of_centre), [[65.5 + 11.2, 55.5 - 22.4]])


@pytest.mark.parametrize("broken", [np.full((5, 2), 7.0), np.where(np.eye(5, 2) > 0, np.nan, TEMPLATE)])
def test_landmarks_without_a_similarity_are_refused(broken: np.ndarray) -> None:
    with pytest.raises(InputError, match="face 1"):
        similarity(np.stack([TEMPLATE, broken]), TEMPLATE)
    with pytest.raises(InputError, match="coincide"):
        align(np.zeros((112, 112, 3), np.uint8), broken)


def test_align_brings_landmarks_onto_the_template() -> None:
    photo = np.zeros((300, 240, 3), np.uint8)
    landmarks = transform(similarity_matrix(1.7, 20, 0.3, 0.6)[0], TEMPLATE)
    for x, y in landmarks:
        cv2.circle(photo, (round(x * 16), round(y * 16)), 4 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    crop = align(photo, landmarks).astype(float)[..., 0]
    for x, y in TEMPLATE:
        window = crop[round(y) - 5 : round(y) + 6, round(x) - 5 : round(x) + 6]
        rows, columns = np.mgrid[-5:6, -5:6]
        centre = np.array([(window * columns).sum(), (window * rows).sum()]) / window.sum() + np.round([x, y])
        np.testing.assert_allclose(centre, [x, y], atol=0.15)


def test_warp_fills_with_black_and_keeps_the_identity_exact() -> None:
    image = np.random.default_rng(0).integers(1, 255, (112, 112, 3)).astype(np.uint8)
    np.testing.assert_array_equal(warp(image, np.eye(2, 3)), image)
    moved = warp(image, [[1, 0, 30], [0, 1, 0]])
    assert not moved[:, :30].any()
    np.testing.assert_array_equal(moved[:, 30:], image[:, :-30])
