"""A folder of photographs, one sub-folder a person, as aligned faces."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from aroface.datasets.image_formats import MORE_SUFFIXES
from aroface.datasets.images import JPEG_START, Pixels, decode, encode_jpeg, read_image, resize_square
from aroface.datasets.orientation import orientation_of, read_upright
from aroface.datasets.preparation.pack_options import Orientation
from aroface.datasets.preparation.person_folders import LostPeople, find_people
from aroface.datasets.retrying_reads import retrying
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE, similarity, warp
from aroface.files import refuse_special
from aroface.omissions import Omissions

JPEG_QUALITY = 95
"""Quality of JPEGs that are written of images in other formats."""

_POINTS = ("le", "re", "nose", "lm", "rm")
_TABLE = "a CSV file of landmarks"
_COLUMNS = tuple(f"{point}_{axis}" for point in _POINTS for axis in "xy")

Landmarks = npt.NDArray[np.float32]


class LandmarkRow(NamedTuple):
    """A row of a table of landmarks: float32 (5, 2), and the number of its line."""

    points: Landmarks
    line: int


@dataclass(frozen=True, slots=True)
class Photograph:
    """One image.

    Attributes:
        path: Path of the file.
        landmarks: Landmarks, float32 (5, 2) in its pixels; None if it is an aligned crop.
        orientation: Frame of the landmarks.
        line: Line of their table.
        averaged: True if a face of more than twice the size is averaged before it is resampled.
    """

    path: Path
    landmarks: Landmarks | None = None
    orientation: Orientation = "exif"
    line: int | None = None
    averaged: bool = False

    def face(self, error: npt.NDArray[np.float64] | None = None) -> Pixels:
        """The aligned face, uint8 (112, 112, 3).

        A photograph with landmarks is turned by its EXIF orientation first; an aligned crop never is.

        Args:
            error: (2, 3), from the aligned to an erroneous frame; a raw image is resampled once, so that what lies
                beyond the aligned crop comes into view, beside an aligned crop there is black.

        Raises:
            InputError: The file is no whole image, a crop is not square, or landmarks coincide.
        """
        image = read_upright(self.path) if self._turned else read_image(self.path)
        try:
            if self.landmarks is None:
                crop = resize_square(image, TEMPLATE_SIZE)
                return crop if error is None else warp(crop, error)
            matrix = similarity(self.landmarks, TEMPLATE)
        except ValueError as wrong:
            raise InputError(str(wrong), file=self.path, remedy="give landmarks to have it aligned") from None
        except InputError as wrong:
            raise InputError(str(wrong), file=self.path) from None
        if self.averaged:
            image, matrix = _averaged(image, matrix)
        return warp(image, matrix if error is None else _chain(error, matrix))

    def jpeg(self, quality: int = JPEG_QUALITY, *, resize: bool = False) -> bytes:
        """The aligned face as a JPEG: byte for byte, if the file is a JPEG of 112×112 pixels already.

        Args:
            quality: Quality of a JPEG that has to be made.
            resize: True if a square crop of another size is taken for an aligned one.

        Raises:
            InputError: See `face`; or without landmarks the image is no aligned crop.
        """
        if self.landmarks is not None:
            return encode_jpeg(self.face(), quality)
        data = retrying(self.path.read_bytes, self.path)
        image = _decoded(data, self.path)
        if not is_aligned(*image.shape[:2], resize=resize):
            raise self.not_aligned(*image.shape[:2])
        if data.startswith(JPEG_START) and len(image) == TEMPLATE_SIZE:
            return data
        return encode_jpeg(resize_square(image, TEMPLATE_SIZE), quality)

    def size(self, *, whole: bool = False) -> tuple[int, int]:
        """Height and width of the image in the frame of its landmarks.

        Args:
            whole: True to decode all of a JPEG, not its header alone.

        Raises:
            InputError: The file is no image, or with ``whole`` no whole one.
        """
        data = retrying(self.path.read_bytes, self.path)
        if whole or not data.startswith(JPEG_START):
            height, width = _decoded(data, self.path).shape[:2]
        else:
            height, width = _size_of_jpeg(data, self.path)
        return (width, height) if self._turned and orientation_of(self.path) >= 5 else (height, width)

    def not_aligned(self, height: int, width: int, among: str = "") -> InputError:
        """Error about an image without landmarks that is no aligned crop."""
        return InputError(
            f"an image of {width}×{height} pixels{among}",
            file=self.path,
            expected=f"an aligned crop of {TEMPLATE_SIZE}×{TEMPLATE_SIZE}",
            remedy="aroface data prepare --align aligns raw crops, aroface data pairs --detector photographs of pairs,"
            " aroface data pack photographs with landmarks;"
            " --resize-crops takes square images of any size for aligned crops",
        )

    @property
    def _turned(self) -> bool:
        return self.landmarks is not None and self.orientation == "exif"


def is_aligned(height: int, width: int, *, resize: bool = False) -> bool:
    """Tell whether an image of this size counts as an aligned crop: 112×112, or with ``resize`` any square."""
    return height == width and (resize or height == TEMPLATE_SIZE)


class People(NamedTuple):
    """Photographs of each person by name, both in order, and the number of all images, those left out included."""

    photographs: dict[str, list[Photograph]]
    total: int


def read_people(
    folder: Path,
    landmarks: Path | None = None,
    *,
    omissions: Omissions | None = None,
    depth: int | None = None,
    lost: LostPeople = "error",
    orientation: Orientation = "exif",
) -> People:
    """The photographs of each person by the name of the sub-folder, both in alphabetical order.

    Args:
        folder: ``person/image.jpg``, or another layout and format that `find_people` knows.
        landmarks: CSV with the columns identity, image (the file's name, with or without its ending; below a person's
            folder its path there) and le_x, le_y, re_x, re_y, nose_x, nose_y, lm_x, lm_y, rm_x, rm_y in pixels, left
            and right as the viewer sees them.
        omissions: Account of the images that are left out.
        depth: Depth of the people's folders, see `find_people`.
        lost: Treatment of lost people, see `find_people`.
        orientation: Frame of the landmarks.

    Raises:
        InputError: There are no people, a person has no image, or an image has no landmarks.
    """
    folders = find_people(folder, Omissions() if omissions is None else omissions, depth=depth, lost=lost)
    rows = None if landmarks is None else read_landmarks(landmarks)
    people = {}
    for person, paths in folders.people.items():
        below = [Path(*path.relative_to(folder).parts[folders.depth :]) for path in paths]
        people[person] = [
            Photograph(path)
            if rows is None
            else _located(path, _row_of(person, name, path, rows, landmarks), orientation)
            for path, name in zip(paths, below, strict=True)
        ]
    return People(people, folders.total)


def read_landmarks(path: Path) -> dict[tuple[str, str], LandmarkRow]:
    """Landmarks by identity and image, the image's name without its ending.

    Raises:
        InputError: The file is missing or no regular one, lacks a column or has it twice, an image occurs twice or a
            value is no number.
    """
    refuse_special(path, _TABLE)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(reader.fieldnames or (), path)
            rows: dict[tuple[str, str], LandmarkRow] = {}
            for row in reader:
                key = (row["identity"], _stem(_below(row["image"] or "", row["identity"])))
                if key in rows:
                    raise InputError(
                        f"the image {'/'.join(key)} occurs twice", file=path, where=f"line {reader.line_num}"
                    )
                rows[key] = LandmarkRow(_numbers(row, path, reader.line_num), reader.line_num)
            return rows
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except IsADirectoryError:
        raise InputError("a folder", file=path, expected=_TABLE) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"no CSV file ({error})", file=path) from None


def _check_columns(header: Sequence[str], path: Path) -> None:
    wanted = ("identity", "image", *_COLUMNS)
    absent = [name for name in wanted if name not in header]
    if absent:
        raise InputError(f"no column {', '.join(absent)}", file=path)
    repeated = [name for name in wanted if header.count(name) > 1]
    if repeated:
        what = f"more than one column {', '.join(repeated)}"
        raise InputError(what, file=path, where="line 1", remedy="remove or rename all but one of a name")


def _below(name: str, person: str) -> str:
    """An image's path below the person's folder, where it is written with what lies above."""
    parts = name.split("/")
    return "/".join(parts[len(parts) - parts[::-1].index(person) :]) if person in parts[:-1] else name


def _stem(name: str) -> str:
    return Path(name).with_suffix("").as_posix() if Path(name).suffix.lower() in MORE_SUFFIXES else name


def _numbers(row: Mapping[str, str | None], path: Path, line: int) -> Landmarks:
    try:
        with np.errstate(over="ignore"):  # infinite ones are refused with the others that are no landmarks
            values = np.array([_number(row[name] or "") for name in _COLUMNS]).astype(np.float32)
    except ValueError as error:
        raise InputError(f"{error}", file=path, where=f"line {line}", expected="a number of pixels") from None
    return values.reshape(5, 2)


def _number(text: str) -> float:
    """Parse a number as every reader of tables has it: Python takes ``3_8.29`` for 38.29 as well."""
    if "_" in text:
        raise ValueError(f"could not convert string to float: {text!r:.60}")
    return float(text)


def _located(path: Path, row: LandmarkRow, orientation: Orientation) -> Photograph:
    return Photograph(path, row.points, orientation, row.line)


def _row_of(
    person: str, name: Path, path: Path, rows: Mapping[tuple[str, str], LandmarkRow], landmarks: Path | None
) -> LandmarkRow:
    """The row of an image, whose name may be written with its ending or without."""
    keys = ((person, _stem(name.as_posix())), (person, name.with_suffix("").as_posix()))
    row = next((rows[key] for key in keys if key in rows), None)
    if row is None:
        raise InputError(
            f"no landmarks of {'/'.join(keys[1])}", file=landmarks, remedy=f"add them, or remove {path} from the folder"
        )
    return row


def _decoded(data: bytes, path: Path) -> Pixels:
    try:
        return decode(data)
    except ValueError as error:
        raise InputError(f"cannot be read as an image ({error})", file=path) from None


def _size_of_jpeg(data: bytes, path: Path) -> tuple[int, int]:
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise InputError(f"cannot be read as an image ({error})", file=path) from None
    return int(height), int(width)


def _chain(second: npt.NDArray[np.float64], first: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The matrix (2, 3) that applies ``first`` and then ``second``."""
    return np.asarray(second @ np.vstack([first, [0.0, 0.0, 1.0]]))


def _averaged(image: Pixels, matrix: npt.NDArray[np.float64]) -> tuple[Pixels, npt.NDArray[np.float64]]:
    """An image, averaged over squares where a matrix (2, 3) would skip pixels, and the matrix for that image."""
    factor = int(1 / np.hypot(matrix[0, 0], matrix[0, 1]))
    height, width = (side // factor for side in image.shape[:2]) if factor > 1 else (0, 0)
    if min(height, width) == 0:
        return image, matrix
    whole = image[: height * factor, : width * factor]
    smaller = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    back = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    return smaller, np.asarray(matrix @ back)
