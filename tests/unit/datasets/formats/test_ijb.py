from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aroface.datasets.formats.ijb import (
    GALLERIES,
    IdentificationProtocol,
    IJBFace,
    IJBFormat,
    TemplateTable,
    read_faces,
    read_ijb,
    read_search,
    read_template_pairs,
    write_ijb,
)
from aroface.datasets.images import encode_jpeg
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE

RNG = np.random.default_rng(1)
PICTURE = np.repeat(np.repeat(RNG.integers(0, 256, (21, 21, 3), dtype=np.uint8), 8, axis=0), 8, axis=1)
TEMPLATES = [5, 5, 5, 9, 12, 12]
MEDIA = [1, 1, 2, 3, 4, 5]
LANDMARKS = (TEMPLATE + 28 + RNG.normal(0, 1, (6, 5, 2))).astype(np.float32)
SCORES = RNG.random(6).astype(np.float32)
PAIRS = np.array([[5, 9], [12, 5], [9, 9]])
SAME = np.array([False, True, True])


def write(folder: Path, benchmark: str = "ijbc") -> Path:
    one, other = (TemplateTable(np.array([number]), np.array([number + 100])) for number in (5, 9))
    search = IdentificationProtocol(
        dict(zip(GALLERIES[benchmark], (one, other), strict=True)), TemplateTable(np.array([12]), np.array([105]))
    )
    jpeg = encode_jpeg(PICTURE, 95)
    faces = (IJBFace(TEMPLATES[i], MEDIA[i], jpeg, LANDMARKS[i], float(SCORES[i])) for i in range(6))
    assert write_ijb(folder, benchmark, faces, PAIRS, SAME, search) == {"images": 6, "templates": 3, "pairs": 3}
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "ijb")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize("benchmark", GALLERIES)
def test_what_is_written_is_read(tmp_path: Path, benchmark: str):
    found = read_ijb(write(tmp_path, benchmark))
    assert found.faces.benchmark == benchmark
    assert found.faces.names.tolist() == [f"{number}.jpg" for number in range(1, 7)]
    assert found.faces.templates.tolist() == TEMPLATES
    assert found.faces.media.tolist() == MEDIA
    assert found.faces.landmarks.dtype == found.faces.scores.dtype == np.float32
    assert np.array_equal(found.faces.landmarks, LANDMARKS)
    assert np.array_equal(found.faces.scores, SCORES)
    assert found.pairs.dtype == np.int64
    assert np.array_equal(found.pairs, PAIRS)
    assert found.same.tolist() == SAME.tolist()
    assert tuple(found.search.galleries) == GALLERIES[benchmark]
    assert [gallery.subjects.tolist() for gallery in found.search.galleries.values()] == [[105], [109]]
    assert (found.search.probes.ids.tolist(), found.search.probes.subjects.tolist()) == ([12], [105])


def test_the_lists_have_the_columns_that_insightface_reads(tree: Path):
    meta = tree / "meta"
    assert lines(meta / "ijbc_face_tid_mid.txt")[3] == "4.jpg 9 3"
    assert lines(meta / "ijbc_template_pair_label.txt") == ["5 9 0", "12 5 1", "9 9 1"]
    name, *values = lines(meta / "ijbc_name_5pts_score.txt")[0].split(" ")
    assert name == "1.jpg"
    assert np.array_equal(np.array(values, np.float32), [*LANDMARKS[0].ravel(), SCORES[0]])
    gallery = np.loadtxt(meta / "ijbc_1N_gallery_G1.csv", dtype=str, skiprows=1, delimiter=",")
    assert gallery[:, :2].tolist() == [["5", "105"]] * 3


def test_an_image_is_aligned_by_its_landmarks(tree: Path):
    path = tree / "meta" / "ijbc_name_5pts_score.txt"
    exact = " ".join(map(str, (TEMPLATE + 28).ravel()))
    path.write_text("\n".join([f"1.jpg {exact} 0.9", *lines(path)[1:]]))
    crop = read_faces(tree).crop(0)
    assert np.abs(crop.astype(int) - PICTURE[28:140, 28:140]).mean() < 12  # what the JPEG costs such a picture


def test_images_are_not_looked_for_before_they_are_read(tree: Path):
    (tree / "loose_crop" / "2.jpg").unlink()
    (tree / "loose_crop" / "3.jpg").write_bytes(b"\xff\xd8\xff damaged")
    faces = read_ijb(tree).faces
    with pytest.raises(InputError, match=r"loose_crop/2\.jpg: no such file"):
        faces.crop(1)
    with pytest.raises(InputError, match=r"loose_crop/3\.jpg: cannot be read as an image"):
        faces.crop(2)


def test_landmarks_that_coincide_align_nothing(tree: Path):
    path = tree / "meta" / "ijbc_name_5pts_score.txt"
    path.write_text("\n".join([f"1.jpg {'7 ' * 10} 0.9", *lines(path)[1:]]))
    with pytest.raises(InputError, match=r"loose_crop/1\.jpg: landmarks are not finite or all coincide"):
        read_faces(tree).crop(0)


