"""``aroface evaluate --scores``: what is printed and written, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.files import read_json


@pytest.fixture
def systems(tmp_path: Path) -> list[Path]:
    """Lists of two systems on the same 600 comparisons, the second with more noise."""
    rng = np.random.default_rng(2)
    same = np.arange(600) % 3 == 0
    files = []
    for name, noise in (("good", 0.0), ("bad", 0.4)):
        scores = rng.normal(np.where(same, 0.6, 0.0), 0.2) + noise * rng.normal(size=600)
        files.append(tmp_path / f"{name}.csv")
        lines = [f"{score:.6f},{'genuine' if label else 'impostor'}" for score, label in zip(scores, same, strict=True)]
        files[-1].write_text("\n".join(["score,label", *lines]))
    return files


def test_a_report_of_two_systems(systems, tmp_path, capsys):
    out = tmp_path / "verdict"
    words = ["evaluate", "--scores", *map(str, systems), "--fmr", "0.1", "0.01", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "200 genuine and 400 impostor comparisons" in printed.out
    assert "rests on 4 false matches; 3,000 impostor comparisons would give 30" in printed.err
    names = {"scores.html", "scores.json", "scores.csv", *(f"{name}.{form}" for name in ("det", "distributions")
                                                           for form in ("pdf", "png"))}  # fmt: skip
    assert {path.name for path in out.iterdir()} == names
    document = read_json(out / "scores.json")
    good, bad = document["systems"]
    assert good["metrics"]["eer"] < bad["metrics"]["eer"]
    assert [each["wished"] for each in good["thresholds"]] == [0.1, 0.01]
    assert "fmr100" in good["few_false_matches"] and "tar_strict_at_far_1e-1" not in good["few_false_matches"]
    (row,) = (each for each in document["comparisons"] if each["metric"] == "auc")
    assert row["difference"] < 0 and row["p_holm"] < 0.01
    with open(out / "scores.csv", newline="") as file:
        rows = {(row["system"], row["metric"], row["other"]): row for row in csv.DictReader(file)}
    assert float(rows["good", "eer", ""]["value"]) == pytest.approx(good["metrics"]["eer"], rel=1e-5)
    page = (out / "scores.html").read_text()
    assert page.count("<svg") == 2 and "EER" in page and "p (Holm)" in page
    again = {path: path.read_bytes() for path in out.iterdir()}
    assert main(words) == 0
    assert all(path.read_bytes() == content for path, content in again.items())


def test_names_are_text_on_the_page(systems, tmp_path, capsys):
    out = tmp_path / "verdict"
    odd = systems[0].rename(tmp_path / "_$x$ <b>.csv")
    assert main(["evaluate", "--scores", str(odd), "--det-axes", "normal", "--out", str(out)]) == 0
    page = (out / "scores.html").read_text()
    assert "_$x$ &lt;b&gt;" in page and "<b>" not in page


def test_a_search_has_a_cmc(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(np.arange(20), 2), np.arange(15)
    scores = 2 - (rng.normal(size=(40, 15)) + 2 * (rows[:, None] == columns))
    np.savez(tmp_path / "m.npz", scores=scores, rows=rows, columns=columns)
    out = tmp_path / "verdict"
    assert main(["evaluate", "--scores", str(tmp_path / "m.npz"), "--distance", "--out", str(out)]) == 0
    assert "40 probes, 30 with a mate, among up to 15 references" in " ".join(capsys.readouterr().out.split())
    assert (out / "cmc.png").exists()
    (system,) = read_json(out / "scores.json")["systems"]
    assert system["scores_are"] == "distances"
    assert "tpir_at_fpir_1e-1" in system["few_false_matches"] and "rank1" not in system["few_false_matches"]


def test_distances_read_as_similarities_are_noticed(systems, capsys):
    assert main(["evaluate", "--scores", str(systems[0]), "--distance"]) == 0
    assert "impostors score better than genuine comparisons; are they similarities?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scores", "gone.csv"], "gone.csv: no such file"),
        (["--scores", "GOOD", "GOOD"], "two systems of one name"),
        (["--scores", "GOOD", "--impostors", "a", "b"], "--impostors: 2 files; expected 1"),
        (["--scores", *(f"s{n}=GOOD" for n in range(9))], "9 systems; expected at most 8"),
    ],
)
def test_bad_input_is_one_line(systems, capsys, words, message):
    assert main(["evaluate", *(word.replace("GOOD", str(systems[0])) for word in words)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_many_missing_scores_are_an_error(systems, capsys):
    lines = systems[0].read_text().splitlines()
    systems[0].write_text("\n".join([lines[0], *("nan,impostor" for _ in range(60)), *lines[1:]]))
    assert main(["evaluate", "--scores", str(systems[0])]) == 2
    assert "60 of 660 left out" in capsys.readouterr().err
    assert main(["evaluate", "--scores", str(systems[0]), "--max-left-out", "0.1"]) == 0


TWO_KINDS = "score,label\n" + "".join(
    f"{0.1 * number:.1f},{'genuine' if number > 4 else 'impostor'}\n" for number in range(10)
)


@pytest.mark.parametrize(
    ("files", "words", "line"),
    [
        ({"a.csv": TWO_KINDS, "b.csv": TWO_KINDS}, ["--impostors", "b.csv"], "a column label, which tells genuine"),
        ({"a.csv": TWO_KINDS.replace("score,label", "score,score")}, [], "line 1: 2 columns 'score'; expected one"),
        ({"a.csv": TWO_KINDS + '0.5,"genuine\n'}, [], "line 12: a quote in '\"genuine' is not closed"),
        ({"a.csv": TWO_KINDS, "r.txt": "x\n"}, ["--rows", "r.txt"], "--rows is for a matrix"),
        ({"a.csv": TWO_KINDS}, ["--color", "BGR"], "--color is for --model; leave it out"),
        ({"a.csv": TWO_KINDS}, ["--by-group"], "--by-group is for --model; leave it out"),
        ({"a.csv": TWO_KINDS, "out/scores.html": "mine"}, ["--out", "out"], "scores.html: exists and was not made"),
    ],
)  # fmt: skip
def test_what_would_be_ignored_or_lost_is_refused(
    files: dict[str, str], words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert main(["evaluate", "--scores", "a.csv", *words]) == 2
    assert line in capsys.readouterr().err
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {*files}
    assert all((tmp_path / name).read_text() == text for name, text in files.items())


@pytest.mark.parametrize("words", [["--fmr", "0.01"], ["--distance"], ["--rows", "x"], ["--det-axes", "log"]])
def test_options_of_scores_are_for_scores(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", "--model", "m.onnx", "--pairs", "p.bin", *words]) == 2
    assert f"{words[0]} is for --scores; leave it out" in capsys.readouterr().err


def test_a_separation_of_scores_that_do_not_vary_is_not_defined(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.csv").write_text("score,label\n" + "0.5,genuine\n0.4,genuine\n" * 3 + "0.1,impostor\n" * 9)
    assert main(["evaluate", "--scores", str(tmp_path / "a.csv")]) == 0
    first = capsys.readouterr()
    (tmp_path / "a.csv").write_text("score,label\n" + "0.3,genuine\n" * 6 + "0.1,impostor\n" * 9)
    assert main(["evaluate", "--scores", str(tmp_path / "a.csv")]) == 0
    second = capsys.readouterr()
    for printed in (first, second):
        assert "RuntimeWarning" not in printed.err
        assert "00000000" not in printed.out
