"""Faces of photographs: found at any size, placed at full resolution, cut without aliasing, in every usual format."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aroface.datasets.orientation import read_upright
from aroface.datasets.preparation.photograph_faces import choose, cut_face, find_faces, show_photograph
from aroface.faces.detection.detector import DetectedFace
from aroface.faces.geometry import TEMPLATE, align
from standin_detector import DotDetector, dotted, place


def _faces(image: np.ndarray, detect_size: int = 640) -> list[DetectedFace]:
    return find_faces([show_photograph(image, detect_size)], DotDetector())[0]


@pytest.mark.parametrize("side", [40, 112, 128, 129, 640, 2000])
def test_the_landmarks_are_those_of_the_photograph(side: int):
    scale = side / 160
    image, (points,) = dotted(side, side, place(scale, 10, 0.2 * side, 0.1 * side), radius=max(3 * scale, 1.2))
    (face,) = _faces(image)
    assert face.points == pytest.approx(points, abs=max(0.4, 0.3 * scale))


def test_a_face_of_a_twentieth_of_a_photograph_is_found():
    image, (points,) = dotted(1500, 2000, place(1, 0, 1500, 900), radius=6)
    (face,) = _faces(image)
    assert face.points == pytest.approx(points, abs=0.5)


def test_a_close_up_places_landmarks_better_than_the_reduced_photograph():
    image, (points,) = dotted(1600, 2000, place(2, 5, 700, 800), radius=10)
    whole = show_photograph(image, 320)
    (coarse,) = DotDetector().detect([whole.shown])[0]
    coarse_points = (coarse.points - whole.setting.canvas / 2) * 2000 / 320 + [1000, 800]
    (face,) = _faces(image, 320)
    assert np.abs(face.points - points).mean() < np.abs(coarse_points - points).mean() / 2


def test_faces_come_with_the_largest_first():
    image, (large, small) = dotted(600, 1200, place(2, 0, 100, 100), place(1, 0, 700, 300), radius=4)
    first, second = _faces(image)
    assert first.points == pytest.approx(large, abs=1)
    assert second.points == pytest.approx(small, abs=1)


def test_the_rules_choose():
    box, points = np.array([0, 0, 9, 9], np.float32), TEMPLATE
    faces = [DetectedFace(box, points, score) for score in (0.6, 0.9, 0.7)]
    assert (choose(faces, "largest"), choose(faces, "best"), choose(faces, "all")) == ([0], [1], [0, 1, 2])
    assert choose([], "largest") == choose([], "best") == []


class _Tight:
    """Finds a face only where there is a margin about the image, as detectors do in tight crops."""

    name, facts = "tight", {"name": "tight"}

    def detect(self, images):
        return [DotDetector().detect([image])[0] if not image[:8].any() else [] for image in images]


def test_a_face_that_fills_a_photograph_is_looked_for_as_in_a_crop():
    image, (points,) = dotted(500, 500, place(4, 0, 20, 20), radius=16)
    (face,) = find_faces([show_photograph(image)], _Tight())[0]
    assert face.points == pytest.approx(points, abs=3)


def test_landmarks_that_coincide_are_no_face():
    class Pointless(DotDetector):
        def detect(self, images):
            box, points = np.array([1, 1, 9, 9], np.float32), np.full((5, 2), 4, np.float32)
            return [[DetectedFace(box, points, 0.9)] for _ in images]

    assert find_faces([show_photograph(np.zeros((300, 300, 3), np.uint8))], Pointless()) == [[]]


@pytest.mark.parametrize("scale", [0.5, 1, 1.9])
def test_a_face_of_less_than_twice_the_size_is_warped_once(scale: float):
    image, (points,) = dotted(400, 400, place(scale, 8, 60, 50))
    assert np.array_equal(cut_face(image, points, 112), align(image, points))


def test_a_large_face_is_averaged():
    """Stripes of one pixel become grey, where sampling every twelfth pixel would show stripes or none."""
    image = np.zeros((1600, 1600, 3), np.uint8)
    image[:, ::2] = 255
    points = (TEMPLATE * 12 + 100).astype(np.float32)
    crop = cut_face(image, points, 112)
    assert np.abs(crop.astype(int) - 127).max() <= 2
    assert np.abs(align(image, points).astype(int) - 127).max() > 100


@pytest.mark.parametrize("scale", [2, 3.3, 9.7])
def test_an_averaged_face_lies_where_the_template_says(scale: float):
    image, (points,) = dotted(1400, 1400, place(scale, 20, 300, 100), radius=3 * scale)
    (face,) = DotDetector().detect([cut_face(image, points, 112)])[0]
    assert face.points == pytest.approx(TEMPLATE, abs=0.3)


def test_a_large_face_at_the_edge_is_black_beyond_it():
    image = np.full((1500, 1500, 3), 200, np.uint8)
    crop = cut_face(image, (TEMPLATE * 12 - 600).astype(np.float32), 112)
    assert (crop[0, 0].max(), crop[-1, -1].min()) == (0, 200)


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _turned(pixels: np.ndarray, orientation: int) -> Image.Image:
    """An image as a camera of this EXIF orientation stores it (Exif 2.32, table 6), by NumPy's words."""
    stored = {
        1: pixels,
        2: np.fliplr(pixels),
        3: np.rot90(pixels, 2),
        4: np.flipud(pixels),
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(stored))


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _sixteen(pixels: np.ndarray, ending: str) -> bytes:
    return cv2.imencode(ending, pixels[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


_COLOURS = {
    "JPEG": lambda image: _encoded(image, "JPEG", quality=95),
    "progressive JPEG": lambda image: _encoded(image, "JPEG", quality=95, progressive=True),
    "CMYK JPEG": lambda image: _encoded(image.convert("CMYK"), "JPEG", quality=95),
    "CMYK TIFF": lambda image: _encoded(image.convert("CMYK"), "TIFF"),
    "PNG": lambda image: _encoded(image, "PNG"),
    "PNG with alpha": lambda image: _encoded(image.convert("RGBA"), "PNG"),
    "PNG of 16 bits": lambda image: _sixteen(np.asarray(image), ".png"),
    "TIFF of 16 bits": lambda image: _sixteen(np.asarray(image), ".tiff"),
    "TIFF, LZW": lambda image: _encoded(image, "TIFF", compression="tiff_lzw"),
    "WebP": lambda image: _encoded(image, "WEBP", quality=95),
    "lossless WebP": lambda image: _encoded(image, "WEBP", lossless=True),
    "BMP": lambda image: _encoded(image, "BMP"),
    "AVIF": lambda image: _encoded(image, "AVIF", quality=95),
    **{
        f"JPEG turned by EXIF {number}": lambda image, number=number: _encoded(
            _turned(np.asarray(image), number), "JPEG", quality=95, exif=_exif(number)
        )
        for number in range(1, 9)
    },
    "PNG turned by EXIF": lambda image: _encoded(_turned(np.asarray(image), 6), "PNG", exif=_exif(6)),
    "WebP turned by EXIF": lambda image: _encoded(_turned(np.asarray(image), 6), "WEBP", lossless=True, exif=_exif(6)),
    "TIFF turned by its tag": lambda image: _encoded(_turned(np.asarray(image), 6), "TIFF", tiffinfo={274: 6}),
}
_GREYS = {
    "grey JPEG": lambda image: _encoded(image.convert("L"), "JPEG", quality=95),
    "grey PNG": lambda image: _encoded(image.convert("L"), "PNG"),
    "grey PNG with alpha": lambda image: _encoded(image.convert("LA"), "PNG"),
    "grey PNG of 16 bits": lambda image: _encoded(
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"
    ),
    "PGM": lambda image: _encoded(image.convert("L"), "PPM"),
}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(cv2.resize(noise, (200, 160), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("form", [*_COLOURS, *_GREYS])
def test_photographs_of_every_form_are_read_as_viewers_show_them(tmp_path: Path, picture: Image.Image, form: str):
    encode = {**_COLOURS, **_GREYS}[form]
    file = tmp_path / "photograph"
    file.write_bytes(encode(picture))
    wanted = np.asarray((picture.convert("L") if form in _GREYS else picture).convert("RGB")).astype(int)
    pixels = read_upright(file)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).mean() < 2.5


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (1, 400), (9000, 30), (5000, 4000)])
def test_photographs_of_any_size_are_searched(width: int, height: int):
    assert find_faces([show_photograph(np.zeros((height, width, 3), np.uint8))], DotDetector()) == [[]]