def test_landmarks_in_another_order_find_their_images(tree: Path):
    path = tree / "meta" / "ijbc_name_5pts_score.txt"
    path.write_text("\n".join(reversed(lines(path))))
    faces = read_faces(tree)
    assert np.array_equal(faces.landmarks, LANDMARKS)
    assert np.array_equal(faces.scores, SCORES)


def test_files_are_read_in_parts_and_lines_counted_through(tree: Path, monkeypatch: pytest.MonkeyPatch):
    path = tree / "meta" / "ijbc_template_pair_label.txt"
    pairs = RNG.choice([5, 9, 12], (500, 2))
    path.write_text("\n\n".join(f"{first}\t{second} {first % 2}  " for first, second in pairs.tolist()))
    monkeypatch.setattr("aroface.datasets.formats.text_tables.BLOCK", 200)
    found, same = read_template_pairs(tree, read_faces(tree))
    assert np.array_equal(found, pairs)
    assert np.array_equal(same, pairs[:, 0] % 2 == 1)
    for wrong, message in (("5 9 7", "the label is 7"), ("5 6 0", "template 6 has no"), ("5 9", "2 columns")):
        path.write_text("5 9 0\n\n" * 499 + f"{wrong}\n\n")
        with pytest.raises(InputError, match=rf"label\.txt: line 999: {message}"):
            read_template_pairs(tree, read_faces(tree))


def test_a_tree_without_lists_for_the_search_has_none(tree: Path):
    for part in ("gallery_G1", "gallery_G2", "probe_mixed"):
        (tree / "meta" / f"ijbc_1N_{part}.csv").unlink()
    assert read_ijb(tree).search is None
    assert "probes" not in IJBFormat().facts(tree)


@pytest.mark.parametrize(
    "name",
    [
        "face_tid_mid.txt",
        "name_5pts_score.txt",
        "template_pair_label.txt",
        "1N_gallery_G1.csv",
        "1N_gallery_G2.csv",
        "1N_probe_mixed.csv",
    ],
)
def test_a_missing_or_empty_list_is_named(tree: Path, name: str):
    path = tree / "meta" / f"ijbc_{name}"
    path.write_text("TEMPLATE_ID,SUBJECT_ID\n" if name.endswith("csv") else "\n\n")
    with pytest.raises(InputError, match=rf"ijbc_{name}: the list is empty; expected lines of "):
        read_ijb(tree)
    path.write_text("")
    with pytest.raises(InputError, match=rf"ijbc_{name}: the list is empty; expected lines of "):
        read_ijb(tree)
    path.unlink()
    with pytest.raises(InputError, match=rf"(ijbc_{name}: no such file|no IJB tree; expected .*{name})"):
        read_ijb(tree)


POINTS = " ".join(["50"] * 10)
WRONG = [
    ("face_tid_mid.txt", "7.jpg 5", "line 7: 2 columns; expected lines of name template medium"),
    ("face_tid_mid.txt", "7.jpg 5 1 1", "line 7: 4 columns"),
    ("face_tid_mid.txt", "7.jpg five 1", "line 7: template is 'five'; expected a whole number"),
    ("face_tid_mid.txt", "7.jpg 5 1.5", "line 7: medium is '1.5'; expected a whole number"),
    ("face_tid_mid.txt", f"7.jpg {10**30} 1", "line 7: template is '1000"),
    ("face_tid_mid.txt", "7.jpg 5 1", "line 7: ijbc_name_5pts_score.txt has no '7.jpg'"),
    ("face_tid_mid.txt", "6.jpg 5 1", "a name stands here twice"),
    ("face_tid_mid.txt", "../7.jpg 5 1", r"line 7: the name is '\.\./7\.jpg'; expected a file name in loose_crop"),
    ("name_5pts_score.txt", f"7.jpg {POINTS}", "line 7: 11 columns; expected lines of name x1 y1 .* x5 y5 score"),
    ("name_5pts_score.txt", f"7.jpg {POINTS} high", "line 7: score is 'high'; expected a finite number"),
    ("name_5pts_score.txt", f"7.jpg {POINTS} 0_5.5", "line 7: score is '0_5.5'; expected a finite number"),
    ("name_5pts_score.txt", f"7.jpg {POINTS} nan", "line 7: score is 'nan'; expected a finite number"),
    ("name_5pts_score.txt", f"7.jpg {POINTS} 1e99", "line 7: score is '1e99'; expected a finite number"),
    ("name_5pts_score.txt", f"7.jpg {POINTS} 0.5", "line 7: ijbc_face_tid_mid.txt has no '7.jpg'"),
    ("name_5pts_score.txt", f"1.jpg {POINTS} 0.5", "line 1: '1.jpg' stands here twice"),
    ("template_pair_label.txt", "5 9 2", "line 4: the label is 2; expected 0 or 1"),
    ("template_pair_label.txt", "5 1e99 0", "line 4: template is '1e99'; expected a whole number"),
    ("template_pair_label.txt", "5 9223372036854775808 0", "line 4: template is '9223372036854775808'; expected"),
    ("template_pair_label.txt", "5 6 0", "line 4: template 6 has no image"),
    ("template_pair_label.txt", "5 9 yes", "line 4: label is 'yes'"),
    ("template_pair_label.txt", "5 9 \xff", "line 4: label is '�'"),
    ("1N_gallery_G1.csv", "6,105,x", "line 5: template 6 has no image"),
    ("1N_gallery_G1.csv", "5,106,x", "line 5: template 5 shows subject 106; expected subject 105 as before"),
    ("1N_probe_mixed.csv", "12", "line 4: 1 columns; expected lines of template,subject,…"),
    ("1N_probe_mixed.csv", "12,,x", "line 4: subject is ''; expected a whole number"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "line", "message"), WRONG)
