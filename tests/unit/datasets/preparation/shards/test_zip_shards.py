"""WebFace's zip archives become records without being unpacked; an interrupted call resumes at the last whole one."""

from __future__ import annotations

import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aroface.cli.main import main
from aroface.datasets.formats.training_set import TrainingSet
from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation.prepare import PrepareOptions, prepare
from aroface.datasets.preparation.shards import writer, zip_shards
from aroface.datasets.preparation.shards.base import natural_order
from aroface.datasets.preparation.shards.zip_shards import ZipShards
from aroface.errors import InputError
from aroface.omissions import Omissions
from crops import crop, held, in_order, png

PEOPLE = {"0_0": {"0_0_0000000": 3, "0_0_0000002": 2}, "0_1": {"0_1_0000003": 1}, "0_10": {"0_10_0000004": 4}}
"""Images of each person of each archive."""


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    number = 0
    for archive, people in PEOPLE.items():
        members = {}
        for person, count in reversed(people.items()):  # archives need not be in order
            for image in range(count):
                members[f"WebFace260M/{person}/0_{number + image}.jpg"] = crop(number + image)
            number += count
        write_zip(tmp_path / f"shards/{archive}.zip", members)
    return tmp_path / "shards"


def unpacked(shards: Path, folder: Path) -> Path:
    for archive in shards.rglob("*.zip"):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
    return folder


def test_archives_are_the_set_that_they_unpack_to(shards: Path, tmp_path: Path):
    prepared = prepare(shards, tmp_path / "set")
    assert (prepared.images, prepared.people) == (10, 4)
    people = [person for people in PEOPLE.values() for person in people]
    assert (tmp_path / "set/identities.txt").read_text().split() == people
    prepare(unpacked(shards, tmp_path / "tree"), tmp_path / "other")
    names = (tmp_path / "other/identities.txt").read_text().split()
    assert names == ["0_0_0000000", "0_0_0000002", "0_10_0000004", "0_1_0000003"]
    by_name = [{(names[label], jpeg) for label, jpeg in held(tmp_path / "other")}]
    by_name += [{(people[label], jpeg) for label, jpeg in held(tmp_path / "set")}]
    assert by_name[0] == by_name[1]
    manifest = read_manifest(tmp_path / "set")
    assert manifest["counts"] == {"identities": 4, "images": 10}
    assert set(manifest["files"]) == {"train.rec", "train.idx", "property", "identities.txt"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "set", "shards", "tree"]


def test_the_records_have_a_header_and_the_people_in_natural_order(shards: Path, tmp_path: Path):
    prepare(shards, tmp_path / "set")
    labels = TrainingSet.open(tmp_path / "set").labels.tolist()
    assert labels == [0] * 3 + [1] * 2 + [2] + [3] * 4
    assert not list((tmp_path / "set").glob("*.labels.npy")), "they come from the identities' ranges"
    again = Path(shutil.copytree(tmp_path / "set", tmp_path / "again"))
    (again / "property").unlink()
    assert TrainingSet.open(again).num_classes == 4


def test_folders_of_archives_and_single_ones_are_taken(shards: Path, tmp_path: Path):
    (shards / "0").mkdir()
    for archive in shards.glob("*.zip"):
        archive.rename(shards / "0" / archive.name)
    (shards / "0" / "md5.txt").write_text("")
    assert prepare(shards, tmp_path / "set").images == 10
    assert prepare(shards / "0" / "0_0.zip", tmp_path / "one").images == 5


def test_archives_beside_folders_of_people_are_none_of_it(shards: Path, tmp_path: Path):
    unpacked(shards, shards)
    assert not ZipShards().matches(shards)
    assert prepare(shards, tmp_path / "set").images == 10


def test_labels_out_of_order_give_a_set_without_header(tmp_path: Path):
    """Archives whose people are not in the order of their own names."""
    write_zip(tmp_path / "in/a.zip", {"p/person 10/1.jpg": crop(1), "p/person 1/2.jpg": crop(2)})
    write_zip(tmp_path / "in/b.zip", {"p/person 9/3.jpg": crop(3), "p/person 1/4.jpg": crop(4)})
    prepare(tmp_path / "in", tmp_path / "set")
    assert in_order(tmp_path / "set") == [(0, crop(2)), (2, crop(1)), (0, crop(4)), (1, crop(3))]
    assert (tmp_path / "set/identities.txt").read_text().splitlines() == ["person 1", "person 9", "person 10"]


