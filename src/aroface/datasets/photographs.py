"""A folder of photographs, one sub-folder a person, as aligned faces."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aroface.datasets.images import JPEG_START, Pixels, decode, read_image, resize_square
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, TEMPLATE_SIZE, similarity, warp

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp", ".tif", ".tiff", ".webp"})
_POINTS = ("le", "re", "nose", "lm", "rm")
_COLUMNS = tuple(f"{point}_{axis}" for point in _POINTS for axis in "xy")

Landmarks = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Photograph:
    """One image.

    Attributes:
        path: of the file.
        landmarks: float32 (5, 2) in its pixels; None if it is an aligned crop.
    """

    path: Path
    landmarks: Landmarks | None = None

    def face(self, error: npt.NDArray[np.float64] | None = None) -> Pixels:
        """The aligned face, uint8 (112, 112, 3).

        Args:
            error: (2, 3), from the aligned to an erroneous frame; a raw image is resampled once, so that what lies
                beyond the aligned crop comes into view, beside an aligned crop there is black.

        Raises:
            InputError: the file is no whole image, a crop is not square, or landmarks coincide.
        """
        image = read_image(self.path)
        try:
            if self.landmarks is None:
                crop = resize_square(image, TEMPLATE_SIZE)
                return crop if error is None else warp(crop, error)
            matrix = similarity(self.landmarks, TEMPLATE)
        except ValueError as wrong:
            raise InputError(str(wrong), file=self.path, remedy="give landmarks to have it aligned") from None
        except InputError as wrong:
            raise InputError(str(wrong), file=self.path) from None
        return warp(image, matrix if error is None else _chain(error, matrix))

    def as_it_is(self) -> bytes | None:
        """The file's bytes, if they are a whole JPEG of an aligned face of 112 × 112 pixels already."""
        if self.landmarks is not None:
            return None
        data = self.path.read_bytes()
        if not data.startswith(JPEG_START):
            return None
        try:
            fits = decode(data).shape == (TEMPLATE_SIZE, TEMPLATE_SIZE, 3)
        except ValueError as error:
            raise InputError(f"cannot be read as an image ({error})", file=self.path) from None
        return data if fits else None


def read_people(folder: Path, landmarks: Path | None = None) -> dict[str, list[Photograph]]:
    """The photographs of each person by the name of the sub-folder, both in alphabetical order.

    Args:
        folder: ``person/image.jpg`` (or another usual format).
        landmarks: CSV with the columns identity, image (the file's name, with or without its ending) and le_x, le_y,
            re_x, re_y, nose_x, nose_y, lm_x, lm_y, rm_x, rm_y in pixels, left and right as the viewer sees them.

    Raises:
        InputError: there are no people, a person has no image, or an image has no landmarks.
    """
    if not folder.is_dir():
        raise InputError("no such folder", file=folder)
    points = None if landmarks is None else read_landmarks(landmarks)
    people = {}
    for person in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in person.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
        if not files:
            raise InputError(
                "the folder holds no image", file=person, remedy="remove it, or put in the person's images"
            )
        people[person.name] = [Photograph(path, _points_of(path, points, landmarks)) for path in files]
    if not people:
        raise InputError("no folder of a person in it", file=folder, expected="person/image.jpg")
    return people


def read_landmarks(path: Path) -> dict[tuple[str, str], Landmarks]:
    """Landmarks float32 (5, 2) by identity and image, the image's name without its ending.

    Raises:
        InputError: the file is missing, lacks a column, an image occurs twice or a value is no number.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            absent = [name for name in ("identity", "image", *_COLUMNS) if name not in (reader.fieldnames or ())]
            if absent:
                raise InputError(f"no column {', '.join(absent)}", file=path)
            found: dict[tuple[str, str], Landmarks] = {}
            for row in reader:
                key = (row["identity"], _stem(row["image"] or ""))
                if key in found:
                    raise InputError(
                        f"the image {'/'.join(key)} occurs twice", file=path, record=f"line {reader.line_num}"
                    )
                found[key] = _numbers(row, path, reader.line_num)
            return found
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"no CSV file ({error})", file=path) from None


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def _numbers(row: Mapping[str, str | None], path: Path, line: int) -> Landmarks:
    try:
        values = np.array([float(row[name] or "") for name in _COLUMNS], np.float32)
    except ValueError as error:
        raise InputError(f"{error}", file=path, record=f"line {line}", expected="coordinates in pixels") from None
    return values.reshape(5, 2)


def _points_of(
    image: Path, points: Mapping[tuple[str, str], Landmarks] | None, landmarks: Path | None
) -> Landmarks | None:
    if points is None:
        return None
    key = (image.parent.name, image.stem)
    if key not in points:
        raise InputError(
            f"no landmarks of {'/'.join(key)}", file=landmarks, remedy=f"add them, or remove {image} from the folder"
        )
    return points[key]


def _chain(second: npt.NDArray[np.float64], first: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The matrix (2, 3) that applies ``first`` and then ``second``."""
    return np.asarray(second @ np.vstack([first, [0.0, 0.0, 1.0]]))