def test_what_is_wrong_is_named_by_its_line(tree: Path, name: str, line: str, message: str):
    path = tree / "meta" / f"ijbc_{name}"
    path.write_bytes(path.read_bytes() + line.encode("latin1") + b"\n")
    with pytest.raises(InputError, match=rf"meta/ijbc_{name}: {message}"):
        read_ijb(tree)


def test_a_list_without_its_header_is_no_list(tree: Path):
    path = tree / "meta" / "ijbc_1N_gallery_G1.csv"
    path.write_text("\n".join(lines(path)[1:]))
    with pytest.raises(InputError, match=r"G1\.csv: line 1: the line is no header"):
        read_search(tree, read_faces(tree))


def test_the_first_line_may_be_too_long_as_well(tree: Path):
    path = tree / "meta" / "ijbc_face_tid_mid.txt"
    path.write_text("\n".join(f"{line} 0" for line in lines(path)))
    with pytest.raises(InputError, match=r"face_tid_mid\.txt: line 1: 4 columns"):
        read_faces(tree)


def test_a_tree_is_recognised_and_described(tree: Path):
    assert IJBFormat().matches(tree)
    assert not IJBFormat().matches(tree / "meta")
    assert IJBFormat().facts(tree) == {
        "benchmark": "ijbc",
        "images": 6,
        "templates": 3,
        "media": 5,
        "pairs": 3,
        "genuine": 2,
        "gallery G1": 1,
        "gallery G2": 1,
        "probes": 1,
    }
    folder, names = IJBFormat().files(tree)
    assert len(names) == 7
    assert all((folder / name).exists() for name in names)


def test_one_folder_holds_one_benchmark(tree: Path):
    with pytest.raises(InputError, match=r"no IJB tree; expected meta/ijbb_face_tid_mid\.txt or meta/ijbc"):
        read_faces(tree / "meta")
    write(tree, "ijbb")
    with pytest.raises(InputError, match="two benchmarks in one folder"):
        read_faces(tree)


def test_galleries_have_the_names_of_their_benchmark(tmp_path: Path):
    nobody = TemplateTable(np.array([1]), np.array([1]))
    with pytest.raises(ValueError, match="galleries G1, G2, expected S1, S2"):
        write_ijb(tmp_path, "ijbb", [], PAIRS, SAME, IdentificationProtocol({"G1": nobody, "G2": nobody}, nobody))


def test_each_list_of_landmarks_is_read_by_its_name(tmp_path: Path):
    tree = write(tmp_path, "ijbc")
    meta = tree / "meta"
    lines = [line.split() for line in (meta / "ijbc_name_5pts_score.txt").read_text().splitlines()]
    shifted = [[name, *(f"{float(value) + 1}" for value in values[:10]), "0.25"] for name, *values in lines]
    (meta / "ijbc_name_5pts_score_retina.txt").write_text("".join(f"{' '.join(each)}\n" for each in shifted))
    first = read_faces(tree)
    retina = read_faces(tree, "name_5pts_score_retina")
    assert retina.landmarks == pytest.approx(first.landmarks + 1)
    assert set(retina.scores.tolist()) == {0.25}
    for separator, more in ((" ", []), (",", []), (",", ["1"])):
        boxed = [[name, *more, "10", "20", "90", "99", "0.75", *values[:10]] for name, *values in shifted]
        (meta / "ijbc_name_box_score_5pts.txt").write_text("".join(f"{separator.join(each)}\n" for each in boxed))
        found = read_faces(tree, "name_box_score_5pts")
        assert np.array_equal(found.landmarks, retina.landmarks)
        assert set(found.scores.tolist()) == {0.75}
    assert (
        IJBFormat().facts(tree)["lists of landmarks"] == "name_5pts_score, name_5pts_score_retina, name_box_score_5pts"
    )
    (meta / "ijbc_name_box_score_5pts.txt").write_text("1.jpg 1 2 3\n")
    with pytest.raises(InputError, match=r"name_box_score_5pts\.txt: line 1: 4 columns; expected name, box of four"):
        read_faces(tree, "name_box_score_5pts")
    (meta / "ijbc_name_5pts_score_retina.txt").unlink()
    with pytest.raises(InputError, match=r"ijbc_name_5pts_score_retina\.txt: no such file"):
        read_faces(tree, "name_5pts_score_retina")
