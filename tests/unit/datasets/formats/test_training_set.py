from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from aroface.datasets.formats import training_set as module
from aroface.datasets.formats.training_set import TrainingSet, write_training_set
from aroface.errors import InputError

MAGIC = bytes.fromhex("0a23d7ce")
JPEG = b"\xff\xd8\xff"
ITEMS = [(0, JPEG + b"a"), (0, JPEG + b"b" + MAGIC * 2 + b"q"), (1, MAGIC * 3), (1, b"xy" + MAGIC + b"zz" + MAGIC)]


def write(folder: Path) -> Path:
    write_training_set(folder, ITEMS, 2)
    return folder


def test_the_files_are_those_that_mxnet_writes(tmp_path: Path):
    write(tmp_path)
    # SHA-256 of the file that mxnet 1.9.1's MXIndexedRecordIO wrote of the same items.
    expected = "c1c1606da85abcaf34e6ba65a418b4bcea702c05120736edc641ccc63a94fe63"
    assert hashlib.sha256((tmp_path / "train.rec").read_bytes()).hexdigest() == expected
    assert (tmp_path / "train.idx").read_text() == "0\t0\n1\t40\n2\t76\n3\t132\n4\t188\n5\t236\n6\t276\n"
    assert (tmp_path / "property").read_text() == "2,112,112\n"


def test_what_is_written_is_read(tmp_path: Path):
    items = [(label, JPEG + bytes([label]) * 5) for label in (0, 0, 2, 2, 2, 3)]
    assert write_training_set(tmp_path / "faces", items, 5) == 6
    training_set = TrainingSet.open(tmp_path / "faces")
    assert (training_set.name, training_set.num_classes, len(training_set)) == ("faces", 5, 6)
    assert [(int(label), training_set.jpeg(i)) for i, label in enumerate(training_set.labels)] == items


def test_a_record_that_is_no_jpeg_is_named(tmp_path: Path):
    training_set = TrainingSet.open(write(tmp_path))
    with pytest.raises(InputError, match=r"train\.rec: record 3 \(byte 132\): the record is no JPEG"):
        training_set.jpeg(2)


def test_a_label_that_is_no_class_is_named(tmp_path: Path):
    (write(tmp_path) / "property").write_text("1,112,112\n")
    with pytest.raises(InputError, match=r"train\.rec: record 3 .*the label is 1; expected a label below 1"):
        TrainingSet.open(tmp_path)


@pytest.mark.parametrize("text", ["", "2", "two,112,112", "2,112,96", "0,112,112"])
def test_a_malformed_property_is_refused(tmp_path: Path, text: str):
    (write(tmp_path) / "property").write_text(text)
    with pytest.raises(InputError, match="property: reads"):
        TrainingSet.open(tmp_path)


@pytest.mark.parametrize("missing", ["train.rec", "train.idx"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str):
    (write(tmp_path) / missing).unlink()
    with pytest.raises(InputError, match=f"{missing}: no such file"):
        TrainingSet.open(tmp_path)


def test_an_index_shorter_than_the_header_says_is_refused(tmp_path: Path):
    index = write(tmp_path) / "train.idx"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=r"the index has 6 records.*expected the 7 keys 0 to 6"):
        TrainingSet.open(tmp_path)


def test_overlapping_identity_ranges_fall_back_to_the_records_own_labels(tmp_path: Path):
    records = write(tmp_path) / "train.rec"
    data = bytearray(records.read_bytes())
    data[-8:-4] = b"\x00\x00\x00\x40"  # the second identity's range becomes [2, 5)
    records.write_bytes(data)
    assert TrainingSet.open(tmp_path).labels.tolist() == [0, 0, 1, 1]


def test_labels_must_ascend_and_be_classes(tmp_path: Path):
    for labels in ((1, 0), (0, 2)):
        with pytest.raises(ValueError, match="label"):
            write_training_set(tmp_path, [(label, JPEG) for label in labels], 2)
    assert not (tmp_path / "train.rec").exists()


def test_more_people_than_float32_labels_tell_apart_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "EXACT", 1)
    with pytest.raises(InputError, match="2 people, but records' labels are float32; expected at most 1 people"):
        write(tmp_path)
    monkeypatch.setattr(module, "EXACT", 2)
    assert len(TrainingSet.open(write(tmp_path))) == 4


def test_an_unknown_reader_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no reader 'dali'; expected one of native, mxnet"):
        TrainingSet.open(write(tmp_path), reader="dali")


@pytest.mark.parametrize("present", [None, ModuleType("mxnet")])
def test_mxnet_that_is_missing_or_broken_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present):
    monkeypatch.setitem(sys.modules, "mxnet", present)
    monkeypatch.delitem(sys.modules, "mxnet.recordio", raising=False)
    with pytest.raises(
        InputError, match=r"MXNet cannot be imported \(.*\); install workflow/envs/mxnet\.txt in an env"
    ):
        TrainingSet.open(write(tmp_path), reader="mxnet")


def test_reading_needs_nothing_but_numpy(tmp_path: Path):
    """MXNet's environment has no torch, and its numpy is an old one."""
    code = "import sys; from aroface.datasets.formats.training_set import TrainingSet; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not {"torch", "cv2", "simplejpeg", "scipy", "jsonschema", "mxnet"} & loaded
