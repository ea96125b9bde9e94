from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from aroface.datasets.images import decode
from aroface.datasets.orientation import upright
from aroface.datasets.preparation.photographs import Photograph, read_landmarks, read_people
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, similarity_matrix, transform, warp

COLUMNS = ["identity", "image", *(f"{point}_{axis}" for point in ("le", "re", "nose", "lm", "rm") for axis in "xy")]


def picture(size: int = 112) -> np.ndarray:
    coarse = np.random.default_rng(5).integers(40, 215, (7, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[:, :, ::-1])
    return path


def table(path: Path, rows: list[list[object]], columns: list[str] = COLUMNS) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_people_and_images_are_found_in_order_and_other_files_are_left_alone(tmp_path: Path):
    for name in ("bob/2.png", "bob/1.PNG", "ann/x.jpg"):
        save(tmp_path / name, picture())
    (tmp_path / "bob" / "notes.txt").touch()
    (tmp_path / "bob" / ".hidden.jpg").touch()
    (tmp_path / "list.csv").touch()
    (tmp_path / ".cache").mkdir()
    people, total = read_people(tmp_path)
    assert total == 3
    assert {name: [photo.path.name for photo in photos] for name, photos in people.items()} == {
        "ann": ["x.jpg"],
        "bob": ["1.PNG", "2.png"],
    }


def test_grey_images_become_rgb(tmp_path: Path):
    grey = picture()[:, :, 0]
    assert cv2.imwrite(str(tmp_path / "x.pgm"), grey)
    assert np.array_equal(Photograph(tmp_path / "x.pgm").face(), np.stack([grey] * 3, axis=2))


def test_a_person_without_an_image_is_named(tmp_path: Path):
    save(tmp_path / "ann" / "x.jpg", picture())
    (tmp_path / "bob").mkdir()
    with pytest.raises(InputError, match="bob: the folder holds no image that can be used; remove it"):
        read_people(tmp_path)


def test_a_folder_without_people_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no folder of a person in it"):
        read_people(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_people(tmp_path / "nowhere")


def test_one_rule_says_what_an_aligned_crop_is(tmp_path: Path):
    data = simplejpeg.encode_jpeg(picture(), 92)
    (tmp_path / "x.jpg").write_bytes(data)
    assert Photograph(tmp_path / "x.jpg").jpeg() == data
    assert Photograph(tmp_path / "x.jpg").jpeg(resize=True) == data
    png = decode(Photograph(save(tmp_path / "x.png", picture())).jpeg(98))
    assert np.abs(png.astype(int) - picture()).mean() < 4
    for height, width in ((160, 160), (113, 113), (112, 96)):
        other = Photograph(save(tmp_path / "other.jpg", cv2.resize(picture(), (width, height))))
        assert other.size() == other.size(whole=True) == (height, width)
        with pytest.raises(InputError, match=rf"an image of {width}×{height} pixels; expected an aligned crop of 112"):
            other.jpeg()
        if height == width:
            assert decode(other.jpeg(resize=True)).shape == (112, 112, 3)
    assert Photograph(tmp_path / "x.jpg", TEMPLATE).jpeg() != data


def test_crops_of_another_size_are_resized_and_oblong_ones_refused(tmp_path: Path):
    face = Photograph(save(tmp_path / "x.png", picture(224))).face()
    assert face.shape == (112, 112, 3)
    assert np.abs(face.astype(int) - picture()).mean() < 2
    oblong = Photograph(save(tmp_path / "oblong.png", picture()[:90]))
    with pytest.raises(InputError, match=r"oblong\.png: .*112×90 pixels.*; give landmarks"):
        oblong.face()


@pytest.mark.parametrize("data", [b"", b"no image", simplejpeg.encode_jpeg(picture(), 90)[:-400]])
def test_what_is_no_whole_image_is_named(tmp_path: Path, data: bytes):
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.jpg: cannot be read as an image"):
        Photograph(tmp_path / "x.jpg").face()


def test_raw_images_are_aligned_by_their_landmarks(tmp_path: Path):
    placed = similarity_matrix(1.4, 20, 0.6, 0.5)[0]
    raw = warp(picture(), placed, 300)
    photo = Photograph(save(tmp_path / "raw.png", raw), transform(placed, TEMPLATE).astype(np.float32))
    inner = slice(8, -8)
    assert np.abs(photo.face()[inner, inner].astype(int) - picture()[inner, inner]).max() <= 6


def test_an_alignment_error_brings_into_view_what_the_raw_image_has_there(tmp_path: Path):
    error = similarity_matrix(1.0, 0.0, 0.2, 0.0)[0]
    raw = np.full((112, 200, 3), 180, np.uint8)
    photo = Photograph(save(tmp_path / "raw.png", raw), TEMPLATE + np.float32([40, 0]))
    crop = Photograph(save(tmp_path / "crop.png", raw[:, :112]))
    assert photo.face(error).min() == 180
    assert crop.face(error)[:, :20].max() == 0
    assert crop.face(error)[:, 25:].min() == 180


def test_landmarks_are_found_by_identity_and_image(tmp_path: Path):
    for name in ("ann/1.jpg", "ann/2.v1.jpg"):
        save(tmp_path / "faces" / name, picture())
    rows = [["ann", "2.v1", *range(10)], ["bob", "1.jpg", *range(1, 11)], ["ann", "1.jpg", *range(2, 12)]]
    people, _ = read_people(tmp_path / "faces", table(tmp_path / "points.csv", rows))
    assert [photo.landmarks.reshape(-1).tolist() for photo in people["ann"]] == [
        list(range(2, 12)),
        list(range(10)),
    ]


def test_images_are_named_with_or_without_ending_and_folders(tmp_path: Path):
    names = ("ann/1.jfif", "ann/2", "ann/2019/3.jpg", "ann/4.JPG_large", "ann/5.png", "bob/1.jpg")
    for name in names:
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(simplejpeg.encode_jpeg(picture(), 92))
    written = [("ann", "1"), ("ann", "2"), ("ann", "2019/3.jpg"), ("ann", "4"), ("ann", "photos/ann/5.png")]
    rows = [[*who, *range(number, number + 10)] for number, who in enumerate([*written, ("bob", "1.jpg")])]
    people, _ = read_people(tmp_path / "faces", table(tmp_path / "points.csv", rows))
    found = {photo.path.relative_to(tmp_path / "faces").as_posix(): photo for each in people.values() for photo in each}
    assert [found[name].landmarks[0, 0] for name in names] == [*range(6)]
    assert [found[name].line for name in names] == [*range(2, 8)]


@pytest.mark.parametrize("orientation", [*range(1, 9)])
def test_photographs_are_turned_before_they_are_aligned(tmp_path: Path, orientation: int):
    placed = similarity_matrix(1.4, 20, 0.3, 0.2)[0]
    raw = warp(picture(), placed, 300)[:280]
    back = {6: 8, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(upright(raw, back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.jpg", quality=98, exif=exif.tobytes())
    points = transform(placed, TEMPLATE).astype(np.float32)
    assert Photograph(tmp_path / "x.jpg", points).size() == (280, 300)
    inner = slice(8, -8)
    turned = Photograph(tmp_path / "x.jpg", points).face()[inner, inner].astype(int)
    assert np.abs(turned - picture()[inner, inner]).mean() < 3
    as_stored = Photograph(tmp_path / "x.jpg", points, "stored").face()[inner, inner].astype(int)
    assert (np.abs(as_stored - picture()[inner, inner]).mean() > 10) == (orientation > 1)


def test_an_aligned_crop_is_never_turned(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / "x.jpg", quality=98, exif=exif.tobytes())
    assert Photograph(tmp_path / "x.jpg").jpeg() == (tmp_path / "x.jpg").read_bytes()
    assert np.abs(Photograph(tmp_path / "x.jpg").face().astype(int) - picture()).mean() < 3


def test_an_image_without_landmarks_is_named(tmp_path: Path):
    save(tmp_path / "faces" / "ann" / "1.jpg", picture())
    with pytest.raises(InputError, match=r"points\.csv: no landmarks of ann/1; add them, or remove .*ann/1\.jpg"):
        read_people(tmp_path / "faces", table(tmp_path / "points.csv", [["ann", "2", *range(10)]]))


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        (COLUMNS[:-1], [], "no column rm_y"),
        (COLUMNS, [["ann", "1", *range(10)], ["ann", "1.jpg", *range(10)]], "line 3: the image ann/1 occurs twice"),
        (COLUMNS, [["ann", "1", *range(9), "n/a"]], "line 2: could not convert string to float: 'n/a'"),
        (COLUMNS, [["ann", "1", *range(8)]], "line 2: could not convert"),
        (COLUMNS, [["ann", "1", *range(9), "3_8.29"]], "line 2: .*: '3_8.29'; expected a number of pixels"),
        ([*COLUMNS, "le_x"], [["ann", "1", *range(11)]], "line 1: more than one column le_x; remove or rename"),
        (["image", *COLUMNS, "rm_y"], [["x", "ann", "1", *range(11)]], "line 1: more than one column image, rm_y"),
    ],
)
def test_malformed_landmarks_are_named(tmp_path: Path, columns: list[str], rows: list[list[object]], message: str):
    with pytest.raises(InputError, match=rf"points\.csv: {message}"):
        read_landmarks(table(tmp_path / "points.csv", rows, columns))


def test_a_missing_or_binary_table_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"points\.csv: no such file"):
        read_landmarks(tmp_path / "points.csv")
    (tmp_path / "points.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"points\.csv: no CSV file"):
        read_landmarks(tmp_path / "points.csv")


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_landmarks_that_fit_no_face_are_named(tmp_path: Path, points: np.ndarray):
    with pytest.raises(InputError, match=r"x\.png: landmarks are not finite or all coincide"):
        Photograph(save(tmp_path / "x.png", picture()), points.astype(np.float32)).face()
