import dataclasses

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, similarity, similarity_matrix, transform
from aroface.faces.synthetic import Identities, Nuisances, render, sample_identities, sample_nuisances


def scene(count: int, difficulty: float = 1.0, seed: int = 3) -> tuple[Identities, Nuisances]:
    return sample_identities(count, seed), sample_nuisances(count, np.random.default_rng(seed), difficulty)


def still(nuisances: Nuisances) -> Nuisances:
    """The same circumstances before a camera without noise."""
    return dataclasses.replace(nuisances, noise=np.zeros_like(nuisances.noise))


def test_identities_are_a_function_of_the_seed_and_not_of_their_number() -> None:
    few, many, others = sample_identities(5, 1), sample_identities(50, 1), sample_identities(5, 2)
    for field in dataclasses.fields(few):
        np.testing.assert_array_equal(getattr(few, field.name), getattr(many[:5], field.name))
        assert getattr(few, field.name).dtype == np.float32
    assert (few.face_width != others.face_width).all()


def test_tables_select_rows() -> None:
    identities = sample_identities(6, 1)
    rows = np.array([4, 4, 0])
    chosen = identities[rows]
    assert len(identities) == 6
    assert len(chosen) == 3
    np.testing.assert_array_equal(chosen.skin, identities.skin[rows])
    assert len(identities[2]) == 1


def test_images_do_not_depend_on_what_they_are_drawn_with() -> None:
    identities, nuisances = scene(70)
    images, landmarks = render(identities, nuisances)
    again, _ = render(identities, nuisances)
    np.testing.assert_array_equal(images, again)
    for rows in ([69], [3, 68]):
        some, some_landmarks = render(identities[rows], nuisances[rows])
        np.testing.assert_array_equal(some, images[rows])
        np.testing.assert_array_equal(some_landmarks, landmarks[rows])


def test_faces_come_out_aligned_to_the_template() -> None:
    _, landmarks = render(*scene(64))
    np.testing.assert_allclose(similarity(landmarks, TEMPLATE), np.tile(np.eye(2, 3), (64, 1, 1)), atol=1e-3)
    offset = np.linalg.norm(landmarks - TEMPLATE, axis=2)
    assert 0.5 < offset.mean() < 6
    _, frontal = render(*scene(64, difficulty=0.0))
    assert np.linalg.norm(frontal - TEMPLATE, axis=2).mean() < offset.mean()


def test_landmarks_lie_on_what_they_name() -> None:
    identities, nuisances = scene(1, difficulty=0.0)
    eyes_only = dataclasses.replace(still(nuisances), occlusion=np.zeros(1, np.int64))
    closed = dataclasses.replace(eyes_only, eye_open=np.full(1, 0.1, np.float32))
    smiling = dataclasses.replace(eyes_only, smile=np.full(1, 0.02, np.float32))
    base, landmarks = render(identities, eyes_only)
    blinked, _ = render(identities, closed)
    change = np.abs(base.astype(float) - blinked).sum(axis=(0, 3))
    for columns, (x, y) in ((slice(0, 56), landmarks[0, 0]), (slice(56, 112), landmarks[0, 1])):
        part = np.zeros_like(change)
        part[:, columns] = change[:, columns]
        rows, places = np.mgrid[:112, :112]
        assert abs((part * places).sum() / part.sum() - x) < 2
        assert abs((part * rows).sum() / part.sum() - y) < 3
    assert (render(identities, smiling)[1][0, 3:, 1] < landmarks[0, 3:, 1] + 0.2).all()


@pytest.mark.parametrize("right", [-0.125, 0.25])
def test_matrices_move_the_scene_exactly_and_it_goes_on_beyond_the_crop(right: float) -> None:
    identities, nuisances = scene(8)
    nuisances = still(nuisances)
    images, landmarks = render(identities, nuisances)
    matrices = np.repeat(similarity_matrix(1.0, 0.0, right, 0.0), 8, axis=0)
    moved, moved_landmarks = render(identities, nuisances, matrices=matrices)
    np.testing.assert_allclose(moved_landmarks, transform(matrices, landmarks), atol=1e-3)
    pixels = round(112 * right)
    kept, expected = (
        (moved[:, :, pixels:], images[:, :, :-pixels]) if pixels > 0 else (moved[:, :, :pixels], images[:, :, -pixels:])
    )
    inner = slice(2, -2)
    assert np.abs(kept[:, :, inner].astype(float) - expected[:, :, inner]).mean() < 0.3
    uncovered = moved[:, :, :pixels] if pixels > 0 else moved[:, :, pixels:]
    assert (uncovered.max(axis=(1, 2, 3)) > 8).all()


