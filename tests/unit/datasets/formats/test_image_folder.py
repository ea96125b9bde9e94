from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from aroface.datasets import manifest
from aroface.datasets.formats.registry import detect
from aroface.datasets.formats.tinyface import write_tinyface
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.identity import data_hash
from aroface.datasets.images import encode_jpeg
from aroface.datasets.info import describe, sheet
from aroface.datasets.loader import BatchLoader
from aroface.datasets.manifest import write_manifest
from aroface.errors import InputError


def jpeg(shade: int, size: int = 112) -> bytes:
    return encode_jpeg(np.full((size, size, 3), shade, np.uint8), 90)


PEOPLE = {"bert": ["2.JPG", "1.jpeg"], "anna": ["b.jpg", "a.jpg", "c.jpg"], "Zoë ä": ["x.jpg"]}
ORDER = ["Zoë ä/x.jpg", "anna/a.jpg", "anna/b.jpg", "anna/c.jpg", "bert/1.jpeg", "bert/2.JPG"]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    for person, names in PEOPLE.items():
        (folder / person).mkdir(parents=True)
        for name in names:
            (folder / person / name).write_bytes(jpeg(20 * ORDER.index(f"{person}/{name}")))
    (folder / "anna" / ".hidden").touch()
    (folder / ".cache").mkdir()
    return folder


def test_people_are_numbered_in_the_order_of_their_names(faces: Path):
    found = TrainingSet.open(faces)
    assert (found.name, found.num_classes, len(found)) == ("faces", 3, 6)
    assert found.labels.tolist() == [0, 1, 1, 1, 2, 2]
    assert found.labels.dtype == np.int64
    assert [found.jpeg(position) for position in range(6)] == [(faces / name).read_bytes() for name in ORDER]
    assert all(str(found.error(i, "it")).startswith(f"{faces / name}: it; expected") for i, name in enumerate(ORDER))


def test_it_is_the_set_that_records_of_its_images_are(faces: Path, tmp_path: Path):
    one = TrainingSet.open(faces)
    items = [(int(label), one.jpeg(position)) for position, label in enumerate(one.labels)]
    write_training_set(tmp_path / "records", items, one.num_classes)
    batches = [next(BatchLoader(each, 6, seed=1).epoch(0)) for each in (one, TrainingSet.open(tmp_path / "records"))]
    assert np.array_equal(batches[0].images, batches[1].images)
    assert batches[0].labels.tolist() == batches[1].labels.tolist()


def test_its_worker_may_be_another_process(faces: Path):
    found = pickle.loads(pickle.dumps(TrainingSet.open(faces)))
    assert found.jpeg(5) == (faces / ORDER[5]).read_bytes()


def test_it_is_described_and_drawn(faces: Path, tmp_path: Path):
    assert describe(faces)[:3] == ["kind           training", "identities     3", "images         6"]
    sheet(faces, tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (114 * 3 + 2, 114 * 12 + 2, 3)


def test_it_is_known_by_what_it_holds(faces: Path):
    assert detect(faces).kind == "training"
    assert detect(faces).files(faces) == (faces, ["Zoë ä", "anna", "bert"])
    before = data_hash(faces)
    (faces / "anna" / "a.jpg").write_bytes(jpeg(99))
    assert data_hash(faces) != before


def test_of_many_people_all_names_and_some_images_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(150):
        (tmp_path / f"{number:03}").mkdir()
        (tmp_path / f"{number:03}" / "1.jpg").write_bytes(b"%d" % number)
    read: list[Path] = []
    genuine = manifest.sha256_file
    monkeypatch.setattr(manifest, "sha256_file", lambda path: read.append(path) or genuine(path))
    hashes = {data_hash(tmp_path)}
    assert len(read) == 50
    (tmp_path / "149" / "1.jpg").rename(tmp_path / "149" / "2.jpg")
    hashes.add(data_hash(tmp_path))
    read[0].write_bytes(b"another")
    hashes.add(data_hash(tmp_path))
    assert len(hashes) == 3


def test_a_manifest_may_lie_in_it(faces: Path):
    write_manifest(faces, name="faces", kind="training", identity={"files": {}}, counts={"images": 6})
    assert detect(faces).kind == "training"
    assert TrainingSet.open(faces).num_classes == 3


def tiny(folder: Path) -> None:
    write_tinyface(folder, [(1, jpeg(1)), (2, jpeg(2))], [(1, jpeg(3))], [jpeg(4)])


def unlisted(folder: Path) -> None:
    tiny(folder)
    for path in folder.rglob("*.mat"):
        path.unlink()


def crops(folder: Path) -> None:
    tiny(folder.parent)
    for part in ("Gallery_Match", "Probe"):
        (folder / part).mkdir(parents=True)
        (folder / part / "1_1.jpg").write_bytes(jpeg(1))


def photographs(folder: Path) -> None:
    (folder / "holiday").mkdir(parents=True)
    (folder / "holiday" / "1.jpg").write_bytes(jpeg(1))
    (folder / "notes.txt").touch()


def deeper(folder: Path) -> None:
    (folder / "train" / "anna").mkdir(parents=True)
    (folder / "train" / "anna" / "1.jpg").write_bytes(jpeg(1))


def of_text(folder: Path) -> None:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "main.py").touch()


