"""MTCNN: faces that are drawn here are found where they are, as by the package on TensorFlow whose weights it takes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from aroface.datasets.preparation.detectors import open_detector
from aroface.datasets.preparation.photograph_faces import find_faces, show_photograph
from aroface.errors import InputError
from aroface.faces.detection import mtcnn
from aroface.faces.detection.mtcnn import Mtcnn
from aroface.faces.synthetic import render, sample_identities, sample_nuisances

OF_THE_PACKAGE = {
    0: [98.9, 140.1, 120.5, 104.8, 134.6, 113.3, 112.5, 140.2, 162.2, 161.2],
    1: [99.6, 139.2, 120.3, 106.0, 133.3, 114.4, 114.0, 133.0, 159.6, 159.8],
    2: [101.6, 139.0, 121.2, 104.2, 135.9, 112.5, 112.6, 136.6, 160.1, 160.6],
    3: [101.9, 138.7, 118.8, 105.8, 137.2, 113.3, 111.7, 138.7, 153.9, 152.0],
}
"""Points, x of all before y, that mtcnn 1.0.0 on TensorFlow 2.21 gives for faces of `drawn`, by their numbers."""


def drawn(count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Images of one face each, and its landmarks."""
    inwards = np.tile([[0.55, 0, 54], [0, 0.55, 54]], (count, 1, 1))
    how = sample_nuisances(count, np.random.default_rng(1), 0.3)
    return render(sample_identities(count, 0), how, 240, inwards)


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn(device="cpu")


def test_faces_are_found_where_they_are(detector: Mtcnn) -> None:
    images, landmarks = drawn(8)
    for faces, points in zip(detector.detect(list(images)), landmarks, strict=True):
        (face,) = faces
        apart = np.abs(face.points - points)
        assert apart.mean() < 4 and apart.max() < 12
        left, top, right, bottom = face.box
        assert left < points[2, 0] < right and top < points[2, 1] < bottom
        assert mtcnn.THRESHOLD < face.score <= 1


def test_points_are_those_of_the_package(detector: Mtcnn) -> None:
    images, _ = drawn(8)
    for number, points in OF_THE_PACKAGE.items():
        ((face,),) = detector.detect([images[number]])
        apart = np.abs(face.points - np.reshape(points, (2, 5)).T)
        assert apart.mean() < 1.5 and apart.max() < 4


def test_several_faces_of_a_photograph(detector: Mtcnn) -> None:
    images, landmarks = drawn(2)
    scene = np.zeros((500, 900, 3), np.uint8)
    scene[:240, :240], scene[200:440, 600:840] = images
    photograph = show_photograph(scene)
    (faces,) = find_faces([photograph], detector)
    found = sorted((face.points for face in faces), key=lambda points: points[0, 0])
    assert len(found) == 2
    for points, expected in zip(found, [landmarks[0], landmarks[1] + [600, 200]], strict=True):
        assert np.abs(points - expected).max() < 8


@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (300, 8), (64, 64)])
def test_images_without_a_face(detector: Mtcnn, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 90, np.uint8)
    assert detector.detect([image, image]) == [[], []]
    assert detector.detect([]) == []


def test_it_is_a_detector_by_name(tmp_path: Path) -> None:
    detector = open_detector("mtcnn", tmp_path, device="cpu")
    assert (detector.name, detector.facts["threshold"]) == ("mtcnn", 0.8)
    assert open_detector("mtcnn", tmp_path, threshold=0.95).facts["threshold"] == 0.95
    with pytest.raises(InputError, match="threshold 0"):
        open_detector("mtcnn", tmp_path, threshold=0)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(mtcnn, "distribution", absent)
    with pytest.raises(InputError, match=r'needs the package mtcnn; pip install "aroface\[mtcnn\]"'):
        Mtcnn()


def test_other_weights_are_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Elsewhere:
        def locate_file(self, name: str) -> Path:
            return tmp_path / name

    monkeypatch.setattr(mtcnn, "distribution", lambda name: Elsewhere())
    with pytest.raises(InputError, match=r"pnet\.lz4: no such file; expected sha256 ea6b0c3e685ebee3"):
        Mtcnn()
    folder = tmp_path / "mtcnn/assets/weights"
    folder.mkdir(parents=True)
    (folder / "pnet.lz4").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InputError, match=r"pnet\.lz4: not the weights that are known"):
        Mtcnn()
