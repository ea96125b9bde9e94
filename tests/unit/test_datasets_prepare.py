"""Trees of crops and record files become training sets with the same bytes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aroface.datasets.generate import generate_training
from aroface.datasets.images import encode_jpeg
from aroface.datasets.manifest import read_manifest
from aroface.datasets.prepare import prepare
from aroface.datasets.training_set import TrainingSet
from aroface.errors import InputError


def crop(seed: int, size: int = 112) -> bytes:
    return encode_jpeg(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8), 90)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "WebFace"
    for number, name in enumerate(["part1/0_1_7", "part0/0_0_3", "part1/0_1_2"]):
        (root / name).mkdir(parents=True)
        for image in range(number + 1):
            (root / name / f"{image}.jpg").write_bytes(crop(10 * number + image))
    (root / "readme.txt").write_text("parts")
    return root


def held(folder: Path) -> Counter[tuple[int, bytes]]:
    found = TrainingSet.open(folder)
    return Counter((int(found.labels[position]), found.jpeg(position)) for position in range(len(found)))


@pytest.mark.parametrize("shuffle", [False, True])
def test_folders_of_parts_become_one_set(tree: Path, tmp_path: Path, shuffle: bool) -> None:
    assert prepare(tree, tmp_path / "set", shuffle=shuffle) == (6, 3)
    people = (tmp_path / "set/identities.txt").read_text().split()
    assert people == ["0_0_3", "0_1_2", "0_1_7"]
    expected = Counter((people.index(path.parent.name), path.read_bytes()) for path in sorted(tree.rglob("*.jpg")))
    assert held(tmp_path / "set") == expected
    assert read_manifest(tmp_path / "set")["counts"] == {"identities": 3, "images": 6}


def test_records_are_shuffled_by_seed_alone(tmp_path: Path) -> None:
    generate_training({"identities": 5, "images_per_identity": 4}, 1, tmp_path / "sorted", workers=1)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare(tmp_path / "sorted", tmp_path / name, shuffle=True, seed=seed)
        assert held(tmp_path / name) == held(tmp_path / "sorted")
    records = {name: (tmp_path / name / "train.rec").read_bytes() for name in "abc"}
    assert records["a"] == records["b"] != records["c"]
    assert not np.all(np.diff(TrainingSet.open(tmp_path / "a").labels) >= 0)
    prepare(tmp_path / "a", tmp_path / "back")
    assert np.all(np.diff(TrainingSet.open(tmp_path / "back").labels) >= 0)
    assert held(tmp_path / "back") == held(tmp_path / "sorted")


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("part0/0_0_3/9.jpg", crop(0, 100), r"9\.jpg: an image of 100×100 pixels; expected a JPEG of 112×112"),
        ("part0/0_0_3/9.jpg", crop(0)[:300], r"9\.jpg: cannot be read as an image"),
        ("part0/0_1_2/0.jpg", crop(0), "a second folder of this name"),
    ],
)
def test_what_does_not_fit_is_named_and_leaves_nothing(
    tree: Path, tmp_path: Path, file: str, data: bytes, message: str
) -> None:
    (tree / file).parent.mkdir(exist_ok=True)
    (tree / file).write_bytes(data)
    with pytest.raises(InputError, match=message):
        prepare(tree, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["WebFace"]


def test_an_empty_folder_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="0 folders with JPEGs; expected a folder for each person"):
        prepare(tmp_path / "empty", tmp_path / "set")
    with pytest.raises(InputError, match="no such folder"):
        prepare(tmp_path / "nowhere", tmp_path / "set")
