"""JPEGs: our decoder's pixels are those of MXNet's, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.images import decode, encode_jpeg
from generated_sets import generate_training

pytestmark = pytest.mark.mxnet

Oracle = Callable[..., list[Any]]


def by_opencv(image: np.ndarray, *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image, list(options))[1])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder = tmp_path_factory.mktemp("faces") / "faces"
    generate_training({"identities": 10, "images_per_identity": 6}, 1, folder, workers=1)
    return TrainingSet.open(folder)


def variants(face: np.ndarray) -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    odd = np.ascontiguousarray(face[:97, :111])
    grey = np.ascontiguousarray(face[:, :, :1])
    found = {f"quality {quality}": encode_jpeg(face, quality) for quality in (1, 10, 50, 75, 90, 95, 100)}
    found |= {name: simplejpeg.encode_jpeg(face, 90, "RGB", name) for name in ("444", "422", "420", "411")}
    found |= {"noise": encode_jpeg(noise, 90), "odd size": encode_jpeg(odd, 90)}
    found |= {f"odd size {name}": simplejpeg.encode_jpeg(odd, 90, "RGB", name) for name in ("444", "422")}
    found |= {"grey": simplejpeg.encode_jpeg(grey, 90, "GRAY", "Gray")}
    found |= {"progressive": by_opencv(face, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)}
    found |= {"restarts": by_opencv(face, cv2.IMWRITE_JPEG_RST_INTERVAL, 3)}
    found |= {"optimised": by_opencv(face, cv2.IMWRITE_JPEG_OPTIMIZE, 1)}
    return found


def differing(oracle: Oracle, folder: Path, images: dict[str, bytes]) -> dict[str, list[bool]]:
    """The images that are not the same by all decoders: whether mx.image's, and whether unpack_img's, is ours."""
    paths = [folder / f"{number}.jpg" for number in range(len(images))]
    for path, image in zip(paths, images.values(), strict=True):
        path.write_bytes(image)
    answers = oracle(*[("decode", path) for path in paths])
    found = {}
    for (name, image), theirs in zip(images.items(), answers, strict=True):
        pixels = decode(image)
        found[name] = [each == [list(pixels.shape), hashlib.sha256(pixels).hexdigest()] for each in theirs]
    return {name: same for name, same in found.items() if not all(same)}


def test_pixels_are_equal_bit_for_bit(oracle, faces, tmp_path):
    images = {f"face {position}": faces.jpeg(position) for position in range(len(faces))}
    assert differing(oracle, tmp_path, images | variants(decode(faces.jpeg(0)))) == {}


def test_where_chroma_is_halved_vertically_alone_mxnet_disagrees_with_itself(oracle, faces, tmp_path):
    """Face sets have no such JPEGs. ``mx.image`` has an older libjpeg-turbo, without interpolation in that case."""
    image = simplejpeg.encode_jpeg(decode(faces.jpeg(0)), 90, "RGB", "440")
    assert differing(oracle, tmp_path, {"440": image}) == {"440": [False, True]}
