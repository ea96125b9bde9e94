"""Records without ``property``: as im2rec and CVLface write them, and in numbered parts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aroface.cli.main import main
from aroface.datasets.formats.indexed_records import RecordFile
from aroface.datasets.formats.record_layout import find_layout, read_list
from aroface.datasets.formats.recordio import open_writer, pack
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.datasets.identity import data_identity
from aroface.datasets.images import encode_jpeg
from aroface.datasets.manifest import read_manifest
from aroface.errors import InputError

LABELS = [3, 0, 2, 2, 0, 1, 3, 0]


def face(number: int) -> bytes:
    coarse = np.random.default_rng(number).integers(0, 256, (7, 7, 3), np.uint8)
    return encode_jpeg(np.kron(coarse, np.ones((16, 16, 1), np.uint8)), 90)


def write_part(folder: Path, stem: str, rows: Sequence[tuple[int, float | tuple[float, ...], bytes]]) -> None:
    """Records without header record, as im2rec and CVLface's script write them."""
    folder.mkdir(exist_ok=True)
    with open_writer(folder / f"{stem}.rec", folder / f"{stem}.idx") as writer:
        for key, label, jpeg in rows:
            writer.write(key, pack(label, jpeg, key))


def write_list(path: Path, rows: Sequence[tuple[int, tuple[float, ...]]]) -> None:
    """Format of im2rec's ``write_list``."""
    lines = (f"{key}\t{''.join(f'{label:f}' + chr(9) for label in labels)}{key}/a b.jpg\n" for key, labels in rows)
    path.write_text("".join(lines))


def shuffled(folder: Path, *, lst: bool = True, array: bool = False) -> Path:
    keys = [5, 0, 7, 2, 1, 6, 3, 4]
    labels = {key: (float(LABELS[key]), 0.5) if array else (float(LABELS[key]),) for key in keys}
    write_part(folder, "train", [(key, labels[key] if array else float(LABELS[key]), face(key)) for key in keys])
    if lst:
        write_list(folder / "train.lst", [(key, labels[key]) for key in keys])
    return folder


def held(training_set: TrainingSet) -> list[tuple[int, bytes]]:
    return [(int(label), training_set.jpeg(position)) for position, label in enumerate(training_set.labels)]


EXPECTED = [(label, face(key)) for key, label in enumerate(LABELS)]


@pytest.mark.parametrize("lst", [True, False])
@pytest.mark.parametrize("array", [True, False])
def test_shuffled_records_need_no_property(tmp_path: Path, lst: bool, array: bool):
    training_set = TrainingSet.open(shuffled(tmp_path / "set", lst=lst, array=array))
    assert (training_set.num_classes, held(training_set)) == (4, EXPECTED)
    assert training_set.counted_from == ("train.lst" if lst else "train.rec")


def test_records_with_a_header_tell_the_number_of_identities(tmp_path: Path):
    items = [(label, face(label)) for label in (0, 0, 2)]
    write_training_set(tmp_path / "set", items, 5)
    (tmp_path / "set" / "property").unlink()
    training_set = TrainingSet.open(tmp_path / "set")
    assert (training_set.num_classes, training_set.counted_from, held(training_set)) == (5, "train.rec", items)


def test_a_listed_person_without_a_record_is_counted(tmp_path: Path):
    folder = shuffled(tmp_path / "set")
    with open(folder / "train.lst", "a") as file:
        file.write("8\t6.000000\tgone.jpg\n")
    assert TrainingSet.open(folder).num_classes == 7
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "manifest.json")]) == 0
    manifest = (tmp_path / "manifest.json").read_text()
    assert "train.lst has the 9 images, 1 of them without a record" in manifest
    assert "3 without an image, first 4; their number is that of train.lst" in manifest


def test_labels_of_a_list_spare_reading_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = shuffled(tmp_path / "set")
    monkeypatch.setattr(RecordFile, "_labels_at", None)
    assert TrainingSet.open(folder).labels.tolist() == LABELS


