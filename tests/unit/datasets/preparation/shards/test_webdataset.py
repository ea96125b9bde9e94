"""Tar archives that `webdataset` wrote become records."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from aroface.datasets.preparation.shards.webdataset import WebDatasetShards
from aroface.errors import InputError
from aroface.omissions import Omissions
from crops import crop, in_order, png

LABELS = [2, 0, 1, 1, 0, 3, 2]
EXPECTED = [(label, crop(number)) for number, label in enumerate(LABELS)]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    with webdataset.ShardWriter(str(folder / "faces-%06d.tar"), maxcount=3, verbose=0) as writer:
        for number, label in enumerate(LABELS):
            sample = {"__key__": f"{label:06}/{number:08}", "jpg": crop(number), "cls": label, "json": {"id": number}}
            writer.write(sample)
    return folder


def test_samples_become_records(shards: Path, tmp_path: Path):
    assert len(list(shards.glob("*.tar"))) == 3
    prepared = prepare(shards, tmp_path / "set")
    assert (prepared.images, prepared.people) == (7, 4)
    assert in_order(tmp_path / "set") == EXPECTED
    assert not (tmp_path / "set/identities.txt").exists()


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_single_archives_are_taken_compressed_or_not(tmp_path: Path, ending: str):
    with webdataset.TarWriter(str(tmp_path / f"faces.{ending}")) as writer:
        for number, label in enumerate(LABELS):
            writer.write({"__key__": f"{number:08}", "png": png(number), "cls": label})
    prepare(tmp_path / f"faces.{ending}", tmp_path / "set")
    assert TrainingSet.open(tmp_path / "set").labels.tolist() == LABELS


def test_an_interrupted_call_resumes(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = shards / "faces-000001.tar"
    whole = broken.read_bytes()
    state = broken.stat()
    broken.write_bytes(whole[:3000] + bytes(len(whole) - 3000))
    os.utime(broken, ns=(state.st_atime_ns, state.st_mtime_ns))  # another time would be another content
    with pytest.raises(InputError, match=r"faces-000001\.tar"):
        prepare(shards, tmp_path / "set")
    broken.write_bytes(whole)
    os.utime(broken, ns=(state.st_atime_ns, state.st_mtime_ns))
    read: list[int] = []
    kind = type(WebDatasetShards().open(shards, None, Omissions()))  # type: ignore[arg-type]
    original = kind.read
    monkeypatch.setattr(kind, "read", lambda self, number, left: read.append(number) or original(self, number, left))
    prepare(shards, tmp_path / "set")
    assert read == [1, 2]
    assert in_order(tmp_path / "set") == EXPECTED


@pytest.mark.parametrize("kills", [[], [1], [2], [1, 2]])
def test_what_every_shard_leaves_out_is_told_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: list[int]
):
    (tmp_path / "shards").mkdir()
    for shard in range(3):
        more = {f"README {shard}": b"text", f"{shard}.json": b"{}"}
        faces = {f"{shard}{n}.{end}": [crop(n), b"%d" % n][end == "cls"] for n in range(2) for end in ("jpg", "cls")}
        write_tar(tmp_path / "shards" / f"{shard}.tar", faces | more)
    kind = type(WebDatasetShards().open(tmp_path / "shards", None, Omissions()))  # type: ignore[arg-type]
    original = kind.read

    def read(self, number, omissions):
        yield from original(self, number, omissions)
        if number in kills:
            kills.remove(number)
            raise KeyboardInterrupt  # when all of the shard is read, and nothing of it counts

    monkeypatch.setattr(kind, "read", read)
    for _ in [*kills]:
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path / "shards", tmp_path / "set")
    left_out = {
        "no part of a sample": {"count": 3, "first": [f"{shard}.tar: README {shard}" for shard in range(3)]},
        "sample of neither image nor label": {"count": 3, "first": [f"{shard}.tar: {shard}" for shard in range(3)]},
    }
    assert prepare(tmp_path / "shards", tmp_path / "set").omissions.summary() == left_out
    assert read_manifest(tmp_path / "set")["left_out"] == left_out


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.jpg": crop(0)}, r"faces\.tar: 1: an image without \.cls; expected a sample of \.jpg and \.cls"),
        ({"1.cls": b"0"}, r"faces\.tar: 1: \.cls without an image"),
        ({"1.jpg": crop(0), "1.cls": b"anna"}, r"the label is b'anna'; expected a whole number from 0 in \.cls"),
        ({"1.jpg": crop(0), "1.cls": b"-1"}, r"the label is b'-1'"),
        ({"1.jpg": crop(0), "1.cls": bytes(100)}, r"1\.cls: 100 bytes; expected at most 32"),
        ({"1.jpg": crop(0), "1.png": crop(0), "1.cls": b"0"}, "two images in one sample"),
        ({"1.jpg": crop(0), "1.cls": b"0", "2.jpg": crop(0), "2.cls": b"70"}, "labels up to 70 for 2 images"),
        ({"1.jpg": crop(0), "1.cls": b"0"}, "1 images of 1 people; expected 2 or more of each"),
        ({"readme.txt": b"faces"}, r"no sample in it; expected files of one name with \.jpg and \.cls"),
        ({"1.jpg": crop(0)[:99], "1.cls": b"0"}, r"faces\.tar: 1: cannot be decoded"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, members: dict[str, bytes], message: str):
    write_tar(tmp_path / "faces.tar", members)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "faces.tar", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_columns_are_for_tables(shards: Path, tmp_path: Path):
    with pytest.raises(InputError, match="--label-column is for Parquet and Arrow files"):
        prepare(shards, tmp_path / "set", PrepareOptions(label_column="cls"))


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mangled_archives_are_one_line(shards: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    file = tmp_path_factory.mktemp("mangled") / "faces.tar"
    content = bytearray((shards / "faces-000000.tar").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    file.write_bytes(content)
    try:
        for image in WebDatasetShards().open(file, None, Omissions()).read(0, Omissions()):  # type: ignore[arg-type]
            assert image.label >= 0
    except InputError as error:
        assert "\n" not in str(error)
