from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.evaluation.metrics.operating_curves import tar_far
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.operating_curves import KINDS, THIN, draw, figure_operating, operating_curves
from aroface.reporting.records import RecordedExperiment, load_records
from made_up_records import write_record
from repository import ROOT

TAR_FAR = KINDS["tar_far"]
METHODS = ("arcface", "arcface_aroface", "adaface")


def write_curves(folder: Path, methods: Sequence[str] = METHODS, datasets: Sequence[str] = ("ms1mv3",)) -> Path:
    """Records of three seeds with the curves of 50,000 made-up impostors."""
    for number, (dataset, method) in enumerate((dataset, method) for dataset in datasets for method in methods):
        for seed in range(3):
            rng = np.random.default_rng([number, seed])
            scores = rng.normal(1 + 0.1 * number, 0.3, 400), rng.normal(0, 0.3, 50_000)
            curve = tar_far(*scores)
            write_record(
                folder, method, {"accuracy": 0.9}, dataset=dataset, seed=seed, benchmark="lfw", protocol="pairs",
                version=2, curves={"tar_far": curve},
            )  # fmt: skip
    return folder


def drawn(records: Path) -> Figure:
    with matplotlib.rc_context(style(DEFAULT_FORM)):
        return draw(operating_curves(load_records(records), "lfw", TAR_FAR), TAR_FAR, {"arcface": "ArcFace"})


def test_curves_are_means_over_seeds(tmp_path: Path):
    records = load_records(write_curves(tmp_path))
    found = operating_curves(records, "lfw", TAR_FAR)[RecordedExperiment("arcface", "ms1mv3", "r100")]
    seeds = [record.curves["tar_far"]["tar"] for record in records if record.experiment.method == "arcface"]
    np.testing.assert_allclose(found.hits, np.mean(seeds, axis=0))
    np.testing.assert_allclose(found.sd, np.std(seeds, axis=0, ddof=1))
    assert (found.trials, found.seeds, found.errors[0]) == (50_000, 3, 2e-5)


def test_lines_are_steps_in_the_colours_of_their_heads_and_thin_where_few_errors_stand(tmp_path: Path):
    figure = drawn(write_curves(tmp_path))
    (axes,) = figure.axes
    assert figure.get_figwidth() * 25.4 == pytest.approx(122)
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1 and line.get_drawstyle() == "steps-post"]
    thin = [line for line in lines if line.get_linewidth() == THIN]
    sure = [line for line in lines if line.get_linewidth() != THIN]
    assert len(thin) == len(sure) == 3
    assert [line.get_color() for line in thin] == [line.get_color() for line in sure]
    for few, rest in zip(thin, sure, strict=True):
        assert few.get_xdata()[-1] == rest.get_xdata()[0] >= 10 / 50_000
        assert few.get_xdata()[-2] < 10 / 50_000
        assert rest.get_xdata()[-1] == 1
    colours = [line.get_color() for line in sure]
    assert colours[1] == colours[2] != colours[0]  # AdaFace comes first by name
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts() if text.get_text().strip()] == [
        "adaface", "ArcFace", r"arcface$\_$aroface", "fewer than 10 false accepts"
    ]  # fmt: skip


def test_nothing_is_thin_where_enough_errors_stand_behind_the_first_point(tmp_path: Path):
    rng = np.random.default_rng(0)
    curve = dict(tar_far(rng.normal(1, 0.3, 400), rng.normal(0, 0.3, 50_000)))
    start = curve["far"].index(0.001)
    curve |= {"far": curve["far"][start:], "tar": curve["tar"][start:]}
    write_record(tmp_path, "arcface", {"a": 1}, benchmark="lfw", protocol="pairs", curves={"tar_far": curve})
    figure = drawn(tmp_path)
    assert not any("fewer" in text.get_text() for text in figure.legends[0].get_texts())
    assert all(line.get_linewidth() != THIN for line in figure.axes[0].lines if len(line.get_xdata()) > 1)


def test_training_sets_have_panels_of_their_own(tmp_path: Path):
    figure = drawn(write_curves(tmp_path, datasets=("ms1mv2", "ms1mv3", "webface4m")))
    assert [axes.get_title() for axes in figure.axes] == ["ms1mv2", "ms1mv3", "webface4m"]
    assert len({axes.get_ylim() for axes in figure.axes}) == len({axes.get_xlim() for axes in figure.axes}) == 1
    boxes = [axes.get_position() for axes in figure.axes]
    assert boxes[0].y0 == pytest.approx(boxes[1].y0) and boxes[2].y1 < boxes[0].y0
    assert len([text for text in figure.legends[0].get_texts() if text.get_text().strip()]) == 3 + 1


def test_files_repeat_byte_by_byte(tmp_path: Path):
    records = write_curves(tmp_path / "records")
    made = []
    for name in ("a", "b"):
        out = tmp_path / name / "curves"
        figure_operating(records, "lfw", out, title="LFW", caption_note="Made up.")
        made.append([out.with_suffix(suffix).read_bytes() for suffix in (".pdf", ".png", ".tex")])
    assert made[0] == made[1]
    assert (
        "]{TAR against FAR on LFW (50,000 impostor pairs; mean over 3 seeds, bands $\\pm$ one standard deviation over "
        "the seeds). Each point is the largest TAR of all thresholds with at most this FAR; thin lines and hollow "
        "marks rest on fewer than 10 false accepts. Made up.}\n  \\label{fig:aroface:curves}"
    ) in made[0][2].decode()


def test_the_verb_knows_the_benchmarks_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    records = write_curves(tmp_path / "records", methods=("arcface",))
    words = ["figure", "tar_far", "--benchmark", "lfw", "--records", str(records), "--out", str(tmp_path / "fig")]
    assert main(words) == 0
    assert "TAR against FAR on LFW (" in (tmp_path / "fig.tex").read_text()


def test_a_note_of_several_lines_leaves_the_caption_one(tmp_path: Path):
    figure_operating(write_curves(tmp_path), "lfw", tmp_path / "out", caption_note="One.\n\nTwo.\n")
    assert "One. Two.}\n" in (tmp_path / "out.tex").read_text()


def test_records_without_the_curve_are_one_clear_line(tmp_path: Path):
    write_record(tmp_path, "arcface", {"a": 1}, benchmark="lfw", protocol="pairs")
    with pytest.raises(InputError, match=r"lfw\.json: no curve tar_far; evaluate again: aroface evaluate --features"):
        figure_operating(tmp_path, "lfw", tmp_path / "fig")
    curve = {"far": [0.1, 1.0], "tar": [0.5, 1.0], "impostors": 10}
    write_record(tmp_path, "arcface", {"a": 1}, benchmark="lfw", protocol="pairs", curves={"tar_far": curve})
    shorter = {**curve, "far": [0.2, 1.0]}
    write_record(tmp_path, "arcface", {"a": 1}, benchmark="lfw", protocol="pairs", seed=1, curves={"tar_far": shorter})
    with pytest.raises(InputError, match=r"-s1-.*: another curve tar_far; expected a tar at each far of arcface"):
        figure_operating(tmp_path, "lfw", tmp_path / "fig")
    write_record(tmp_path, "arcface", {"a": 1})
    with pytest.raises(InputError, match="protocol tinyface; expected pairs or ijb"):
        figure_operating(tmp_path, "tinyface", tmp_path / "fig")
    with pytest.raises(InputError, match="no records of ijbc; expected one of lfw"):
        figure_operating(tmp_path, "ijbc", tmp_path / "fig")