def test_cvlface_has_a_table_and_landmarks(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "set"
    write_part(folder, "train", [(key, float(label), face(key)) for key, label in enumerate(LABELS)])
    table = "".join(f"{key}\t{label}/0_{key}.jpg\t{label}\n" for key, label in enumerate(LABELS))
    (folder / "train.tsv").write_text(table)
    rows = "".join(f"{key}," + ",".join(["0.34000"] * 10) + "\n" for key in range(len(LABELS)))
    header = "idx," + ",".join(f"ldmk_{number}" for number in range(10))
    (folder / "ldmk_5points.csv").write_text(f"{header}\n{rows}")
    training_set = TrainingSet.open(folder)
    assert (training_set.num_classes, training_set.counted_from, held(training_set)) == (4, "train.tsv", EXPECTED)
    assert set(data_identity(folder)["files"]) == {"train.rec", "train.idx", "train.tsv"}
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "manifest.json")]) == 0
    out = capsys.readouterr().out
    assert "landmarks    ok: ldmk_5points.csv has 8 rows for 8 images; no training here uses it" in out
    assert "list         ok: train.tsv has the 8 images" in out
    (folder / "ldmk_5points.csv").write_text("idx,ldmk_0\n0,nowhere\n")
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "again.json")]) == 0
    assert "not used, and not readable" in capsys.readouterr().out


def in_parts(folder: Path, *, lists: bool = True) -> Path:
    for part, keys in enumerate(((2, 0, 5), (7, 1), (3, 6, 4))):
        write_part(folder, f"train_{part}", [(key, float(LABELS[key]), face(key)) for key in keys])
        if lists:
            write_list(folder / f"train_{part}.lst", [(key, (float(LABELS[key]),)) for key in keys])
    return folder


@pytest.mark.parametrize("lists", [True, False])
def test_numbered_parts_are_one_set(tmp_path: Path, lists: bool):
    training_set = TrainingSet.open(in_parts(tmp_path / "set", lists=lists))
    order = [0, 2, 5, 1, 7, 3, 4, 6]
    assert held(training_set) == [EXPECTED[key] for key in order]
    assert training_set.num_classes == 4
    training_set.will_need([7, 0, 3])
    assert "train_2.rec: record 6 " in str(training_set.error(7, "odd"))
    files = set(data_identity(tmp_path / "set")["files"])
    records = {f"train_{part}.{ending}" for part in range(3) for ending in ("rec", "idx")}
    assert files == records | ({f"train_{part}.lst" for part in range(3)} if lists else set())


def test_many_parts_are_in_the_order_of_their_numbers(tmp_path: Path):
    for part in range(11):
        write_part(tmp_path, f"train_{part}", [(part, float(part), face(part))])
    assert TrainingSet.open(tmp_path).labels.tolist() == list(range(11))


def test_a_missing_part_is_named(tmp_path: Path):
    folder = in_parts(tmp_path / "set")
    for ending in ("rec", "idx"):
        (folder / f"train_1.{ending}").unlink()
    with pytest.raises(InputError, match="part 1 is missing between 2 parts numbered 0 to 2"):
        TrainingSet.open(tmp_path / "set")


def test_two_parts_of_one_number_are_refused(tmp_path: Path):
    for stem in ("train_1", "train-01"):
        write_part(tmp_path, stem, [(0, 0.0, face(0))])
    with pytest.raises(InputError, match="two parts have one number"):
        find_layout(tmp_path)


def test_a_list_beside_property_counts_for_nothing(tmp_path: Path):
    write_training_set(tmp_path, [(0, face(0)), (1, face(1))], 2)
    before = data_identity(tmp_path)
    (tmp_path / "train.lst").write_text("no list at all")
    training_set = TrainingSet.open(tmp_path)
    assert (training_set.num_classes, training_set.counted_from) == (2, "property")
    assert data_identity(tmp_path) == before


def test_a_list_of_another_file_is_told_by_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = shuffled(tmp_path / "set")
    rows = [(key, (float(3 - label),)) for key, label in enumerate(LABELS)]
    write_list(folder / "train.lst", rows)
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "manifest.json")]) == 2
    error = capsys.readouterr().err
    assert "record 0 (byte" in error
    assert "the label is 3, one of 8 that are not as listed; expected 0 by train.lst" in error
    with pytest.raises(InputError, match=r"record's own label is 3; expected 0 by the identities' ranges, the list or"):
        TrainingSet.open(folder).jpeg(0)


