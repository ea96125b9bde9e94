"""The one-page report: its words, its files."""

from __future__ import annotations

import csv
import io
import struct

import matplotlib
import numpy as np
import pytest
from foreign_models import face_pairs, write_onnx
from matplotlib.backends.backend_agg import FigureCanvasAgg

from aroface.cli import main
from aroface.evaluation.robustness import COLUMNS, MAPS, Condition, Grid, Quantity, Robustness, Sweep
from aroface.paper.robustness_findings import findings, in_points, reading
from aroface.paper.robustness_page import STYLE, page, short, wrapped
from aroface.paper.robustness_report import example_crops, write_report

GRID = Grid(qualities=("hq", 24), worst_case=True)
MAXIMUM = {"scale": 0.1, "degrees": 10.0, "shift": 0.06}
COSTS = {"scale": 0.1, "rotation": 0.01, "shift": 2.0, "joint": 0.3, "worst": 0.6}


def sweep(name: str, factor: float, seed: int) -> Sweep:
    """A model whose losses are ``factor`` times ``COSTS`` per level, and twice that at low quality."""
    rng = np.random.default_rng(seed)
    levels = {
        "scale": GRID.scale,
        "rotation": GRID.degrees,
        "shift": GRID.shift,
        "joint": GRID.joint,
        "worst": GRID.joint,
    }
    measured = {}
    for quality, times in (("hq", 1), ("r24", 2)):
        places = [Condition(quality, kind, level) for kind, each in levels.items() for level in each]
        places += [
            Condition(quality, one, level, other, second)
            for one, other in MAPS
            for level in levels[one]
            for second in levels[other]
        ]
        for place in (Condition(quality), *places):
            loss = factor * times * COSTS.get(place.factor or "", 0) * place.level
            loss += factor * times * COSTS.get(place.other or "", 0) * place.other_level
            value = max(0.9 - loss / 2, 0.02)
            measured[place] = {name: Quantity(value, value + rng.normal(0, 0.01, 1000)) for name in GRID.metrics}
    return Sweep(name, "r8s4, 128 features", measured)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    pairs = face_pairs(tmp_path_factory.mktemp("pairs") / "pairs.bin")
    counts = {"pairs": 24, "genuine": 12, "impostors": 12, "bootstrap_replicates": 1000}
    sweeps = [sweep("Plain_net $x", 1.0, 0), sweep("Robust", 0.2, 1)]
    return Robustness(pairs, GRID, MAXIMUM, counts, sweeps, ("No worst case of nothing.",))


def test_findings_have_figures_and_say_what_is_not_significant(found):
    said = {each.subject: each.text for each in findings(found, 1.0)}
    assert "the costliest first: shift by 12 % costs Plain_net $x 12.0 [" in said["Single errors"]
    assert "Robust 0.1 [" in said["Single errors"] and "(n.s.)" in said["Single errors"]
    assert "24 px: 2.6° rotation (Plain_net $x), " in said["Detector"]
    assert "5 % scale, 5° rotation and 3 % shift at once cost at full quality and 24 px" in said["All together"]
    assert "Plain_net $x 7.5 [" in said["All together"] and "significantly more" in said["All together"]
    assert "Robust −" in said["Models"] and "no difference is significant" in said["Models"]
    assert "not significant" in said["Two at once"]
    assert " of 44 losses under single and joint errors (Plain_net $x " in said["Not significant"]
    assert "Plain_net $x 15.0 [" in said["Worst case"] and "more than at random" in said["Worst case"]
    notes = " ".join(each.text for each in reading(found, 1.0))
    assert "minus the cosine similarity of a genuine pair" in notes and "No worst case of nothing." in notes
    assert "linear between levels" in notes


def test_one_model_at_one_quality_has_less_to_say(found):
    one = Robustness(found.pairs, Grid(qualities=("hq",)), MAXIMUM, found.counts, found.sweeps[:1])
    said = {each.subject for each in findings(one, 2.0)}
    assert "Models" not in said
    with matplotlib.rc_context(STYLE):
        figure = page(one, 2.0, example_crops(one))
    assert figure.get_figheight() * 25.4 == pytest.approx(297)


