"""``aroface quality``: page, tables and figure, qualities of other programs, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.datasets.formats.pair_people import PairRow, write_pair_people
from aroface.datasets.formats.pairs import read_pairs
from aroface.evaluation.image_quality import effective_resolution
from aroface.faces.degrade import downsample
from external_models import face_pairs, write_onnx
from standin_detector import ONE, scrfd_file


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_onnx(tmp_path / "quarters.onnx"), face_pairs(tmp_path / "faces.bin", pairs=60)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_all_measures_of_a_model(files, tmp_path, capsys):
    model, pairs = files
    table = tmp_path / "q.csv"
    rng = np.random.default_rng(0)
    lines = [f"{n},{rng.random():.4f},{'' if n < 5 else 1}" for n in range(120)]
    table.write_text("\n".join(["image,<sharp>,norm", *lines]))
    detector = scrfd_file(tmp_path / "scrfd.onnx", [(8, *ONE[1:])], side=192)
    out = tmp_path / "out"
    words = ["quality", "--model", f"mine={model}", "--pairs", str(pairs), "--out", str(out), "--fmr", "0.2"]
    words += ["--csv", str(table), "--detector", str(detector)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "30 genuine and 30 impostor pairs" in printed and "norm (q): 5 images without a value" in printed
    assert {path.name for path in out.iterdir()} == {
        *("quality.html", "quality.csv", "strata.csv", "features", "error_discard.pdf", "error_discard.png")
    }
    names = ["norm", "resolution", "detector score", "alignment error", "landmark geometry"]
    names += ["distance from unrecognisable", "<sharp>", "norm (q)"]
    curves = rows_of(out / "quality.csv")
    assert list(dict.fromkeys(row["quality"] for row in curves)) == names
    assert {row["threshold"] for row in curves} == {"fixed", "estimated again"} and len(curves) == 8 * 2 * 21
    strata = rows_of(out / "strata.csv")
    for name in names:
        own = [row for row in strata if row["quality"] == name]
        assert sum(int(row["genuine"]) for row in own) == sum(int(row["impostors"]) for row in own) == 30
    assert len([row for row in strata if row["quality"] == "norm"]) == 4
    assert len([row for row in strata if row["quality"] == "detector score"]) == 1, "all of one score"
    page = (out / "quality.html").read_text()
    assert "&lt;sharp&gt;" in page and "<sharp>" not in page and page.count("<svg") == 1
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert main(words) == 0
    assert all(path.read_bytes() == content for path, content in before.items())


def test_qualities_are_found_by_the_names_of_images(files, tmp_path, capsys):
    model, pairs = files
    same = read_pairs(pairs).same
    rows = [PairRow(1, bool(s), f"{n}", f"{n if s else -n - 1}", f"{n}/a", f"{n}/b") for n, s in enumerate(same)]
    write_pair_people(pairs, rows)
    table = tmp_path / "q.csv"
    lines = [f"{n}/{side},{n},ignored" for n in reversed(range(60)) for side in "ab"]
    table.write_text("path,sharp,other\n" + "\n".join(lines))
    words = ["quality", "--model", str(model), "--pairs", str(pairs), "--out", str(tmp_path / "out")]
    assert main([*words, "--csv", str(table), "--columns", "sharp"]) == 0
    strata = [row for row in rows_of(tmp_path / "out" / "strata.csv") if row["quality"] == "sharp"]
    assert strata[0]["lowest"] == "0" and strata[-1]["highest"] == "59"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,q\n0,1\n", "no column image"),
        ("image,q\n0,x\n", "line 2: 'x' is no number"),
        ("image,q\n0,inf\n", "line 2: 'inf'"),
        ("image,q\n0,1,2\n", "line 2: 3 columns"),
        ("image,q\n0,1\n", "no line for image 1"),
        ("image\n0\n", "0 measures"),
        ("image," + ",".join("abcdefghi") + "\n", "9 measures; expected 1 to 8; choose some: --columns"),
        ("", "no column image"),
    ],
)
def test_malformed_qualities_are_one_line(text, said, files, tmp_path, capsys):
    model, pairs = files
    (tmp_path / "q.csv").write_text(text)
    words = ["quality", "--model", str(model), "--pairs", str(pairs), "--out", str(tmp_path / "out")]
    assert main([*words, "--csv", str(tmp_path / "q.csv")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("aroface: error: ") and said in error
    assert not (tmp_path / "out" / "quality.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--columns", "a"], "--columns is for --csv"),
        (["--csv", "nothing.csv"], "nothing.csv"),
        (["--csv", "q.csv", "--columns", "b"], "no column 'b'"),
    ],
)
def test_bad_options_are_one_line(words, said, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.csv").write_text("image,q\n0,1\n")
    model, pairs = files
    assert main(["quality", "--model", str(model), "--pairs", str(pairs), *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("aroface: error: ") and said in error


def test_the_resolution_is_the_side_that_an_image_was_reduced_to():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, 112, 112, 3), np.uint8)
    assert effective_resolution(noise).tolist() == [112] * 4
    for side in (14, 28, 56):
        found = effective_resolution(downsample(noise, side))
        assert ((side <= found) & (found <= 2 * side)).all()
    assert effective_resolution(np.full((1, 112, 112, 3), 9, np.uint8)).tolist() == [7]
