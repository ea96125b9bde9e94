"""Own sets for search: crops and photographs, who is in gallery and probes, and what is left out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aroface.cli.main import main
from aroface.datasets.formats.registry import FORMATS
from aroface.datasets.formats.tinyface import read_tinyface
from aroface.datasets.images import read_image
from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation.search_sets import SOURCES, SearchSetOptions, make_search_set
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE
from crops import crop, png
from standin_detector import COLOURS, DotDetector, dotted


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Gallery of four people, probes of three of them, and two other people."""
    for part, people in (("gallery", "abcd"), ("probes", "bcd"), ("others", "xy")):
        for number, person in enumerate(people):
            folder = tmp_path / part / person
            folder.mkdir(parents=True)
            (folder / "0.jpg").write_bytes(crop(100 * len(people) + number))
            (folder / "1.png").write_bytes(png(200 * len(people) + number))
    return tmp_path / "gallery", tmp_path / "probes", tmp_path / "others"


def sources(out: Path) -> list[dict[str, str]]:
    with open(out / SOURCES, newline="") as file:
        return list(csv.DictReader(file))


def test_people_are_joined_by_their_folders(folders: tuple[Path, Path, Path], tmp_path: Path, capsys):
    gallery, probes, others = folders
    words = ["data", "search", str(gallery), str(probes), "--distractors", str(others), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    told = "gallery: 8 images of 4 people and 4 distractors; 6 probes"
    assert capsys.readouterr().out == f"{tmp_path / 'out'}  {told}\n"
    tree = read_tinyface(tmp_path / "out")
    assert tree.counts == {"gallery": 8, "probes": 6, "distractors": 4}
    assert tree.gallery_labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert tree.probe_labels.tolist() == [2, 2, 3, 3, 4, 4]
    assert tree.gallery[0].read_bytes() == (gallery / "a/0.jpg").read_bytes(), "crops are taken byte for byte"
    rows = sources(tmp_path / "out")
    assert rows[8] == {"part": "probes", "number": "1", "identity": "2", "person": "b", "source": "probes/b/0.jpg"}
    assert [row["part"] for row in rows].count("distractors") == 4
    assert read_manifest(tmp_path / "out")["counts"] == tree.counts
    findings = FORMATS["tinyface"].check(tmp_path / "out", 1)
    assert (findings.failed, findings.corrupt, findings.left_out) == ({}, [], {})


def test_photographs_are_aligned(tmp_path: Path):
    for part in ("gallery", "probes"):
        for person in range(3):
            (tmp_path / part / f"{person}").mkdir(parents=True)
            where = np.array([[1.6, 0, 50 + 20 * person], [0, 1.6, 60]])
            Image.fromarray(dotted(400, 420, where, radius=4)[0]).save(tmp_path / part / f"{person}/a.png")
    Image.new("RGB", (300, 300)).save(tmp_path / "probes/0/none.png")
    options = SearchSetOptions(max_left_out=0.2)
    made = make_search_set(tmp_path / "gallery", tmp_path / "probes", tmp_path / "out", options, DotDetector())
    assert made.omissions.summary() == {"no face found": {"count": 1, "first": ["probes/0/none.png"]}}
    tree = read_tinyface(tmp_path / "out")
    assert tree.counts == {"gallery": 3, "probes": 3, "distractors": 0}
    for path in (*tree.gallery, *tree.probes):
        for (x, y), colour in zip(TEMPLATE.round().astype(int), COLOURS, strict=True):
            assert np.abs(read_image(path)[y, x].astype(int) - colour).max() < 90
    assert not list(tmp_path.glob(".*"))


def test_probes_of_strangers_are_left_out_and_bounded(folders: tuple[Path, Path, Path], tmp_path: Path):
    gallery, probes, others = folders
    (others / "x").rename(probes / "x")
    with pytest.raises(InputError, match=r"2 of 16 left out, most of them: probe of a person who is not in the gal"):
        make_search_set(gallery, probes, tmp_path / "out")
    made = make_search_set(gallery, probes, tmp_path / "out", SearchSetOptions(max_left_out=0.2))
    assert (made.people, made.counts["probes"]) == (4, 6)


def test_lost_people_are_an_error_or_left_out(folders: tuple[Path, Path, Path], tmp_path: Path):
    gallery, probes, _ = folders
    for path in (probes / "d").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    how = {"on_corrupt": "skip", "max_left_out": 0.2}
    with pytest.raises(InputError, match=r"probes/d: the folder holds no image that can be used"):
        make_search_set(gallery, probes, tmp_path / "out", SearchSetOptions(**how))
    made = make_search_set(gallery, probes, tmp_path / "out", SearchSetOptions(**how, lost_people="omit"))
    assert made.counts["probes"] == 4
    assert made.omissions.summary()["person without an image"]["first"] == ["probes/d"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["gallery", "nowhere", "--out", "out"], "nowhere: no such folder; expected a folder of images"),
        (["gallery", "others", "--out", "out"], "others: no probe of a person in the gallery; expected folders named"),
        (["gallery", "gallery", "--out", "out"], "image that is in the gallery and among the probes; give probes"),
        (["gallery", "probes", "--out", "probes/out"], "lies in a folder that is read; name a place beside it"),
        (["gallery", "probes", "--out", "others"], "exists and has no manifest.json, so it was not made here"),
        (["gallery", "large", "--out", "out"], "an image of 300×200 pixels"),
        (["gallery", "probes", "--out", "out", "--detector", "dlib"], "no detector 'dlib'"),
    ],
)
def test_what_gives_no_set_is_one_line(
    folders: tuple[Path, Path, Path], tmp_path: Path, words: list[str], line: str, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large/a").mkdir(parents=True)
    Image.new("RGB", (300, 200)).save(tmp_path / "large/a/0.png")
    assert main(["data", "search", *words, "--max-left-out", "1"]) == 2
    (said,) = capsys.readouterr().err.splitlines()[-1:]
    assert line in said
    assert not (tmp_path / "out").exists()
