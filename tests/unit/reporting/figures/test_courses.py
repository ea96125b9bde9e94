"""Figures of the trainings and of what their adversaries did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from tests.unit.reporting.test_document import latex as latex  # the fixture
from tests.unit.reporting.test_document import pdf_text

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.files import read_json, write_json
from aroface.reporting.figures.displacements import draw_displacements, figure_displacements, shares
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.layout import looks
from aroface.reporting.figures.training import course, draw_training, figure_training, loss_of
from aroface.reporting.histories import by_experiment, load_histories
from aroface.reporting.records import RecordedExperiment
from aroface.schemas import validate
from figure_layout import check_layout
from made_up_histories import write_history

DRAW = {"training": figure_training, "displacements": figure_displacements}
LABELS = {"arcface": "ArcFace", "arcface_aroface": "ArcFace+ARoFace", "ms1mv2": "MS1MV2"}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two methods of three seeds each, one of which left nothing; another is too old to have counted."""
    folder = tmp_path / "runs"
    for seed in range(3):
        write_history(folder, "arcface", seed=seed, recorded=seed != 2)
        write_history(folder, "arcface_aroface", seed=seed, adversary="gradient", floor=8, counted=seed != 1)
    return folder


def caption(stem: Path) -> str:
    return next(line for line in Path(f"{stem}.tex").read_text().splitlines() if "\\caption" in line)


def test_made_up_histories_are_valid(runs: Path):
    for path in runs.glob("*/history.json"):
        validate(read_json(path), "history", file=path)


@pytest.mark.parametrize("kind", DRAW)
def test_files_repeat_byte_by_byte(kind: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = []
    for name in ("a", "b"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1" if name == "a" else "1000000000")
        out = tmp_path / name / kind
        DRAW[kind](runs, out, labels=LABELS, caption_note="Made up.")
        made.append([out.with_suffix(suffix).read_bytes() for suffix in (".pdf", ".png", ".tex")])
    assert made[0] == made[1]
    assert b"/Type3" not in made[0][0]
    assert rf"\includegraphics[width=\linewidth]{{{kind}.pdf}}".encode() in made[0][2]
    assert caption(out).endswith("Made up.}")


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("training", ["MS1MV2", "loss", "accuracy (%)", "learning", "epoch", "ArcFace", "ArcFace+ARoFace"]),
        (
            "displacements",
            ["(a) scale", "(e) landmarks", "degrees", "last epoch", "ArcFace+ARoFace", "where warps start"],
        ),
    ],
)
def test_the_picture_says_what_it_shows(kind: str, words: list[str], runs: Path, tmp_path: Path):
    DRAW[kind](runs, tmp_path / kind, labels=LABELS)
    text = pdf_text(tmp_path / f"{kind}.pdf")
    missing = [word for word in words if word not in " ".join(text.split())]
    assert missing == []


def test_captions_count_seeds_and_name_what_is_missing(runs: Path, tmp_path: Path):
    figure_training(runs, tmp_path / "training", labels=LABELS)
    said = caption(tmp_path / "training")
    assert "mean over 2 to 3 seeds; bands reach from the lowest to the highest seed" in said
    assert "accuracy after epochs (mean over cfp fp and lfw)" in said
    assert "Nothing was recorded of ArcFace, seed 2." in said
    figure_displacements(runs, tmp_path / "displacements", labels=LABELS)
    said = caption(tmp_path / "displacements")
    assert "of 25~\\% of the images" in said
    assert "mean over 2 seeds" in said
    assert said.endswith("Nothing was recorded of ArcFace+ARoFace, seed 1.}"), "ArcFace has no adversary to count"


def test_only_the_runs_that_count_are_shown_in_the_order_of_the_plan(runs: Path, tmp_path: Path):
    names = [path.name for path in runs.iterdir() if "-s0-" in path.name]
    histories, gaps = load_histories(runs, [*names, "arcface-ms1mv2-r100-released-12345678", "adaface-a-b-s1-00000000"])
    order = [RecordedExperiment("arcface_aroface", "ms1mv2", "r100"), RecordedExperiment("arcface", "ms1mv2", "r100")]
    found = by_experiment(histories, order)
    assert [*found] == order
    assert [len(group) for group in found.values()] == [1, 1]
    assert [(gap.experiment.method, gap.seed, gap.adversary) for gap in gaps] == [("adaface", 1, None)]