@pytest.mark.parametrize("make", [unlisted, crops, photographs, deeper, of_text, Path.mkdir])
def test_other_folders_are_no_such_set(tmp_path: Path, make):
    make(tmp_path / "data")
    with pytest.raises(InputError, match=r"data: no data set; expected .*, or nothing but one sub-folder a person of"):
        detect(tmp_path / "data")


def test_a_tinyface_tree_stays_one(tmp_path: Path):
    tiny(tmp_path)
    assert detect(tmp_path).kind == "tinyface"
    with pytest.raises(InputError, match="no data set"):
        detect(tmp_path / "tinyface" / "Testing_Set")


@pytest.mark.parametrize("make", [photographs, deeper, of_text, Path.mkdir, lambda path: None])
def test_what_is_neither_layout_is_refused(tmp_path: Path, make):
    make(tmp_path / "data")
    with pytest.raises(
        InputError, match=r"data/train\.rec: no such file; expected it and train\.idx, with property or train\.lst "
    ):
        TrainingSet.open(tmp_path / "data")


@pytest.mark.parametrize("person", ["a first one", "zoe"])
def test_an_empty_persons_folder_is_named(faces: Path, person: str):
    (faces / person).mkdir()
    with pytest.raises(InputError, match=rf"faces/{person}: the folder holds no image; remove it, or"):
        TrainingSet.open(faces)


def test_a_file_or_folder_that_is_no_jpeg_by_its_name_is_named(faces: Path):
    (faces / "bert" / "3.png").touch()
    with pytest.raises(InputError, match=r"faces/bert/3\.png: is no JPEG; expected nothing but"):
        TrainingSet.open(faces)
    (faces / "bert" / "3.png").unlink()
    for number in range(20):  # beyond those that are looked into to recognise the layout
        (faces / f"person {number}").mkdir()
        (faces / f"person {number}" / "1.jpg").write_bytes(jpeg(1))
    (faces / "z" / "more.jpg").mkdir(parents=True)
    with pytest.raises(InputError, match=r"faces/z/more\.jpg: is a folder; expected nothing but"):
        TrainingSet.open(faces)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is no JPEG"),
        (b"\x89PNG\r\n\x1a\n", "the file is no JPEG"),
        (jpeg(1)[:-100], "the JPEG cannot be decoded"),
        (jpeg(1, 96), "the image has 96×96 pixels"),
        (jpeg(1, 160), "the JPEG cannot be decoded .*too small"),
    ],
)
def test_a_bad_image_is_one_line_of_the_loader(faces: Path, content: bytes, what: str):
    (faces / "bert" / "1.jpeg").write_bytes(content)
    with pytest.raises(InputError, match=rf"^{faces}/bert/1\.jpeg: {what}.*; expected a JPEG of 112×112 pixels"):
        next(BatchLoader(TrainingSet.open(faces), 6, seed=0).epoch(0))


def test_an_image_that_has_gone_is_named(faces: Path):
    found = TrainingSet.open(faces)
    (faces / "bert" / "1.jpeg").unlink()
    with pytest.raises(InputError, match=r"bert/1\.jpeg: no such file"):
        found.jpeg(4)


def test_mxnet_does_not_read_image_files(faces: Path):
    with pytest.raises(InputError, match="faces: holds image files, no records for MXNet to read"):
        TrainingSet.open(faces, reader="mxnet")