def test_numbers_have_true_minus_signs_and_no_negative_zero():
    samples = np.linspace(-0.03, 0.01, 1000)
    assert in_points(Quantity(-0.01, samples)) == "−1.0 [−2.9, 0.9] (n.s.)"
    assert in_points(Quantity(-0.00001, samples), signed=True).startswith("0.0 ")
    assert in_points(Quantity(0.02, samples + 0.05), signed=True) == "+2.0 [2.1, 5.9]"


def test_files_repeat_byte_by_byte(found, tmp_path, monkeypatch):
    made = []
    for name in ("a", "b"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1" if name == "a" else "1000000000")
        files = write_report(found, tmp_path / name, 1.0)
        assert [file.suffix for file in files] == [".pdf", ".png", ".html", ".csv"]
        made.append([file.read_bytes() for file in files])
    assert made[0] == made[1]
    pdf, png, page_html, numbers = made[0]
    assert b"/Type3" not in pdf and pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 1
    assert struct.unpack(">II", png[16:24]) == (2480, 3507)
    text = page_html.decode()
    assert "http" not in text and "Plain_net $x" in text and "data:image/png;base64," in text
    rows = [*csv.DictReader(io.StringIO(numbers.decode()))]
    assert [*rows[0]] == [*COLUMNS]
    assert {row["model"] for row in rows} == {"Plain_net $x", "Robust", "Robust - Plain_net $x"}
    assert {row["significant"] for row in rows} == {"", "yes", "no"}


def test_everything_written_lies_on_the_page(found):
    """Four models with long names, and as many qualities as a page has room for."""
    sweeps = [sweep(f"{word} with quite a long name of its own", 1.0, 0) for word in ("One", "Two", "Three", "Four")]
    many = Robustness(found.pairs, GRID, MAXIMUM, found.counts, sweeps)
    with matplotlib.rc_context(STYLE):
        figure = page(many, 1.0, example_crops(many))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        bottom = min(axes.get_tightbbox(renderer).y0 for axes in figure.axes)
        for text in figure.texts:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1, (
                text.get_text()
            )
    assert bottom > 0


def test_paragraphs_are_wrapped_to_their_width():
    ((subject, lines),) = wrapped([("About", "word " * 60 + "end")], 8, 3.0)
    assert subject == "About" and len(lines) > 2
    assert " ".join(lines) == "word " * 60 + "end"
    assert max(map(len, lines)) - min(map(len, lines[:-1])) <= 5


def test_long_names_are_cut():
    assert short("arcface_aroface-photographs-r8s4-s0-5fc17010") == "arcface_aroface-photogr…"


def test_the_verb_goes_from_models_to_files(tmp_path, capsys):
    pairs, model = face_pairs(tmp_path / "pairs.bin", 20), write_onnx(tmp_path / "quarters.onnx")
    words = ["robustness", "--model", str(model), "--pairs", str(pairs), "--out", str(tmp_path / "out")]
    sweep_words = ["--qualities", "16", "--scale", "0.1", "--degrees", "10", "--shift", "0.1", "--joint", "1"]
    assert main([*words, *sweep_words, "--metric", "accuracy", "--tolerance", "2"]) == 0
    printed = capsys.readouterr().out.split()
    assert [line.rpartition(".")[2] for line in printed] == ["pdf", "png", "html", "csv"]
    assert "tolerated_error_at_2_points_of_accuracy" in (tmp_path / "out" / "robustness.csv").read_text()
    for extra, error in (
        (["--tolerance", "0"], "--tolerance: 0 points; expected more than 0"),
        (["--worst-case"], "the worst case needs gradients"),
        (["--qualities", "3"], "3"),
        (["--model", str(model)], "2 models are called 'quarters'"),
    ):
        assert main([*words, *extra]) == 2
        assert error in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["robustness", "--help"])
    assert "aroface robustness" in capsys.readouterr().out.split("example:")[1]