@pytest.mark.parametrize("kind", DRAW)
def test_runs_of_an_earlier_version_are_a_picture_of_nothing(kind: str, tmp_path: Path):
    write_history(tmp_path / "runs", "arcface_aroface", adversary="gradient", recorded=False)
    out = tmp_path / "it's  (1) größe =v1.2;" / f"{kind} v1.2"
    assert main(["figure", kind, "--runs-dir", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert "No training has recorded" in caption(out)
    assert "Nothing was recorded of arcface\\_aroface, seed 0." in caption(out)
    assert {path.name for path in out.parent.iterdir()} == {f"{out.name}.{form}" for form in ("pdf", "png", "tex")}


def test_a_training_whose_log_was_lost_is_a_gap(runs: Path, tmp_path: Path):
    path = next(runs.glob("arcface-*-s0-*/history.json"))
    write_json(path, {**read_json(path), "curve": {key: [] for key in ("step", "loss", "lr", "logged")}})
    figure_training(runs, tmp_path / "figure", labels=LABELS)
    assert "Nothing was recorded of ArcFace, seeds 0 and 2." in caption(tmp_path / "figure")


def test_the_loss_is_the_mean_of_equal_parts(runs: Path):
    history = load_histories(runs)[0][0]
    epochs, loss = loss_of(history, 10)
    curve = history.content["curve"]
    step = np.array(curve["step"])
    for part in range(10):
        inside = (step >= part * 200) & (step < (part + 1) * 200)
        assert loss[part] == pytest.approx(np.array(curve["loss"])[inside].mean())
        assert epochs[part] == pytest.approx(step[inside].mean() / 100)


def test_a_point_counts_as_often_as_it_has_steps(runs: Path):
    path = next(runs.glob("*/history.json"))
    content = read_json(path)
    content["curve"] = {"step": [0, 10, 1500], "loss": [1, 4, 7], "lr": [0.1] * 3, "logged": [1, 2, 5]}
    write_json(path, content)
    history = next(each for each in load_histories(runs)[0] if each.path == path)
    epochs, loss = loss_of(history, 2)
    assert loss == pytest.approx([3, 7])
    assert epochs == pytest.approx([20 / 3 / 100, 15])


def test_bands_reach_from_the_lowest_to_the_highest_seed():
    first = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    second = np.array([0.0, 2.0]), np.array([3.0, 5.0])
    drawn = course([first, second])
    np.testing.assert_allclose(drawn.mean, [2, 3, 4])
    np.testing.assert_allclose(drawn.low, [1, 2, 3])
    np.testing.assert_allclose(drawn.high, [3, 4, 5])


def test_a_column_for_each_training_set_and_no_text_over_another(tmp_path: Path):
    folder = tmp_path / "runs"
    for dataset in ("ms1mv2", "ms1mv3", "webface4m", "webface12m", "synthetic"):
        for method in ("arcface", "arcface_aroface", "adaface"):
            write_history(folder, method, dataset=dataset, adversary="gradient" if "_" in method else "none")
    found = by_experiment(load_histories(folder)[0])
    with matplotlib.rc_context(style(DEFAULT_FORM)):
        figure = draw_training(found, LABELS)
        check_layout(figure)
        assert len(figure.axes) == 3 * 5
        figure = draw_training({each: group for each, group in found.items() if each.dataset == "ms1mv2"}, LABELS)
        check_layout(figure)
        assert len(figure.axes) == 3


def test_panels_of_the_displacements(runs: Path):
    histories = [each for each in load_histories(runs)[0] if each.content["displacements"]]
    found = by_experiment(histories)
    with matplotlib.rc_context(style(DEFAULT_FORM)):
        figure = draw_displacements(found, LABELS)
        check_layout(figure)
        assert len(figure.axes) == 10
    low, high = figure.axes[0].get_xlim()
    assert (low + high) / 2 == pytest.approx(1)
    assert 1.1 < high < 1.2
    share = shares(histories[0], "scale", "whole")
    table = histories[0].content["displacements"]["quantities"]["scale"]["whole"]
    assert share == pytest.approx(np.array(table["counts"]) / 4000)
    assert share[:100].sum() == pytest.approx(0.4, abs=0.03)


def test_no_two_methods_look_alike_and_a_head_has_one_colour_everywhere():
    variants = [RecordedExperiment(f"arcface_{name}", "a", "b") for name in "abcdefghijklmnop"]
    found = looks([RecordedExperiment("arcface", "a", "b"), *variants], {})
    assert len({(look.colour, look.marker) for look in found.values()}) == 17
    assert len({(look.colour, str(look.dashes)) for look in found.values()}) == 17
    ours = RecordedExperiment("adaface", "a", "b")
    assert looks([ours], {})[ours].colour != looks([ours], {}, [variants[0], ours])[ours].colour
    assert looks([ours], {}, [variants[0], ours])[ours] == looks([variants[0], ours], {})[ours]


def test_what_is_wrong_is_said_in_one_line(runs: Path, tmp_path: Path):
    path = sorted(runs.glob("*/history.json"))[0]

    def fails(change: Callable[[dict[str, object]], object], message: str) -> None:
        content = read_json(path)
        kept = json.dumps(content)
        change(content)
        write_json(path, content)
        with pytest.raises(InputError, match=message) as error:
            figure_training(runs, tmp_path / "figure")
        assert "\n" not in str(error.value)
        path.write_text(kept)

    fails(lambda content: content.pop("curve"), "'curve' is a required property")
    fails(lambda content: content.update(run="other"), "in the wrong place; expected other/history.json")
    fails(lambda content: content.update(steps=7), "a training of .* steps; expected")
    twin = path.parent.with_name(f"{path.parent.name[:-8]}00000000")
    shutil.copytree(path.parent, twin)
    write_json(twin / "history.json", {**read_json(path), "run": twin.name})
    with pytest.raises(InputError, match="several runs of seed 0"):
        figure_training(runs, tmp_path / "figure")
