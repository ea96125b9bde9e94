"""NIST's IJB-C, in both forms of its lists, as a tree of loose crops and landmarks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats.ijb import check_ijb_labels, read_ijb
from aroface.datasets.formats.ijb_release import read_release
from aroface.datasets.formats.registry import detect
from aroface.datasets.preparation.align import REPORT, AlignOptions
from aroface.datasets.preparation.ijb_crops import prepare_ijb
from aroface.embedding.ijb import open_source
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE
from releases import ijb_release
from standin_detector import COLOURS, DotDetector

OPTIONS = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "five_point"}


@pytest.fixture(params=[False, True], ids=["newer", "older"])
def release(request, tmp_path: Path) -> Path:
    return ijb_release(tmp_path / "IJB-C", older=request.param)


def test_the_tree_has_the_templates_pairs_and_galleries_of_the_lists(release: Path, tmp_path: Path):
    assert detect(release).kind == "ijb"
    out, report = prepare_ijb(release, tmp_path / "IJBC", DotDetector(), AlignOptions())
    tree = read_ijb(out)
    check_ijb_labels(out, tree)
    assert tree.faces.templates.tolist() == [1, 1, 2, 3, 3, 4, 5, 5, 5]
    media = tree.faces.media.tolist()
    assert media[3] == media[4]  # frames of one video
    assert len({*media[:4], *media[5:8]}) == 7
    assert tree.pairs.tolist() == [[1, 3], [1, 4], [2, 3], [2, 4], [1, 5], [2, 5]]
    assert tree.same.tolist() == [True, False, False, True, False, False]
    assert {name: table.ids.tolist() for name, table in tree.search.galleries.items()} == {"G1": [1], "G2": [2]}
    assert tree.search.probes.subjects.tolist() == [11, 22, 33]
    assert report["counts"] == {"images": 8, "found": 7, "without_face": 1, "several_faces": 0}
    assert report["without_face"] == ["img/6.jpg"]


def test_landmarks_are_those_of_the_face(release: Path, tmp_path: Path):
    out, _ = prepare_ijb(release, tmp_path / "IJBC", DotDetector(), AlignOptions())
    faces = read_ijb(out).faces
    for row in (0, 2, 3, 6, 8):
        crop = faces.crop(row)
        for (x, y), colour in zip(TEMPLATE, COLOURS, strict=True):
            assert np.abs(crop[round(y), round(x)].astype(int) - colour).max() < 110, row
    assert faces.scores.tolist() == pytest.approx([0.9] * 7 + [0.5, 0.9])
    assert (out / "loose_crop" / faces.names[8]).read_bytes() == faces.path(
        0
    ).read_bytes()  # img/1.jpg in two templates
    source = open_source(out, OPTIONS, 112)
    assert source.layout["alignment"]["landmarks"] == "ijbc_name_5pts_score.txt"
    assert source.layout["alignment"]["detector"]["name"] == "dots"


def test_the_release_is_described_and_verified(release: Path, tmp_path: Path, capsys):
    assert main(["data", "info", str(release)]) == 0
    out = capsys.readouterr().out
    assert "genuine              2" in out
    assert "gallery G2           1" in out
    assert main(["data", "verify", str(release), "--manifest", str(tmp_path / "m.json"), "--threads", "1"]) == 0
    assert "images       ok: all 8 can be used" in capsys.readouterr().out


def test_a_finished_tree_stays_and_an_interrupted_one_goes_on(release: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("aroface.datasets.preparation.ijb_crops.CHUNK", 3)
    whole, expected = prepare_ijb(release, tmp_path / "whole", DotDetector(), AlignOptions())
    good = (release / "images/img/4.jpg").read_bytes()
    (release / "images/img/4.jpg").write_bytes(b"x" * len(good))
    with pytest.raises(InputError, match=r"img/4\.jpg: cannot be read as an image"):
        prepare_ijb(release, tmp_path / "tree", DotDetector(), AlignOptions())
    (release / "images/img/4.jpg").write_bytes(good)
    rest = DotDetector()
    out, report = prepare_ijb(release, tmp_path / "tree", rest, AlignOptions())
    assert len(rest.seen) == 5
    assert report == expected
    files = sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file())
    assert REPORT in files
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in files)
    assert prepare_ijb(release, out, rest, AlignOptions()) == (out, report)
    with pytest.raises(InputError, match="exists and was not made here"):
        prepare_ijb(release, release, rest, AlignOptions())


def test_what_cannot_be_right_is_named(tmp_path: Path):
    release = ijb_release(tmp_path / "IJB-C")
    path = release / "protocols/ijbc_1N_gallery_G1.csv"
    whole = path.read_text()
    for old, new, message in (
        ("1,11,img/2.jpg", "1,12,img/2.jpg", "line 3: template 1 shows subject 12; expected subject 11 as before"),
        ("img/2.jpg", "../../x.jpg", r"line 3: the file is '\.\./\.\./x\.jpg'"),
        ("TEMPLATE_ID", "ID", "line 1: no column TEMPLATE_ID"),
        ("1,11,img/2.jpg", "one,11,img/2.jpg", "line 3: a template, subject or box is no number"),
        ("img/2.jpg", "img/20.jpg", r"img/20\.jpg: no such file"),
    ):
        path.write_text(whole.replace(old, new))
        with pytest.raises(InputError, match=message):
            prepare_ijb(release, tmp_path / "tree", DotDetector(), AlignOptions())
    path.write_text(whole)
    with pytest.raises(InputError, match="the lists name every image; keep crops without a face"):
        prepare_ijb(release, tmp_path / "tree", DotDetector(), AlignOptions(no_face="omit"))
    matches = release / "protocols/ijbc_11_G1_G2_matches.csv"
    matches.write_text("1,3\n1,77\n")
    with pytest.raises(InputError, match="pair 2: a template is in no other list"):
        prepare_ijb(release, tmp_path / "tree", DotDetector(), AlignOptions())
    matches.write_text("1,3\n")
    with pytest.raises(InputError, match="all pairs are of one kind"):
        prepare_ijb(release, tmp_path / "tree", DotDetector(), AlignOptions())


def test_sightings_may_come_from_the_metadata(tmp_path: Path):
    release = ijb_release(tmp_path / "IJB-C", older=True)
    lines = ["SUBJECT_ID,FILENAME,SIGHTING_ID", *(f"11,frames/12_{n}.jpg,{n}" for n in (1, 2))]
    (release / "protocols/ijbc_metadata_with_age.csv").write_text("\n".join(lines))
    out, _ = prepare_ijb(release, tmp_path / "tree", DotDetector(), AlignOptions())
    media = read_ijb(out).faces.media
    assert media[3] != media[4]


def test_images_may_lie_at_the_root_and_lists_in_protocol(tmp_path: Path):
    release = ijb_release(tmp_path / "IJB-C")
    for folder in ("img", "frames"):
        shutil.move(release / "images" / folder, release / folder)
    (release / "images").rmdir()
    (release / "protocols").rename(release / "protocol")
    _, report = prepare_ijb(release, tmp_path / "tree", DotDetector(), AlignOptions())
    assert report["counts"]["found"] == 7


@pytest.mark.parametrize("name", ["ijbc_1N_probe_mixed.csv", "ijbc_11_G1_G2_matches.csv"])
def test_mangled_lists_end_in_one_line_or_in_a_release(tmp_path: Path, name: str):
    path = ijb_release(tmp_path / "IJB-C") / "protocols" / name
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3).tolist():
            content[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(content))
        try:
            release = read_release(tmp_path / "IJB-C")
            assert sum(len(same) for _, same in release.pairs()) <= 12
        except InputError as error:
            assert "\n" not in str(error)