class KilledError(Exception):
    pass


@pytest.mark.parametrize("at", [0, 2, 4, 5, 6, 9])
def test_an_interrupted_call_resumes_at_the_last_whole_archive(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    prepare(shards, tmp_path / "whole")
    asked: list[str] = []
    original = zip_shards._read

    def dying(packed: zipfile.ZipFile, member: zipfile.ZipInfo, archive: Path) -> bytes:
        if len(asked) == at:
            raise KilledError
        asked.append(member.filename)
        return original(packed, member, archive)

    monkeypatch.setattr(zip_shards, "_read", dying)
    monkeypatch.setattr(writer, "_CHUNK", 1)
    with pytest.raises(KilledError):
        prepare(shards, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    done = len(asked)
    monkeypatch.setattr(zip_shards, "_read", lambda *words: asked.append("") or original(*words))
    prepare(shards, tmp_path / "set")
    whole = [0, 5, 6, 10]  # images after each archive
    assert len(asked) - done == 10 - max(count for count in whole if count <= at)
    for name in ("train.rec", "train.idx", "property", "identities.txt"):
        assert (tmp_path / "set" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / ".set.partial").exists()


@pytest.mark.parametrize("change", ["archive", "option", "cut"])
def test_what_another_call_began_is_not_taken_up(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
):
    original = writer._count

    def dying(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr(writer, "_count", dying)
    with pytest.raises(KilledError):
        prepare(shards, tmp_path / "set")
    monkeypatch.setattr(writer, "_count", original)
    options = PrepareOptions()
    if change == "archive":
        write_zip(shards / "0_1.zip", {"WebFace260M/0_1_0000003/0_5.jpg": crop(99)})
    elif change == "option":
        options = replace(options, jpeg_quality=50)
    else:
        os.truncate(tmp_path / ".set.partial/train.rec", 100)
    prepare(shards, tmp_path / "set", options)
    prepare(shards, tmp_path / "anew", options)
    assert in_order(tmp_path / "set") == in_order(tmp_path / "anew")


def test_two_processes_do_not_write_one_set(shards: Path, tmp_path: Path):
    with (
        writer.partial_folder(tmp_path / "set"),
        pytest.raises(InputError, match="set: another process writes it; wait for it"),
    ):
        prepare(shards, tmp_path / "set")


def test_what_was_not_made_here_stays(shards: Path, tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"set: exists and has no manifest\.json, so it was not made here"):
        prepare(shards, tmp_path / "set")
    assert (tmp_path / "set/mine.txt").read_text() == "mine"
    prepare(shards, tmp_path / "made")
    (shards / "0_10.zip").unlink()
    assert prepare(shards, tmp_path / "made").images == 6
    assert len(TrainingSet.open(tmp_path / "made")) == 6


def test_other_formats_are_encoded_and_what_is_no_image_is_told(shards: Path, tmp_path: Path):
    with zipfile.ZipFile(shards / "0_1.zip", "a") as packed:
        packed.writestr("WebFace260M/0_1_0000003/a.png", png(20))
        packed.writestr("WebFace260M/0_1_0000003/notes.txt", "no image")
        packed.writestr("__MACOSX/WebFace260M/0_1_0000003/._0_5.jpg", b"\0")
        packed.writestr("WebFace260M/.hidden/1.jpg", b"\0")
        packed.mkdir("WebFace260M/0_1_0000009")
    prepared = prepare(shards, tmp_path / "set")
    assert (prepared.images, prepared.people) == (11, 4)
    assert {kind: each["count"] for kind, each in prepared.omissions.summary().items()} == {
        "not an image": 1,
        "hidden": 2,
    }


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "p/0_1_3/9.jpg",
            crop(0, 100),
            r"0_1\.zip: p/0_1_3/9\.jpg: an image of 100×100 pixels; expected an aligned cro",
        ),
        ("p/0_1_3/9.jpg", crop(0)[:300], r"0_1\.zip: p/0_1_3/9\.jpg: cannot be decoded"),
        ("q/0_0_0000000/9.jpg", crop(0), r"0_1\.zip: q/0_0_0000000: a second folder of this name.*beside WebFace260M/"),
        ("p/0_1_3/9.jpg", bytes(8_000_001), r"9\.jpg: 8,000,001 bytes, too many for an aligned crop"),
        ("9.jpg", crop(0), r"1 of 10 left out, most of them: outside the people's folders"),
    ],
)
def test_what_does_not_fit_is_named(shards: Path, tmp_path: Path, name: str, data: bytes, message: str):
    write_zip(shards / "0_1.zip", {name: data})
    with pytest.raises(InputError, match=message):
        prepare(shards, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_encrypted_archives_are_named(shards: Path, tmp_path: Path):
    data = bytearray((shards / "0_1.zip").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (shards / "0_1.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"0_1\.zip: WebFace260M/.*\.jpg: is encrypted; decrypt the archive"):
        prepare(shards, tmp_path / "set")


def test_damaged_images_are_left_out_where_that_is_asked_for(shards: Path, tmp_path: Path, capsys):
    with zipfile.ZipFile(shards / "0_0.zip", "a") as packed:
        packed.writestr("WebFace260M/0_0_0000000/9.jpg", crop(50)[:200])
    skip = PrepareOptions(on_corrupt="skip")
    with pytest.raises(InputError, match=r"1 of 11 left out, most of them: cannot be decoded .*--max-left-out"):
        prepare(shards, tmp_path / "set", skip)
    prepared = prepare(shards, tmp_path / "set", replace(skip, max_left_out=0.1))
    assert (prepared.images, len(prepared.corrupt)) == (10, 1)
    assert read_manifest(tmp_path / "set")["corrupt"] == prepared.corrupt
    write_zip(shards / "0_1.zip", {"WebFace260M/0_1_0000003/9.jpg": crop(50)[:200]})
    allowed = replace(skip, max_left_out=0.5)
    with pytest.raises(InputError, match="class 0_1_0000003 has no image that can be decoded"):
        prepare(shards, tmp_path / "lost", allowed)
    prepared = prepare(shards, tmp_path / "lost", replace(allowed, lost_people="omit"))
    assert (prepared.people, TrainingSet.open(tmp_path / "lost").num_classes) == (4, 4)
    words = ["data", "prepare", str(shards), "--out", str(tmp_path / "cli"), "--on-corrupt", "skip"]
    assert main([*words, "--max-left-out", "0.5", "--lost-people", "omit"]) == 0
    assert "left out: 2, cannot be decoded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PrepareOptions(people_depth=2), "is no tree of folders; leave out --people-depth"),
    ],
)
def test_options_of_trees_are_refused(shards: Path, tmp_path: Path, options: PrepareOptions, message: str):
    with pytest.raises(InputError, match=message):
        prepare(shards, tmp_path / "set", options)


def test_memory_does_not_grow_with_the_images(tmp_path: Path):
    """An archive's directory and some hundred images are held, never the images of an archive."""
    large = crop(1) + bytes(200_000)  # libjpeg takes what follows the image for nothing
    for archive in range(2):
        write_zip(tmp_path / f"in/{archive}.zip", {f"p/{archive}/{number}.jpg": large for number in range(600)})
    tracemalloc.start()
    try:
        prepare(tmp_path / "in", tmp_path / "set")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "set/train.rec").stat().st_size > 1200 * 200_000
    assert peak < 0.6 * 1200 * 200_000


def test_natural_order():
    names = ["0_10", "0_2", "a10b2", "0_02", "a9b11", "0_0", "a10b10", "b"]
    assert natural_order(names) == ["0_0", "0_02", "0_2", "0_10", "a9b11", "a10b2", "a10b10", "b"]


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mangled_archives_are_one_line(shards: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    folder = tmp_path_factory.mktemp("mangled")
    content = bytearray((shards / "0_0.zip").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    (folder / "0_0.zip").write_bytes(content)
    try:
        opened = ZipShards().open(folder, None, Omissions())  # type: ignore[arg-type]
        for image in opened.read(0, Omissions()):
            assert image.label < len(opened.people or [])
    except InputError as error:
        assert "\n" not in str(error)
