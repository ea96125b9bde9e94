"""EXIF orientation against OpenCV, which turns images as viewers do."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aroface.datasets.orientation import UPRIGHT, orientation_of, read_upright

PICTURE = cv2.resize(
    np.random.default_rng(3).integers(0, 255, (3, 4, 3), np.uint8), (40, 24), interpolation=cv2.INTER_NEAREST
)


def encoded(form: str, tag: int | None, **more: object) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker whose name does not fit into the entry"
    if tag is not None:
        exif[0x0112] = tag
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, form, exif=exif.tobytes(), **more)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "MPO", "TIFF", "AVIF", "GIF"])
@pytest.mark.parametrize("tag", [None, *range(10), 274])
def test_images_are_turned_as_opencv_turns_them(tmp_path: Path, form: str, tag: int | None):
    path = tmp_path / "photograph"
    more = {"lossless": True} if form == "WEBP" else {"quality": 100} if form in ("JPEG", "MPO", "AVIF") else {}
    path.write_bytes(encoded(form, tag, **more))
    expected = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    found = read_upright(path)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 4
    if form in ("JPEG", "PNG", "WEBP"):
        assert orientation_of(path) == (tag if tag in range(1, 9) else UPRIGHT)


@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.data())
def test_damage_is_never_a_crash(tmp_path_factory: pytest.TempPathFactory, form: str, data: st.DataObject):
    damaged = bytearray(encoded(form, 6))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 160))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged)
    assert 1 <= orientation_of(path) <= 8