def test_matrices_turn_and_scale_without_resampling_blur() -> None:
    identities, nuisances = scene(8, difficulty=0.0)
    matrices = similarity_matrix(np.full(8, 1.1), 12.0, 0.02, -0.03)
    aligned, landmarks = render(identities, nuisances)
    images, moved = render(identities, nuisances, matrices=matrices)
    np.testing.assert_allclose(moved, transform(matrices, landmarks), atol=1e-3)

    def detail(batch: np.ndarray) -> float:
        return float(np.abs(np.diff(batch[:, 20:90, 20:90].astype(float), axis=2)).mean())

    assert detail(images) > 0.85 * detail(aligned)


def test_size_scales_the_scene() -> None:
    identities, nuisances = scene(6, difficulty=0.0)
    small, landmarks = render(identities, nuisances)
    large, large_landmarks = render(identities, nuisances, size=224)
    np.testing.assert_allclose(large_landmarks, 2 * landmarks, atol=1e-3)
    reduced = large.reshape(6, 112, 2, 112, 2, 3).mean(axis=(2, 4))
    assert np.abs(reduced - small).mean() < 6
    assert render(identities, nuisances, size=57)[0].shape == (6, 57, 57, 3)


def test_an_identity_varies_much_and_identities_differ_much() -> None:
    count = 60
    identities = sample_identities(count, 7)
    gallery, _ = render(identities, sample_nuisances(count, np.random.default_rng(1)))
    probe, _ = render(identities, sample_nuisances(count, np.random.default_rng(2)))
    a, b = (images.reshape(count, -1).astype(np.float64) for images in (gallery, probe))
    distance = (a**2).sum(1) - 2 * b @ a.T
    assert (distance.argmin(axis=1) == np.arange(count)).mean() < 0.4
    easy = sample_nuisances(count, np.random.default_rng(1), 0.0)
    plain, _ = render(identities, still(easy[np.zeros(count, int)]))
    inner = plain[:, 25:105, 25:87].reshape(count, -1).astype(float)
    apart = pdist(inner) / np.sqrt(inner.shape[1])
    assert apart.min() > 4


def test_difficulty_is_what_varies_the_images() -> None:
    easy, hard = (sample_nuisances(500, np.random.default_rng(0), level) for level in (0.0, 1.0))
    assert not easy.yaw.any()
    assert not easy.occlusion.any()
    assert 12 < hard.yaw.std() < 20
    assert 0.1 < (hard.occlusion > 0).mean() < 0.3
    for level in (-0.1, 2.5):
        with pytest.raises(InputError, match=r"0\.\.2"):
            sample_nuisances(1, np.random.default_rng(0), level)


def test_every_occlusion_hides_part_of_the_face() -> None:
    identities, nuisances = scene(1, difficulty=0.0)
    open_face, _ = render(identities, still(nuisances))
    for kind in range(1, 6):
        hidden = dataclasses.replace(still(nuisances), occlusion=np.full(1, kind))
        changed = (render(identities, hidden)[0] != open_face).any(axis=3).mean()
        assert 0.01 < changed < 0.6


def test_mismatched_rows_and_sizes_are_refused() -> None:
    identities, nuisances = scene(2)
    with pytest.raises(ValueError, match="1 identities, 2 nuisances"):
        render(identities[:1], nuisances)
    with pytest.raises(ValueError, match="matrices"):
        render(identities, nuisances, matrices=np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="size 0"):
        render(identities, nuisances, size=0)


def test_no_faces_are_no_images() -> None:
    images, landmarks = render(*scene(0))
    assert images.shape == (0, 112, 112, 3)
    assert landmarks.shape == (0, 5, 2)