def test_a_list_without_all_records_leaves_the_labels_to_the_records(tmp_path: Path):
    folder = shuffled(tmp_path / "set")
    write_list(folder / "train.lst", [(key, (float(LABELS[key]),)) for key in range(5)])
    assert held(TrainingSet.open(folder)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.lst", "", "the list is empty; expected lines of key, tab, label"),
        ("train.lst", "0 0 a.jpg\n", "expected lines of key, tab, label, tab, path"),
        ("train.lst", "0\tfirst\ta.jpg\n", "could not convert string 'first' to float64"),
        ("train.lst", "0\t0.5\ta.jpg\n", "row 1: key 0, label 0.5; expected .*whole numbers from 0"),
        ("train.lst", "0\t0\ta\n1\t-1\tb\n", "row 2: key 1, label -1"),
        ("train.lst", "0\tnan\ta\n", "row 1: key 0, label nan"),
        ("train.lst", "0\t1\ta\n0\t1\tb\n", "the key 0 occurs twice"),
        ("train.tsv", "0\ta.jpg\n", "expected lines of key, tab, path, tab, label"),
        ("train.tsv", "0\ta.jpg\tb\n", "could not convert string 'b'"),
    ],
)
def test_a_malformed_list_is_one_line(tmp_path: Path, name: str, text: str, message: str):
    folder = shuffled(tmp_path / "set", lst=False)
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        TrainingSet.open(folder)


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_bytes_of_a_list_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    folder = tmp_path_factory.mktemp("list")
    for name in ("train.lst", "train.tsv"):
        (folder / name).write_bytes(b"0\t1.0\ta\t2\n" + data)
        try:
            keys, labels = read_list(folder / name)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert len(keys) == len(labels) > 0


def test_what_verify_counted_is_taken_from_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of a received set it lies beside the link, as the workflow has it, and so do the labels."""
    folder = shuffled(tmp_path / "read_only")
    (tmp_path / "results").mkdir()
    link = tmp_path / "results" / "set"
    link.symlink_to(folder)
    os.utime(folder / "train.lst", (1, 1))
    for name in ("train.rec", "train.idx"):
        os.utime(folder / name, (1, 1))
    assert main(["data", "verify", str(link), "--manifest", str(tmp_path / "results" / "manifest.json")]) == 0
    (folder / "train.labels.npy").unlink()
    (tmp_path / "results" / "manifest.json").touch()
    assert TrainingSet.open(link).counted_from == "manifest.json"
    assert TrainingSet.open(link, recount=True).counted_from == "train.lst"
    assert TrainingSet.open(folder).counted_from == "train.lst"
    assert TrainingSet.open(link).num_classes == TrainingSet.open(folder).num_classes == 4
    with open(folder / "train.lst", "a") as file:
        file.write("8\t5.0\tnew.jpg\n")
    assert (TrainingSet.open(link).num_classes, TrainingSet.open(link).counted_from) == (6, "train.lst")


def test_labels_are_kept_beside_the_link_to_a_folder_that_takes_no_file(tmp_path: Path, monkeypatch):
    folder = shuffled(tmp_path / "read_only", lst=False)
    (tmp_path / "results").mkdir()
    link = tmp_path / "results" / "set"
    link.symlink_to(folder)
    (folder / "train.labels.npy").mkdir()  # so that nothing can be written there
    assert held(TrainingSet.open(link)) == EXPECTED
    assert (tmp_path / "results" / "train.labels.npy").is_file()
    monkeypatch.setattr(RecordFile, "_labels_at", None)
    assert TrainingSet.open(link).labels.tolist() == LABELS


def test_the_manifest_has_the_size_of_images_that_no_file_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = shuffled(tmp_path / "set")
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "m.json")]) == 0
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "m.json")]) == 0  # and reads nothing again
    shutil.copy(tmp_path / "m.json", folder / "manifest.json")
    assert read_manifest(folder)["image_size"] == [112, 112]
    capsys.readouterr()
    assert main(["data", "info", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "image size     112×112" in out
    (folder / "property").write_text("4,112,112\n")
    assert main(["data", "verify", str(folder), "--manifest", str(tmp_path / "n.json")]) == 0
    assert "image_size" not in (tmp_path / "n.json").read_text()


def test_records_without_property_are_prepared_into_records_with_it(tmp_path: Path):
    assert main(["data", "prepare", str(in_parts(tmp_path / "parts")), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "property").read_text() == "4,112,112\n"
    assert sorted(held(TrainingSet.open(tmp_path / "out"))) == sorted(EXPECTED)
