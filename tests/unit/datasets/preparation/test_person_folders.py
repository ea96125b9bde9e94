"""Images in folders are found by content at any depth; what is left out is counted, and named."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aroface.datasets.image_formats import UNREADABLE
from aroface.datasets.images import decode
from aroface.datasets.preparation.person_folders import find_images, find_people
from aroface.errors import InputError
from aroface.file_content import IMAGE_HEAD, format_of
from aroface.omissions import Omissions

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
READABLE = {
    **{"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "GIF": "GIF", "AVIF": "AVIF", "WEBP": "WebP", "BMP": "BMP"},
    **{"TIFF": "TIFF", "PPM": "PNM", "JPEG2000": "JPEG 2000"},
}
HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHEmiafheic" + bytes(64)
UNREADABLE_HEADS = {
    "HEIC": [HEIC, b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic" + bytes(40), b"\0\0\0\x18ftypmsf1" + bytes(40)],
    "JPEG XL": [b"\xff\x0a" + bytes(40), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)],
    "camera raw": [b"II*\0\x10\0\0\0CR\2\0" + bytes(40), b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40)],
    "Photoshop": [b"8BPS\0\1" + bytes(40)],
    "icon": [b"\0\0\1\0\1\0" + bytes(40)],
}
NO_IMAGES = [
    *(b"", b"P", b"BM", b"BMW drives", b"P5", b"PNG", b"notes", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypmp42isom"),
    *(b"<html>", b"version https://git-lfs.github.com/spec/v1", b"%PDF-1.7", b"PK\3\4", b"P7\n"),
]


def encoded(form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    PICTURE.save(buffer, form)
    return buffer.getvalue()


def put(root: Path, *names: str, data: bytes | None = None) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded() if data is None else data)
    return root


def test_formats_are_known_by_their_first_bytes():
    for form, name in READABLE.items():
        assert format_of(encoded(form)[:IMAGE_HEAD]) == name
        assert decode(encoded(form)).shape == (16, 16, 3)
    for name, heads in UNREADABLE_HEADS.items():
        assert {format_of(head[:IMAGE_HEAD]) for head in heads} == {name}
    assert UNREADABLE.keys() == UNREADABLE_HEADS.keys()
    assert {format_of(head) for head in NO_IMAGES} == {None}


@pytest.mark.parametrize("ending", ["jpg", "JPG_large", "jfif", "heic", "txt", ""])
@pytest.mark.parametrize("form", READABLE)
def test_an_image_is_taken_whatever_its_name_is(tmp_path: Path, ending: str, form: str):
    put(tmp_path, f"1.{ending}" if ending else "1", data=encoded(form))
    omissions = Omissions()
    assert len(find_images(tmp_path, omissions)) == 1
    assert len(omissions) == 0


def test_every_file_that_is_not_taken_is_counted_by_kind_and_named(tmp_path: Path):
    put(tmp_path, "a/1.jpg", "a/b/c/2.jpg")
    put(tmp_path, *(f"a/{number:02}.jpg" for number in range(10, 22)), data=HEIC)
    put(tmp_path, "a/3.jpg", data=b"garbage")  # damaged: shows when it is read
    put(tmp_path, "a/4.JFIF", data=b"")
    put(tmp_path, "a/notes.txt", "b/film.mp4", "a/5", data=b"no image")
    put(tmp_path, ".DS_Store", ".git/1.jpg")
    (tmp_path / "a/link.jpg").symlink_to("/nowhere/x.jpg")
    (tmp_path / "a/again").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "a/pipe.jpg")
    omissions = Omissions()
    found = find_images(tmp_path, omissions)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "a/1.jpg",
        "a/3.jpg",
        "a/4.JFIF",
        "a/b/c/2.jpg",
    ]
    summary = omissions.summary()
    heic = "HEIC, which cannot be decoded here: convert it to JPEG, for example by heif-convert"
    assert {kind: each["count"] for kind, each in summary.items()} == {
        **{heic: 12, "not an image": 3, "hidden": 2, "link that leads nowhere": 1, "not a file": 1},
        "link to a folder that it lies in": 1,
    }
    assert summary[heic]["first"] == [f"a/{number}.jpg" for number in range(10, 20)]
    assert omissions.counted == 14  # texts, hidden files and pipes are told, but are no images


def test_links_are_followed(tmp_path: Path):
    put(tmp_path / "elsewhere", "anna/1.jpg", "2.jpg")
    (tmp_path / "set/bert").mkdir(parents=True)
    (tmp_path / "set/anna").symlink_to(tmp_path / "elsewhere/anna", target_is_directory=True)
    (tmp_path / "set/bert/2.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    assert [*find_people(tmp_path / "set", Omissions()).people] == ["anna", "bert"]


@pytest.mark.parametrize(
    ("names", "people", "depth", "left_out"),
    [
        (["a/1.jpg", "b/1.jpg"], {"a": 1, "b": 1}, 1, 0),
        (["a/1.jpg", "a/2019/2.jpg", "b/1.jpg", "b/x/y/2.jpg"], {"a": 2, "b": 2}, 1, 0),  # sessions
        (["a/1.jpg", "b/1.jpg", "c/2019/1.jpg"], {"a": 1, "b": 1, "c": 1}, 1, 0),
        (["a/1.jpg", "b/1.jpg", "overview.jpg"], {"a": 1, "b": 1}, 1, 1),
        (["train/a/1.jpg", "train/b/1.jpg"], {"a": 1, "b": 1}, 2, 0),
        (["p0/a/1.jpg", "p1/b/1.jpg", "p0/overview.jpg"], {"a": 1, "b": 1}, 2, 1),
        (["p0/a/1.jpg", "p1/b/1.jpg", "p1/c/2020/1.jpg"], {"a": 1, "b": 1, "c": 1}, 2, 0),
        (["x/p0/a/1.jpg", "x/p1/b/1.jpg"], {"a": 1, "b": 1}, 3, 0),
    ],
)
def test_people_are_the_folders_of_one_depth(
    tmp_path: Path, names: list[str], people: dict[str, int], depth: int, left_out: int
):
    omissions = Omissions()
    found = find_people(put(tmp_path, *names), omissions)
    assert {name: len(images) for name, images in found.people.items()} == people
    assert (found.depth, found.total) == (depth, len(names))
    assert omissions.counted == left_out
    for name in [*people]:
        assert found.people[name] == sorted(found.people[name])


def test_the_depth_can_be_chosen(tmp_path: Path):
    put(tmp_path, "p0/a/1.jpg", "p0/b/1.jpg", "p1/a/1.jpg")
    with pytest.raises(InputError, match=r"p1/a: a second folder of this name: .*beside .*p0/a; .*--people-depth"):
        find_people(tmp_path, Omissions())
    found = find_people(tmp_path, Omissions(), depth=1)
    assert {name: len(images) for name, images in found.people.items()} == {"p0": 2, "p1": 1}


def test_people_of_several_depths_are_not_merged_in_silence(tmp_path: Path):
    put(tmp_path, "a/1.jpg", "b/1.jpg", "c/1.jpg", "more/d/1.jpg", "more/e/1.jpg")
    with pytest.raises(InputError, match=r"/more: images in 2 folders and none beside them: .*--people-depth 1 if"):
        find_people(tmp_path, Omissions())
    assert len(find_people(tmp_path, Omissions(), depth=1).people["more"]) == 2


@pytest.mark.parametrize("data", [HEIC, b"text", None])
def test_lost_people_are_an_error_unless_they_are_allowed(tmp_path: Path, data: bytes | None):
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    for name in ("c", "d"):
        (tmp_path / name).mkdir()
        if data is not None:
            put(tmp_path, f"{name}/1", data=data)
    with pytest.raises(
        InputError, match=r"/c: the folder holds no image that can be used, one of 2 such folders.*--lost-peo"
    ):
        find_people(tmp_path, Omissions())
    omissions = Omissions()
    assert [*find_people(tmp_path, omissions, lost="omit").people] == ["a", "b"]
    assert omissions.summary()["person without an image"] == {"count": 2, "first": ["c", "d"]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"Jos\xe9/1.jpg", r"Jos\\udce9: the name is not UTF-8; rename it, for example by convmv"),
        (b"a/\xff.jpg", r"a/\\udcff\.jpg: the name is not UTF-8"),
        (b"a\nb/1.jpg", r"a\\nb: the name holds a control character; rename it"),
        (b"a/\x1b[31m.jpg", r"\\x1b\[31m\.jpg: the name holds a control character"),
    ],
)
def test_names_that_no_list_can_hold_are_refused(tmp_path: Path, name: bytes, message: str):
    put(tmp_path, os.fsdecode(name))
    with pytest.raises(InputError, match=message):
        find_images(tmp_path, Omissions())


@pytest.mark.parametrize("name", ["José", "a b", "日本", "-x", "a'b$", "\u00a0"])
def test_other_names_are_good(tmp_path: Path, name: str):
    assert [*find_people(put(tmp_path, f"{name}/1.jpg"), Omissions()).people] == [name]


def remove(path: Path) -> None:
    path.rmdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (remove, "no such folder; expected a folder of images"),
        (lambda path: (path.rmdir(), path.touch()), "a file; expected a folder of images"),
        (lambda path: None, "no folder of a person in it; expected person/image.jpg"),
        (lambda path: put(path, "1.jpg"), "no folder of a person in it; .*left out: 1, outside the people's folders"),
    ],
)
def test_what_holds_no_people_is_one_line(tmp_path: Path, make: Callable[[Path], object], message: str):
    (tmp_path / "faces").mkdir()
    make(tmp_path / "faces")
    with pytest.raises(InputError, match=f"faces: {message}"):
        find_people(tmp_path / "faces", Omissions())
