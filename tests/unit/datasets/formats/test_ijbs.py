from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aroface.datasets.formats.ijbs import (
    GALLERIES,
    METADATA,
    PROBES,
    IJBSFace,
    IJBSFormat,
    Template,
    named,
    read_ijbs,
    write_ijbs,
)
from aroface.datasets.formats.registry import detect
from aroface.datasets.identity import data_identity
from aroface.errors import InputError

LISTS = [METADATA, *PROBES.values(), *(name for both in GALLERIES.values() for name in both)]
FACES = [
    IJBSFace(2, "img_7", None, b"still 2"),
    IJBSFace(2, "img_8", None, b"another still 2"),
    IJBSFace(10, "img_9", None, b"still 10"),
    IJBSFace(2, "videos_4001", 100, b"2 in 4001, later"),
    IJBSFace(2, "videos_4001", 20, b"2 in 4001"),
    IJBSFace(10, "videos_4001", 20, b"10 in 4001"),
    IJBSFace(3, "videos_4002", 5, b"somebody unknown"),
    IJBSFace(2, "videos_5001", 1, b"2 enrols"),
    IJBSFace(10, "videos_5002", 1, b"10 enrols"),
    IJBSFace(10, "videos_6001", 3, b"10 from the air"),
    IJBSFace(2, "videos_9999", 3, b"in no list"),
]
SIGHTINGS = [(face.subject, face.medium) for face in FACES] + [(10, "videos_4002"), (2, "videos_4001")]
TEMPLATES = {
    "single": ([Template(2, ("img_7",))], [Template(10, ("img_9",))]),
    "booking": ([Template(2, ("img_7", "img_8"))], [Template(10, ("img_9",))]),
    "surveillance": ([Template(2, ("videos_5001",))], [Template(10, ("videos_5002",))]),
}
STEMS = {
    "single-booking": ["videos_4002", "videos_4001"],
    "surveillance": ["videos_4001", "videos_4003"],
    "uav": ["videos_6001"],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    counts = write_ijbs(folder, FACES, SIGHTINGS, TEMPLATES, STEMS)
    assert counts == {"faces": 11, "gallery_templates": 6, "probe_files": 5}
    return folder


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "ijbs")


def test_what_is_written_is_read(tree: Path):
    found = read_ijbs(tree)
    assert found.galleries == TEMPLATES
    in_4001 = [Template(2, ("videos_4001",)), Template(10, ("videos_4001",))]
    both = [in_4001[0], Template(3, ("videos_4002",)), in_4001[1], Template(10, ("videos_4002",))]
    assert found.probes == {
        "single-booking": both,
        "surveillance": in_4001,
        "uav": [Template(10, ("videos_6001",))],
    }
    assert found.unattributed == 1
    enrolled = [template for pair in TEMPLATES.values() for part in pair for template in part]
    assert found.templates == sorted({*both, *found.probes["uav"], *enrolled})


def test_faces_come_in_the_order_of_subjects_files_and_frames(tree: Path):
    found = read_ijbs(tree)
    contents = {medium: [path.read_bytes() for path in found.files(medium)] for medium in found.media}
    expected = sorted(FACES[:-1], key=lambda face: (face.subject, face.medium, face.frame or 0))
    assert list(contents) == sorted({(face.subject, face.medium) for face in expected})
    assert [data for each in contents.values() for data in each] == [face.jpeg for face in expected]


def test_a_template_without_a_face_is_counted(tree: Path):
    found = read_ijbs(tree)
    lost, seen, booked = Template(10, ("videos_4002",)), Template(2, ("videos_4001",)), Template(2, ("img_7", "img_8"))
    assert [found.count(template) for template in (lost, seen, booked)] == [0, 2, 2]
    assert found.files((10, "videos_4002")) == []
    assert IJBSFormat().facts(tree)["without a face"] == 1


def test_frames_are_named_as_the_files_are(tree: Path):
    folder = tree / "faces" / "2"
    (folder / "videos_4001_20.jpg").rename(folder / "videos_4001_000020.jpg")
    for other in ("videos_4001_x.jpg", "videos_4001.jpg", "notes.txt", ".videos_4001_1.jpg.part"):
        (folder / other).touch()
    assert [path.name for path in read_ijbs(tree).files((2, "videos_4001"))] == [
        "videos_4001_000020.jpg",
        "videos_4001_100.jpg",
    ]


def test_a_line_a_frame_and_further_columns_change_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch):
    before = read_ijbs(tree)
    for name in LISTS:
        header, *rows = (tree / name).read_text().splitlines()
        (tree / name).write_text("\r\n".join([header, *(f"{row},{n},x" for row in rows for n in range(40)), ""]))
    monkeypatch.setattr("aroface.datasets.formats.text_tables.BLOCK", 300)
    after = read_ijbs(tree)
    assert (after.galleries, after.probes) == (before.galleries, before.probes)


