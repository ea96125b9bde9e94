"""The one-page report: its words, its files."""

from __future__ import annotations

import csv
import html
import io
import os
import re
import shlex
import struct
import warnings
from dataclasses import replace
from datetime import UTC, datetime

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from aroface.cli.main import main
from aroface.evaluation import robustness
from aroface.evaluation.norm_response import NormResponse
from aroface.evaluation.robustness import (
    COLUMNS,
    CORRUPTION_LEVELS,
    MAPS,
    Facts,
    Perturbation,
    Quantity,
    Robustness,
    Sweep,
    SweepGrid,
)
from aroface.files import sha256_file
from aroface.reporting.robustness.files import example_crops, write_report
from aroface.reporting.robustness.findings import findings, in_points, reading
from aroface.reporting.robustness.page import STYLE, map_scale, page, short, wrapped
from external_models import face_pairs, write_onnx

GRID = SweepGrid(qualities=("hq", 24), worst_case=True)
MAXIMUM = {"scale": 0.1, "degrees": 10.0, "shift": 0.06}
FILES = (("pairs.bin", "ab" * 32), ("plain.onnx", "cd" * 32), ("robust.onnx", "ef" * 32))
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
        places = [Perturbation(quality, kind, level) for kind, each in levels.items() for level in each]
        places += [
            Perturbation(quality, one, level, other, second)
            for one, other in MAPS
            for level in levels[one]
            for second in levels[other]
        ]
        for place in (Perturbation(quality), *places):
            loss = factor * times * COSTS.get(place.factor or "", 0) * place.level
            loss += factor * times * COSTS.get(place.other or "", 0) * place.other_level
            value = max(0.9 - loss / 2, 0.02)
            measured[place] = {name: Quantity(value, value + rng.normal(0, 0.01, 1000)) for name in GRID.metrics}
    return Sweep(name, "r8s4, 128 features", measured)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    pairs = face_pairs(tmp_path_factory.mktemp("pairs") / "pairs.bin")
    counts = {"pairs": 24, "genuine": 12, "impostors": 12, "people": 30, "bootstrap_replicates": 1000}
    sweeps = [sweep("Plain_net $x", 1.0, 0), sweep("Robust", 0.2, 1)]
    facts = Facts(datetime(2020, 2, 3, tzinfo=UTC), "1.2.3", "aroface robustness --pairs 'my pairs.bin'", FILES)
    return Robustness(pairs, GRID, MAXIMUM, counts, sweeps, ("No worst case of nothing.",), facts)


@pytest.mark.parametrize(("times", "darkest"), [(0.0, 10), (0.05, 10), (1.0, 44), (10.0, 88)])
def test_small_losses_are_light_in_heat_maps(found, times, darkest):
    scale = map_scale(replace(found, sweeps=[sweep("one", times, 0), sweep("other", times / 2, 1)]))
    assert (scale.vmin, scale.vmax) == (0, pytest.approx(darkest))


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
    one = Robustness(found.pairs, SweepGrid(qualities=("hq",)), MAXIMUM, found.counts, found.sweeps[:1])
    said = {each.subject for each in findings(one, 2.0)}
    assert "Models" not in said
    with matplotlib.rc_context(STYLE):
        assert page(one, 2.0, example_crops(one)).get_figheight() * 25.4 < 297


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_metric_that_nothing_changes_is_drawn(found, value):
    same = {name: Quantity(value, np.full(1000, value)) for name in GRID.metrics}
    flat = [Sweep(each.name, each.description, dict.fromkeys(each.measured, same)) for each in found.sweeps]
    one = Robustness(found.pairs, GRID, MAXIMUM, found.counts, flat)
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("error")
        page(one, 1.0, example_crops(one))


