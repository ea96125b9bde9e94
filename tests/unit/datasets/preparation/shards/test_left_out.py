"""What a set in shards does not give is told or refused, whatever its kind."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from aroface.datasets.preparation.shards.base import missing_parts
from aroface.errors import InputError
from crops import crop

LABELS = [0, 0, 1, 1, 2, 2]


def zipped(path: Path, more: Mapping[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for number, label in enumerate(LABELS):
            packed.writestr(f"p{label}/{number}.jpg", crop(number))
        for name, data in (more or {}).items():
            packed.writestr(name, data)


def tarred(path: Path, more: Mapping[str, bytes] | None = None) -> None:
    samples = {f"{n}.jpg": crop(n) for n in range(6)} | {f"{n}.cls": b"%d" % label for n, label in enumerate(LABELS)}
    with tarfile.open(path, "w") as packed:
        for name, data in (dict(sorted(samples.items())) | dict(more or {})).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))


def tabled(path: Path, labels: list[int] | list[str] = LABELS) -> None:
    images = [{"bytes": crop(number), "path": None} for number in range(len(labels))]
    parquet.write_table(arrow.table({"image": images, "label": labels}), path)


KINDS: dict[str, Callable[[Path], None]] = {"a.zip": zipped, "a.tar": tarred, "a.parquet": tabled}
JPG, TEXT = crop(9), b"text"
TOLD: dict[str, tuple[str, Callable[[Path], object], dict[str, list[str]]]] = {
    "a loose image": ("a.zip", lambda f: (f / "x.jpg").write_bytes(JPG), {"beside the shards": ["x.jpg"]}),
    "another archive": ("a.zip", lambda f: (f / "b.rar").write_bytes(TEXT), {"beside the shards": ["b.rar"]}),
    "text beside tables": (
        "a.parquet", lambda f: (f / "README.md").write_bytes(TEXT), {"beside the shards": ["README.md"]}
    ),
    "a shard below": (
        "a.tar", lambda f: ((f / "d").mkdir(), tarred(f / "d/b.tar")), {"a shard that is not read": ["d/b.tar"]}
    ),
    "a cache": (
        "a.parquet", lambda f: tabled(f / "cache-1.parquet"), {"a shard that is not read": ["cache-1.parquet"]}
    ),
    "another split": (
        "train-00000-of-00001.parquet",
        lambda f: tabled(f / "test-00000-of-00001.parquet"),
        {"a shard that is not read": ["test-00000-of-00001.parquet"]},
    ),
    "one of two parts": (
        "train-00000-of-00002.parquet",
        lambda f: None,
        {"a shard that is missing by its number": ["train-00001-of-00002.parquet"]},
    ),
    "a class that is not used": (
        "a.parquet", lambda f: tabled(f / "a.parquet", [0, 0, 1, 1, 3, 3]), {"class without an image": ["2"]}
    ),
    "labels from 1": (
        "a.parquet", lambda f: tabled(f / "a.parquet", [1, 1, 2, 2, 3, 3]), {"class without an image": ["0"]}
    ),
    "no sample": (
        "a.tar",
        lambda f: tarred(f / "a.tar", {"README": TEXT, ".x.jpg": JPG, "9.json": TEXT}),
        {"no part of a sample": ["a.tar: README", "a.tar: .x.jpg"], "sample of neither image nor label": ["a.tar: 9"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_what_is_left_out_is_told_and_stands_in_the_manifest(tmp_path: Path, case: str) -> None:
    name, change, expected = TOLD[case]
    source = tmp_path / "source"
    source.mkdir()
    KINDS[f"a{Path(name).suffix}"](source / name)
    change(source)
    prepared = prepare(source, tmp_path / "set")
    assert prepared.images == 6
    assert {kind: entry["first"] for kind, entry in prepared.omissions.summary().items()} == expected
    assert read_manifest(tmp_path / "set")["left_out"] == prepared.omissions.summary()


def test_nothing_is_told_of_a_set_without_more(tmp_path: Path) -> None:
    for name, write in KINDS.items():
        (tmp_path / name[2:]).mkdir()
        write(tmp_path / name[2:] / name)
        assert len(prepare(tmp_path / name[2:], tmp_path / f"set {name}").omissions) == 0


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def cut_between_members(path: Path) -> None:
    with tarfile.open(path) as packed:
        offset = packed.getmembers()[8].offset
    rewritten(path, lambda data: data[:offset])


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    **{
        f"{name} beside {ending}": (
            name, lambda f, e=ending: (f / f"b{e}").write_bytes(TEXT), rf"b{ending}: a download that has not ended"
        )
        for name in KINDS
        for ending in (".zip.part", ".parquet.incomplete", ".tar.crdownload", ".zip.aria2")
    },
    "a tar cut between members": ("a.tar", lambda f: cut_between_members(f / "a.tar"), "has no end mark"),
    "a tar without its last block": ("a.tar", lambda f: rewritten(f / "a.tar", lambda d: d.rstrip(b"\0")), "a.tar"),
    "two labels": ("a.tar", lambda f: tarred(f / "a.tar", {"z.cls": b"1", "z.jpg": JPG, "z.x.cls": b"0"}), "two label"),
    "a copy of an archive": ("a.zip", lambda f: zipped(f / "b.zip"), r"b\.zip: holds the same images as a\.zip"),
    "a person of text": ("a.zip", lambda f: zipped(f / "a.zip", {"p9/x.txt": TEXT}), "p9: no image that can be used"),
    "a line break in a zip": ("a.zip", lambda f: zipped(f / "a.zip", {"a\nb/x.jpg": JPG}), r"the character U\+000A"),
    "a line separator": ("a.zip", lambda f: zipped(f / "a.zip", {"a\u2028b/x.jpg": JPG}), r"the character U\+2028"),
    "a line break in a table": (
        "a.parquet", lambda f: tabled(f / "a.parquet", ["a", "a", "b\nc", "d", "e", "f"]), r"the character U\+000A"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_another_set_is_one_line(tmp_path: Path, case: str) -> None:
    name, change, message = REFUSED[case]
    source = tmp_path / "source"
    source.mkdir()
    KINDS[name](source / name)
    change(source)
    with pytest.raises(InputError, match=message) as caught:
        prepare(source, tmp_path / "set")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "set").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_named(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {"p0/0.jpg": JPG})
    with pytest.raises(InputError, match=r"a\.zip: p0/0\.jpg: is there twice"):
        prepare(tmp_path / "a.zip", tmp_path / "set")


def test_images_of_a_zip_are_known_by_content(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {"p9/x.JPG_large": JPG, "p8/x.txt": TEXT})
    prepared = prepare(tmp_path / "a.zip", tmp_path / "set", PrepareOptions(lost_people="omit"))
    assert (prepared.images, prepared.people) == (7, 4)
    assert prepared.omissions.summary()["person without an image"]["first"] == ["p8"]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["a-0-of-3", "a-2-of-3"], ["a-1-of-3"]),
        (["a-00001-of-00002.tar", "b-00000-of-00001.tar"], ["a-00000-of-00002.tar"]),
        (["a.tar", "1.tar", "of-5", "a-00000-of-00001"], []),
    ],
)
def test_parts_are_counted_by_their_names(names: list[str], missing: list[str]) -> None:
    assert missing_parts([Path("d", name) for name in names]) == [Path("d", name) for name in missing]
