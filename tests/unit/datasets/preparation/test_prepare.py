"""Trees of crops and record files become training sets with the same bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.images import decode, encode_jpeg
from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from aroface.errors import InputError
from generated_sets import generate_training


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
    prepared = prepare(tree, tmp_path / "set", PrepareOptions(shuffle=shuffle))
    assert (prepared.images, prepared.people) == (6, 3)
    people = (tmp_path / "set/identities.txt").read_text().split()
    assert people == ["0_0_3", "0_1_2", "0_1_7"]
    expected = Counter((people.index(path.parent.name), path.read_bytes()) for path in sorted(tree.rglob("*.jpg")))
    assert held(tmp_path / "set") == expected
    assert read_manifest(tmp_path / "set")["counts"] == {"identities": 3, "images": 6}


def test_records_are_shuffled_by_seed_alone(tmp_path: Path) -> None:
    generate_training({"identities": 5, "images_per_identity": 4}, 1, tmp_path / "sorted", workers=1)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare(tmp_path / "sorted", tmp_path / name, PrepareOptions(shuffle=True, seed=seed))
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
        ("part0/0_0_3/9.jpg", crop(0, 100), r"9\.jpg: an image of 100×100 pixels; expected an aligned crop of 112×112"),
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
    with pytest.raises(InputError, match="no folder of a person in it; expected person/image"):
        prepare(tmp_path / "empty", tmp_path / "set")
    with pytest.raises(InputError, match="no such folder"):
        prepare(tmp_path / "nowhere", tmp_path / "set")


def test_people_with_other_formats_are_kept_and_stray_images_are_told(tree: Path, tmp_path: Path) -> None:
    png = cv2.imencode(".png", decode(crop(10))[:, :, ::-1])[1].tobytes()
    for path in (tree / "part1/0_1_2").iterdir():
        path.write_bytes(png)
        path.rename(path.with_suffix(".png"))
    for number in range(60):
        (tree / f"part0/0_0_3/more{number}").write_bytes(crop(number))
    (tree / "part0/overview.jpg").write_bytes(crop(0))
    prepared = prepare(tree, tmp_path / "set")
    assert (prepared.images, prepared.people) == (66, 3)
    assert prepared.omissions.summary() == {
        "not an image": {"count": 1, "first": ["readme.txt"]},
        "outside the people's folders": {"count": 1, "first": ["part0/overview.jpg"]},
    }
    assert read_manifest(tmp_path / "set")["left_out"] == prepared.omissions.summary()
    again = decode(TrainingSet.open(tmp_path / "set").jpeg(65 - 1))
    assert again.shape == (112, 112, 3)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("records", [False, True])
def test_damaged_images_are_left_out_where_that_is_asked_for(tmp_path: Path, shuffle: bool, records: bool) -> None:
    jpegs = [crop(number) for number in range(12)]
    jpegs[4] = jpegs[4][:300]
    if records:
        write_training_set(tmp_path / "source", ((number // 4, jpeg) for number, jpeg in enumerate(jpegs)), 3)
    else:
        for number, jpeg in enumerate(jpegs):
            (tmp_path / f"source/{number // 4}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"source/{number // 4}/{number:02}.jpg").write_bytes(jpeg)
    if not records:
        with pytest.raises(InputError, match=r"04\.jpg: cannot be read as an image"):
            prepare(tmp_path / "source", tmp_path / "set", PrepareOptions(shuffle=shuffle))
    skip = PrepareOptions(shuffle=shuffle, on_corrupt="skip")
    with pytest.raises(InputError, match=r"source: 1 of 12 left out, most of them: cannot be decoded .*--max-left-out"):
        prepare(tmp_path / "source", tmp_path / "set", skip)
    assert not (tmp_path / "set").exists()
    prepared = prepare(tmp_path / "source", tmp_path / "set", replace(skip, max_left_out=0.1))
    assert (prepared.images, prepared.people, len(prepared.corrupt)) == (11, 3, 1)
    manifest = read_manifest(tmp_path / "set")
    assert manifest["corrupt"] == prepared.corrupt
    assert manifest["left_out"]["cannot be decoded"]["count"] == 1
    assert held(tmp_path / "set") == Counter((number // 4, jpeg) for number, jpeg in enumerate(jpegs) if number != 4)


@pytest.mark.parametrize("options", [PrepareOptions(people_depth=1), PrepareOptions(resize_crops=True)])
def test_options_of_folders_are_refused_for_records(tmp_path: Path, options: PrepareOptions) -> None:
    write_training_set(tmp_path / "source", [(0, crop(0)), (1, crop(1))], 2)
    with pytest.raises(InputError, match="source: holds records, no folders of people; leave out --people-depth"):
        prepare(tmp_path / "source", tmp_path / "set", options)


def test_a_person_of_damaged_images_alone_is_lost_only_where_that_is_allowed(tree: Path, tmp_path: Path) -> None:
    for path in (tree / "part1/0_1_2").iterdir():
        path.write_bytes(b"\xff\xd8\xff and no more")
    skip = PrepareOptions(on_corrupt="skip", max_left_out=0.5)
    with pytest.raises(InputError, match=r"0_1_2: the folder holds no image that can be used; left out"):
        prepare(tree, tmp_path / "set", skip)
    prepared = prepare(tree, tmp_path / "set", replace(skip, lost_people="omit"))
    assert (prepared.images, prepared.people) == (3, 2)
    assert "person without an image" in prepared.omissions.summary()