def bands(figure) -> list[float]:
    """Heights in inches of the stretches of a page, from top to bottom, on which nothing at all is drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    blank = (np.asarray(canvas.buffer_rgba())[..., :3] == 255).all(axis=(1, 2))
    ends = np.flatnonzero(np.diff(np.concatenate([[0], blank.astype(int), [0]])))
    return list(np.diff(ends.reshape(-1, 2), axis=1)[:, 0] / figure.dpi)


@pytest.mark.parametrize(("qualities", "models", "levels"), [(1, 1, 1), (1, 2, 3), (2, 1, 2), (2, 2, 3)])
def test_no_page_has_large_gaps_or_tiles(found, qualities, models, levels):
    names = ("hq", 24)[:qualities]
    grid = SweepGrid(names, (0.05, 0.1, 0.15)[:levels], (5, 10, 20)[:levels], (0.03, 0.06, 0.12)[:levels], (0.5,))
    keep = {
        "scale": grid.scale,
        "rotation": grid.degrees,
        "shift": grid.shift,
        "joint": grid.joint,
    }

    def is_kept(place: Perturbation) -> bool:
        pairs = ((place.factor, place.level), (place.other, place.other_level))
        return all(factor is None or level in keep.get(factor, ()) for factor, level in pairs)

    sweeps = [
        Sweep(each.name, each.description, {place: value for place, value in each.measured.items() if is_kept(place)})
        for each in found.sweeps[:models]
    ]
    some = Robustness(found.pairs, grid, MAXIMUM, found.counts, sweeps, (), found.facts)
    with matplotlib.rc_context(STYLE):
        figure = page(some, 1.0, example_crops(some))
        assert max(bands(figure)) < 0.55
    for image in (image for axes in figure.axes for image in axes.images if image.get_array().ndim == 2):
        rows, columns = image.get_array().shape
        box = image.axes.get_position()
        assert box.width * figure.get_figwidth() / columns <= 0.51
        assert box.height * figure.get_figheight() / rows <= 0.31


@pytest.mark.parametrize(
    ("metric", "impostors", "words"),
    [
        ("tar_strict_at_far_1e-2", 150, "accepts 1.5 of 150 impostor pairs"),
        ("tar_strict_at_far_1e-2", 150, "Take 1,000 impostor pairs or more"),
        ("tar_strict_at_far_1e-3", 3000, "accepts 3.0 of 3,000 impostor pairs"),
        ("tar_strict_at_far_1e-1", 150, None),
        ("tar_strict_at_far_1e-2", 3000, None),
        ("accuracy", 12, None),
    ],
)
def test_too_few_impostors_for_the_metric_are_said_first(found, metric, impostors, words):
    grid = SweepGrid(qualities=("hq", 24), metrics=(metric,))
    named = [
        Sweep(each.name, "", {place: {metric: values["auc"]} for place, values in each.measured.items()})
        for each in found.sweeps
    ]
    some = Robustness(found.pairs, grid, MAXIMUM, {**found.counts, "impostors": impostors}, named)
    first = findings(some, 1.0)[0]
    assert (first.subject == "Too few pairs") == (words is not None)
    assert words is None or words in first.text


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
    assert struct.unpack(">I", png[16:20]) == (2480,)
    text = page_html.decode()
    assert "http" not in text and "Plain_net $x" in text and "data:image/png" not in text
    assert "<svg role" in text and ">modern detector, 2 sd</text>" in text, "letters, not their outlines"
    assert len(text) < 250_000
    assert "% aligned" not in text and "<th>without errors, %</th>" in text
    said = f"2020-02-03 with aroface 1.2.3 by: aroface robustness --pairs 'my pairs.bin'. sha256: {FILES[0][0]} "
    assert html.escape(said) in text and all(sha256 in text for _, sha256 in FILES)
    assert b"CreationDate (D:20200203000000Z)" in pdf and b"Creator (aroface 1.2.3)" in pdf
    assert b"Title" in pdf and b"aroface 1.2.3" in png
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


def test_corruptions_and_norms_are_drawn_and_listed(found, tmp_path):
    def with_corruptions(each: Sweep, factor: float) -> Sweep:
        corrupted = {
            Perturbation("hq", kind, level): {
                name: Quantity(0.9 - factor * number / 10, np.full(1000, 0.9 - factor * number / 10))
                for name in GRID.metrics
            }
            for kind, levels in CORRUPTION_LEVELS.items()
            for number, level in enumerate(levels, 1)
        }
        return replace(each, measured={**each.measured, **corrupted})

    sweeps = [with_corruptions(each, factor) for factor, each in enumerate(found.sweeps, 1)]
    norms = {
        each.name: [NormResponse("hq", "scale", level, 9, 1 - level, 1.0, 0.5 + level) for level in GRID.scale]
        for each in sweeps
    }
    more = replace(found, sweeps=sweeps, norms=norms, grid=replace(GRID, corruptions=True))
    files = write_report(more, tmp_path, 1.0)
    assert {file.name for file in files[4:]} == {
        *("norms.pdf", "norms.png", "norms.csv", "corruptions.pdf", "corruptions.png")
    }
    text = (tmp_path / "robustness.html").read_text()
    assert text.count("<svg role") == 3 and "<td>JPEG, 100 − quality 95</td><td>30.0</td><td>60.0</td>" in text
    assert (tmp_path / "norms.csv").read_text().splitlines()[1] == "Plain_net $x,hq,scale,0.05,9,0.95,1,0.55"
    first = page_of_losses(found), page_of_losses(more)
    assert first[0] == first[1], "the page of alignment errors has the scales of before"


def page_of_losses(found: Robustness) -> tuple[float, float | None]:
    """Scale of the heat maps."""
    scale = map_scale(found)
    return scale.vmax, scale.vmin


def test_paragraphs_are_wrapped_to_their_width():
    ((subject, lines),) = wrapped([("About", "word " * 60 + "end")], 8, 3.0)
    assert subject == "About" and len(lines) > 2
    assert " ".join(lines) == "word " * 60 + "end"
    assert max(map(len, lines)) - min(map(len, lines[:-1])) <= 5


def test_long_names_are_cut():
    assert short("arcface_aroface-photographs-r8s4-s0-5fc17010") == "arcface_aroface-photogr…"


def check_origin(out, measured, pairs, model, capsys, monkeypatch):
    """Date, command and hashes are on the page; the same call gives the same bytes, unless it is told the date."""
    text = (out / "robustness.html").read_text()
    (index,) = (out / "features").glob("*/r16/index.json")
    day = datetime.fromtimestamp(int(index.stat().st_mtime), UTC)
    assert f"{day:%Y-%m-%d} with aroface " in text
    assert html.escape(shlex.join(["aroface", *measured])) in text
    assert all(sha256_file(file) in text for file in (pairs, model))
    before = {file: file.read_bytes() for file in out.glob("robustness.*")}
    os.utime(index, (1e9, 1e9))
    assert main(measured) == 0
    text = (out / "robustness.html").read_text()
    assert "2001-09-09 with aroface" in text
    os.utime(index, (int(index.stat().st_mtime), day.timestamp()))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(day.timestamp())))
    assert main(measured) == 0
    assert before == {file: file.read_bytes() for file in out.glob("robustness.*")}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert main(measured) == 2
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert "SOURCE_DATE_EPOCH is 'yesterday'" in capsys.readouterr().err


def test_an_interruption_is_one_line_and_says_that_the_same_call_goes_on(tmp_path, capsys, monkeypatch):
    pairs, model = face_pairs(tmp_path / "pairs.bin", 20), write_onnx(tmp_path / "quarters.onnx")
    words = ["robustness", "--model", str(model), "--pairs", str(pairs), "--out", str(tmp_path / "out")]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(robustness, "embed_with", interrupt)
    assert main(words) == 130
    *told, line = capsys.readouterr().err.strip().splitlines()
    assert str(tmp_path / "out" / "features") in line and "the same command goes on" in line
    assert re.fullmatch(r"[\d,]+ images to embed, about [\d.]+ (s|min); --max-pairs and .*", told[-1])


ODD = "it's  $HOME & 50% #1 [größe] =v1.2;"
LONGEST = f"quarters  {'x' * 240}"  # of 255 bytes with its ending


def test_the_verb_goes_from_models_to_files(tmp_path, capsys, monkeypatch):
    """In folders of odd names, of a model whose file has the longest name that a disk takes."""
    (tmp_path / ODD).mkdir()
    tmp_path = tmp_path / ODD
    pairs, model = face_pairs(tmp_path / "pairs  =1.bin", 20), write_onnx(tmp_path / f"{LONGEST}.onnx")
    words = ["robustness", "--model", str(model), "--pairs", str(pairs), "--out", str(tmp_path / "out")]
    sweep_words = ["--qualities", "16", "--scale", "0.1", "--degrees", "10", "--shift", "0.1", "--joint", "1"]
    measured = [*words, *sweep_words, "--metric", "accuracy", "--tolerance", "2"]
    assert main(measured) == 0
    printed = capsys.readouterr().out.splitlines()
    check_origin(tmp_path / "out", measured, pairs, model, capsys, monkeypatch)
    assert [line.rpartition(".")[2] for line in printed] == ["pdf", "png", "html", "csv", "pdf", "png", "csv"]
    with open(tmp_path / "out" / "norms.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [(row["factor"], row["level"]) for row in rows] == [
        ("scale", "0.1"), ("rotation", "10"), ("shift", "0.1"), ("joint", "1")
    ]  # fmt: skip
    assert "Does the norm know" in (tmp_path / "out" / "robustness.html").read_text()
    assert "tolerated_error_at_2_points_of_accuracy" in (tmp_path / "out" / "robustness.csv").read_text()
    for extra, error in (
        (["--tolerance", "100"], "--tolerance: 100 points; expected more than 0, less than 100"),
        (["--worst-case"], "the worst case needs gradients"),
        (["--qualities", "3"], "3"),
        (["--model", str(model)], f"2 models are called {LONGEST!r}"),
    ):
        assert main([*words, *extra]) == 2
        assert error in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["robustness", "--help"])
    assert "aroface robustness" in capsys.readouterr().out.split("example:")[1]