@pytest.mark.parametrize("name", LISTS)
def test_a_missing_or_empty_list_is_named(tree: Path, name: str):
    (tree / name).write_text("A,B,C\n")
    with pytest.raises(InputError, match=rf"{name}: the list is empty; expected lines of "):
        read_ijbs(tree)
    (tree / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        read_ijbs(tree)


FILE = r"expected such as videos/4012\.mp4 or img/101146\.jpg"
WRONG = [
    (METADATA, "3", "line 15: 1 columns; expected lines of subject,file,…"),
    (METADATA, "x,videos/1.mp4", "line 15: subject is 'x'; expected a whole number"),
    (METADATA, "3,", "line 15: file is ''; expected a name"),
    (METADATA, "3,films/1.mp4", rf"line 15: the file is 'films/1\.mp4'; {FILE}"),
    (PROBES["uav"], "videos/../1.mp4", rf"line 3: the file is 'videos/\.\./1\.mp4'; {FILE}"),
    (PROBES["uav"], "\xff", "line 3: file is '�'; expected a name"),
    (GALLERIES["booking"][1], "1,2", "line 3: 2 columns; expected lines of template,subject,file,…"),
    (GALLERIES["surveillance"][0], "2,3,videos/4001.mp4", r"line 3: subject 3 is not seen in videos/4001\.mp4"),
]


@pytest.mark.parametrize(("name", "line", "message"), WRONG)
def test_what_is_wrong_is_named_by_its_line(tree: Path, name: str, line: str, message: str):
    (tree / name).write_bytes((tree / name).read_bytes() + line.encode("latin1") + b"\n")
    with pytest.raises(InputError, match=rf"{name}: {message}"):
        read_ijbs(tree)


def test_probes_that_nobody_is_seen_in_are_refused(tree: Path):
    (tree / PROBES["uav"]).write_text("FILENAME\nvideos/1.mp4\n")
    with pytest.raises(InputError, match=r"uav_to.*: none of the files shows anybody; expected files of protocols/cs6"):
        read_ijbs(tree)


def test_a_tree_without_any_face_is_refused(tree: Path):
    (tree / "faces").rename(tree / "images")
    with pytest.raises(InputError, match="faces: no such folder"):
        read_ijbs(tree)
    (tree / "faces" / "2").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no face of any template; expected faces named as in 7/videos_4012_13\.jpg"):
        read_ijbs(tree)


def test_a_tree_is_recognised_and_described(tree: Path):
    assert IJBSFormat().matches(tree)
    assert not IJBSFormat().matches(tree / "faces")
    facts = IJBSFormat().facts(tree)
    assert {name: facts[name] for name in ("subjects", "enrolled", "faces", "templates", "gallery booking")} == {
        "subjects": 3,
        "enrolled": 2,
        "faces": 10,
        "templates": 10,
        "gallery booking": "1 + 1",
    }
    assert facts["probes single-booking"] == 4
    folder, names = IJBSFormat().files(tree)
    assert len(names) == 10 + 3
    assert all((folder / name).exists() for name in names)


def test_frames_are_held_as_text(tree: Path):
    assert all(frames.dtype.kind == "U" for frames in read_ijbs(tree).frames.values())
    assert np.array_equal(read_ijbs(tree).frames[2, "videos_4001"], ["20", "100"])


def test_lists_of_the_later_names_are_the_same_tree(tree: Path):
    before, identity = read_ijbs(tree), data_identity(tree)
    for name in LISTS:
        (tree / name).rename(tree / named(name, "ijbs"))
    assert detect(tree).kind == "ijbs"
    after = read_ijbs(tree)
    assert (after.galleries, after.probes, after.counts) == (before.galleries, before.probes, before.counts)
    assert sorted(each.replace("ijbs_", "cs6_") for each in data_identity(tree)["files"]) == sorted(identity["files"])
    (tree / named(METADATA, "ijbs")).write_text("A,B,C\n")
    with pytest.raises(InputError, match=r"ijbs_metadata\.csv: the list is empty"):
        read_ijbs(tree)


def test_what_the_readers_of_the_release_count_is_counted(tree: Path):
    counts = {"videos": 6, "sightings": 8, "gallery_videos": 2, "probe_videos": 2}
    assert read_ijbs(tree).counts == counts
    assert IJBSFormat().check(tree, 1).counts == {"images": 10, "templates": 10, **counts}
