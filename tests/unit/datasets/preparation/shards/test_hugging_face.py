"""Tables that `datasets` and pyarrow wrote become records."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from aroface.cli.main import main
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from aroface.datasets.preparation.shards.base import ShardOptions
from aroface.datasets.preparation.shards.hugging_face import HuggingFaceShards
from aroface.errors import InputError
from aroface.omissions import Omissions
from crops import crop, in_order, png
from hidden_packages import run_without

FIXTURE = Path(__file__).with_name("hugging_face.tar.xz")  # which make_hugging_face.py made
LABELS = [2, 0, 0, 1, 2, 3]
NAMES = ["zoe", "anna", "bob", "carl"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with tarfile.open(FIXTURE) as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("source", ["hub", "hub/data", "disk", "splits", "splits/train"])
def test_what_datasets_wrote_becomes_records(made: Path, tmp_path: Path, source: str):
    """Files of the hub, and folders of save_to_disk; of several splits the one for training."""
    prepared = prepare(made / source, tmp_path / "set")
    assert (prepared.images, prepared.people) == (6, 4)
    assert [label for label, _ in in_order(tmp_path / "set")] == LABELS
    assert len(set(in_order(tmp_path / "set"))) == 6
    assert (tmp_path / "set/identities.txt").read_text().split() == NAMES


def test_names_become_classes_in_natural_order(made: Path, tmp_path: Path):
    prepare(made / "named.parquet", tmp_path / "set")
    assert TrainingSet.open(tmp_path / "set").labels.tolist() == LABELS
    names = (tmp_path / "set/identities.txt").read_text().splitlines()
    assert names == ["person 0", "person 5", "person 10", "person 15"]


def test_a_split_can_be_chosen(made: Path, tmp_path: Path):
    for source in ("hub", "splits"):
        with pytest.raises(InputError, match="labels up to 3 for 1 images"):
            prepare(made / source, tmp_path / "set", PrepareOptions(split="test"))
        with pytest.raises(InputError, match="no split 'dev'; expected one of test, train; choose one by --split"):
            prepare(made / source, tmp_path / "set", PrepareOptions(split="dev"))


def table(**columns: list[Any]) -> arrow.Table:
    return arrow.table(columns)


def rows(**more: list[Any]) -> arrow.Table:
    return table(image=[crop(number) for number in range(6)], label=LABELS, **more)


def write(path: Path, content: arrow.Table) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(content, path, row_group_size=4)
    else:
        opener = arrow.ipc.new_stream if "stream" in path.name else arrow.ipc.new_file
        with opener(str(path), content.schema) as writer:
            writer.write_table(content, max_chunksize=4)
    return path


@pytest.mark.parametrize("name", ["faces.parquet", "stream.arrow", "file.arrow"])
def test_plain_columns_of_bytes_and_numbers_are_taken(tmp_path: Path, name: str):
    prepare(write(tmp_path / name, rows()), tmp_path / "set")
    assert in_order(tmp_path / "set") == [(label, crop(number)) for number, label in enumerate(LABELS)]


def test_labels_that_never_fall_give_a_header(tmp_path: Path):
    content = rows().set_column(1, "label", [sorted(LABELS)])
    prepare(write(tmp_path / "faces.parquet", content), tmp_path / "set")
    (tmp_path / "set/property").unlink()
    training_set = TrainingSet.open(tmp_path / "set")
    assert (training_set.num_classes, training_set.labels.tolist()) == (4, sorted(LABELS))
    assert not list((tmp_path / "set").glob("*.npy"))


@pytest.mark.parametrize(
    "label", [arrow.large_string(), arrow.string(), arrow.dictionary(arrow.int8(), arrow.string())]
)
def test_types_of_names(tmp_path: Path, label: arrow.DataType):
    names = arrow.array([NAMES[label] for label in LABELS]).cast(label)
    content = table(img=[png(number) for number in range(6)], person=names)
    prepare(write(tmp_path / "faces.parquet", content), tmp_path / "set")
    assert (tmp_path / "set/identities.txt").read_text().split() == sorted(NAMES)


def test_columns_can_be_chosen(tmp_path: Path):
    content = table(a=[crop(number) for number in range(6)], b=[crop(9)] * 6, x=LABELS, y=[0, 1] * 3, z=["text"] * 6)
    source = write(tmp_path / "faces.parquet", content)
    for options, message in (
        ({}, r"2 columns may be the image; expected one of a, b; choose one by --image-column"),
        ({"image_column": "a"}, r"3 columns may be the label; expected one of x, y, z; choose one by --label-column"),
        ({"image_column": "x"}, "no column 'x' of images; expected one of a, b"),
        ({"image_column": "a", "label_column": "b"}, "no column 'b' of labels; expected one of x, y, z"),
    ):
        with pytest.raises(InputError, match=message):
            prepare(source, tmp_path / "set", PrepareOptions(**options))
    words = ["data", "prepare", str(source), "--out", str(tmp_path / "set"), "--image-column", "a"]
    assert main([*words, "--label-column", "y"]) == 0
    assert TrainingSet.open(tmp_path / "set").labels.tolist() == [0, 1] * 3


IMAGES = [crop(number) for number in range(3)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(label=[0, 1]), "no column can be the image"),
        (table(image=IMAGES), "no column can be the label"),
        (table(image=IMAGES, label=[0, None, 1]), "row 1: the label is None; expected a class from 0, or a name"),
        (table(image=IMAGES, label=[0, -1, 1]), "row 1: the label is -1"),
        (table(image=IMAGES, label=["a", "", "b"]), "row 1: the label is ''"),
        (table(image=[crop(0), None, crop(1)], label=[0, 1, 1]), "row 1: no image"),
        (table(image=[crop(0), b"", crop(1)], label=[0, 1, 1]), "row 1: no image"),
        (table(image=[crop(0), b"text", crop(1)], label=[0, 1, 1]), r"row 1: cannot be decoded \(the bytes are no im"),
        (table(image=[crop(0), bytes(8_000_001)], label=[0, 1]), "row 1: an image of 8,000,001 bytes"),
        (
            table(image=[{"bytes": None, "path": "a/1.jpg"}, {"bytes": crop(0), "path": None}], label=[0, 1]),
            "row 0: the image is a path, 'a/1.jpg', and no bytes; expected encoded images within the file",
        ),
        (table(image=IMAGES, label=[0, 1, 20_000_000]), "the label is 20000000; expected a class below 16,777,216"),
        (table(image=IMAGES, label=[0, 1, 500]), "labels up to 500 for 3 images; expected class numbers from 0"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, content: arrow.Table, message: str):
    for name in ("faces.parquet", "stream.arrow"):
        source = write(tmp_path / name, content)
        with pytest.raises(InputError, match=message):
            prepare(source, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_files_that_are_no_tables_are_named(tmp_path: Path):
    for name in ("a.parquet", "a.arrow"):
        (tmp_path / name).write_bytes(b"no table")
        with pytest.raises(InputError, match=rf"{name}: cannot be read .*expected a Parquet or Arrow file"):
            prepare(tmp_path / name, tmp_path / "set")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path):
    source = write(tmp_path / "faces.parquet", rows())
    words = ["data", "prepare", str(source), "--out", str(tmp_path / "set")]
    ((status, said),) = run_without({"pyarrow"}, [words], tmp_path)
    assert status == 2
    assert said.strip().endswith('this needs the package pyarrow; pip install "aroface[hugging-face]"')


@given(st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mangled_tables_are_one_line(made: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    source = data.draw(st.sampled_from(["disk/data-00000-of-00002.arrow", "named.parquet"]))
    file = tmp_path_factory.mktemp("mangled") / Path(source).name
    content = bytearray((made / source).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    file.write_bytes(content)
    try:
        for image in HuggingFaceShards().open(file, ShardOptions(), Omissions()).read(0, Omissions()):
            assert image.label >= 0
    except InputError as error:
        assert "\n" not in str(error)
