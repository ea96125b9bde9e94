"""Landmarks that cannot belong to a face in their image are told, and refused above a share."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.images import encode_jpeg
from aroface.datasets.preparation.landmark_checks import suspicion
from aroface.datasets.preparation.photograph_checks import check_landmarks
from aroface.datasets.preparation.photographs import read_people
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE, similarity_matrix, transform

HEIGHT, WIDTH = 400, 300
POINTS = TEMPLATE.astype(float) + np.array([90, 120])
COLUMNS = ["identity", "image", *(f"{point}_{axis}" for point in ("le", "re", "nose", "lm", "rm") for axis in "xy")]
Change = Callable[[np.ndarray], np.ndarray]


def around(scale: float, degrees: float) -> Change:
    def change(points: np.ndarray) -> np.ndarray:
        turned = transform(similarity_matrix(scale, degrees, 0, 0, 1)[0], points - points.mean(axis=0))
        return turned - turned.mean(axis=0) + points.mean(axis=0)

    return change


def in_profile(degrees: float) -> Change:
    """The points of a head that has turned to the side, seen from afar."""
    depth = np.array([-5, -5, 20, 0, 0])
    yaw = np.radians(degrees)

    def change(points: np.ndarray) -> np.ndarray:
        x = points[:, 0] - points[:, 0].mean()
        return np.stack([x * np.cos(yaw) + depth * np.sin(yaw) + points[:, 0].mean(), points[:, 1]], axis=1)

    return change


SOUND: dict[str, Change] = {
    "frontal": lambda points: points,
    "small": around(0.1, 0),
    "inclined": around(1, 45),
    "inclined to the other side": around(1.2, -45),
    "half profile": in_profile(45),
    "profile": in_profile(85),
    "other profile": in_profile(-85),
    "a little outside": lambda points: points - [110, 0],
}
WRONG: dict[str, tuple[Change, str]] = {
    "relative": (lambda points: points / [WIDTH, HEIGHT], "relative coordinates"),
    "y first": (lambda points: points[:, ::-1], "x and y exchanged"),
    "left and right": (lambda points: points[[1, 0, 2, 4, 3]], "left and right exchanged"),
    "mirrored": (lambda points: points * [-1, 1] + [WIDTH - 1, 0], "left and right exchanged"),
    "origin below": (lambda points: points * [1, -1] + [0, HEIGHT - 1], "top and bottom exchanged"),
    "eyes": (lambda points: points[[1, 0, 2, 3, 4]], "the eyes or the corners of the mouth exchanged"),
    "mouth": (lambda points: points[[0, 1, 2, 4, 3]], "the eyes or the corners of the mouth exchanged"),
    "nose and mouth": (lambda points: points[[0, 1, 3, 2, 4]], "points that no face has in this order"),
    "outside": (lambda points: points + 5000, "points outside the image of 300×400 pixels"),
    "left of it": (lambda points: points - [200, 0], "points outside"),
    "of another size": (lambda points: points * 4, "points outside"),
    "a quarter turn": (around(1, 90), "a face turned by more than 60°"),
    "upside down": (around(1, 180), "a face turned by more than 60°"),
    "tiny": (around(0.05, 0), "a face to be enlarged more than 16 times"),
}


@pytest.mark.parametrize("name", SOUND)
def test_faces_as_they_are_pass(name: str):
    assert suspicion(SOUND[name](POINTS), HEIGHT, WIDTH) is None


@pytest.mark.parametrize("name", WRONG)
def test_points_of_another_frame_or_order_are_told(name: str):
    change, kind = WRONG[name]
    assert (suspicion(change(POINTS), HEIGHT, WIDTH) or "").startswith(kind)


def photographs(root: Path, wrong: int, change: Change, people: int = 10, images: int = 5) -> tuple[Path, Path]:
    rows = []
    for number in range(people * images):
        person, name = f"p{number // images}", f"{number % images}.jpg"
        (root / "f" / person).mkdir(parents=True, exist_ok=True)
        (root / "f" / person / name).write_bytes(encode_jpeg(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), 90))
        points = change(POINTS) if number < wrong else POINTS
        rows.append([person, name, *points.ravel()])
    with open(root / "l.csv", "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return root / "f", root / "l.csv"


@pytest.mark.parametrize("name", WRONG)
def test_above_the_share_they_are_one_line_with_file_and_row(tmp_path: Path, name: str, capsys):
    folder, table = photographs(tmp_path, 50, WRONG[name][0])
    words = ["data", "pack", str(folder), "--landmarks", str(table), "--out", str(tmp_path / "out")]
    assert main([*words, "--test-fraction", "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{table}: 50 of 50 suspect landmarks, most of them: {WRONG[name][1]}" in line
    assert "(first: line 2 of p0/0.jpg)" in line and "--max-suspect-landmarks" in line
    assert not (tmp_path / "out").exists()


def test_below_the_share_they_are_listed(tmp_path: Path, capsys):
    folder, table = photographs(tmp_path, 1, WRONG["mirrored"][0])
    words = ["data", "pack", str(folder), "--landmarks", str(table), "--out", str(tmp_path / "out")]
    assert main([*words, "--test-fraction", "0"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "suspect landmarks: 1, left and right exchanged: line 2 of p0/0.jpg\n"
    assert printed.out == f"{tmp_path / 'out'}  50 images of 10 people; train: 50 of 10\n"
    assert main([*words, "--test-fraction", "0", "--max-suspect-landmarks", "0"]) == 2


@pytest.mark.parametrize("value", [1e154, 1e300, -1e300, np.inf, np.nan])
def test_points_beyond_all_numbers_are_one_line(tmp_path: Path, value: float, capsys):
    folder, table = photographs(tmp_path, 1, lambda points: points * value)
    assert main(["data", "pack", str(folder), "--landmarks", str(table), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()  # which NumPy's warnings would be part of
    assert f"{table}: line 2: " in line and "not finite" in line


def test_points_that_coincide_name_their_row(tmp_path: Path):
    folder, table = photographs(tmp_path, 3, lambda points: points * 0)
    people, _ = read_people(folder, table)
    with pytest.raises(InputError, match=r"l\.csv: line 2: of .*p0/0\.jpg: landmarks are not finite or all coincide"):
        check_landmarks(people, folder, table, 1.0)
