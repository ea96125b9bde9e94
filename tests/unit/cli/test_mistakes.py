"""``aroface mistakes``: the page with the faces, its table, and what is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from aroface.cli.main import main
from aroface.datasets.formats.pair_people import PairRow, write_pair_people
from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding.embed import embed_benchmark
from aroface.files import write_json
from embedding_runs import make_run
from external_models import face_pairs, write_onnx
from generated_sets import generate_tinyface
from small_sets import SPECS
from standin_detector import ONE, scrfd_file


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and pairs whose people are named."""
    pairs = face_pairs(tmp_path / "faces.bin")
    same = read_pairs(pairs).same
    rows = [
        PairRow(1, bool(label), f"<b>{n}", f"<b>{n if label else -n - 1}", f"{n}/a.jpg", f"{n}/b.jpg")
        for n, label in enumerate(same)
    ]
    write_pair_people(pairs, rows)
    return write_onnx(tmp_path / "quarters.onnx"), pairs


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_page_of_a_model_with_a_detector(files, tmp_path, capsys):
    model, pairs = files
    detector = scrfd_file(tmp_path / "scrfd.onnx", [(8, *ONE[1:])], side=192)
    out = tmp_path / "wrong" / "faces.html"
    words = ["mistakes", "--model", f"mine={model}", "--pairs", str(pairs), "--out", str(out), "--fmr", "0.5"]
    words += ["--detector", str(detector), "--most", "3"]
    assert main(words) == 0
    assert capsys.readouterr().out.split() == [str(out), str(out.with_suffix(".csv"))]
    page, rows = out.read_text(), rows_of(out.with_suffix(".csv"))
    assert "6 of 12 impostor pairs are accepted (50 %)" in page and "the worst 3 of 6" in page
    assert page.count('src="data:image/jpeg;base64,') == len(rows) and "<b>" not in page and "&lt;b&gt;" in page
    assert "http" not in page, "it needs nothing beside it"
    accepts = [row for row in rows if row["kind"] == "false accept"]
    assert len(accepts) == 6 and accepts[0]["person"] != accepts[1]["person"]
    assert accepts[0]["image"] == f"{accepts[0]['number']}/a.jpg"
    assert all(float(row["detector_score"]) == pytest.approx(0.8, abs=1e-4) for row in rows)
    assert all(float(row["alignment_error_px"]) > 1 for row in rows)
    before = page, (out.with_suffix(".features") / "index.json").stat().st_mtime_ns
    assert main(words) == 0
    assert before == (out.read_text(), (out.with_suffix(".features") / "index.json").stat().st_mtime_ns)


def test_features_of_a_results_folder_find_their_set_and_their_page(tmp_path, capsys):
    data = tmp_path / "results" / "data" / "tinyface"
    generate_tinyface(SPECS["tinyface"], 1, data, workers=1)
    options = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "rendered"}
    spec = {"name": "tinyface", "protocol": "tinyface", "path": str(data), "options": options}
    write_json(tmp_path / "results" / "benchmarks" / "tinyface-00000000.json", spec)
    features = tmp_path / "results" / "features" / "RUN" / "tinyface"
    (tmp_path / "run").mkdir()
    embed_benchmark(make_run(tmp_path / "run", 0), spec, features, device="cpu")
    assert main(["mistakes", "--features", str(features)]) == 0
    page = tmp_path / "results" / "mistakes" / "RUN" / "tinyface.html"
    assert "probes with a mate" in page.read_text()
    rows = rows_of(page.with_suffix(".csv"))
    assert [row["role"] for row in rows] == ["probe", "best hit", "best mate"] * (len(rows) // 3)

    moved = shutil.move(data, tmp_path / "moved")
    assert main(["mistakes", "--features", str(features)]) == 2
    assert "name its path: --data PATH" in capsys.readouterr().err
    assert main(["mistakes", "--features", str(features), "--data", str(moved)]) == 0
    other = face_pairs(tmp_path / "other.bin")
    assert main(["mistakes", "--features", str(features), "--data", str(other)]) == 2
    assert "other.bin: the features are of another set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "{model}", "--pairs", "{pairs}"], "--model needs --out"),
        (["--model", "{model}", "--pairs", "{pairs}", "--out", "{pairs}"], "not the name of a page"),
        (["--model", "{model}", "--out", "page.html"], "--model needs --pairs"),
        (["--features", "nothing", "--out", "page.html"], "no complete features"),
        (["--features", "nothing", "--pairs", "{pairs}", "--out", "page.html"], "--pairs is for --model"),
        (["--features", "nothing", "--detector", "none", "--out", "page.html"], "no detector 'none'"),
    ],
)
def test_bad_input_is_one_line(words, said, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, pairs = files
    assert main(["mistakes", *(word.format(model=model, pairs=pairs) for word in words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("aroface: error: ") and error.count("\n") == 1 and said in error
