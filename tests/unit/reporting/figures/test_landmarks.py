from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from aroface.cli.main import main
from aroface.faces.geometry import TEMPLATE
from aroface.reporting.figures.curves import curves, sensitivity_records
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.landmarks import MARKERS, Point, draw, figure_landmarks, points, rank_correlation
from aroface.reporting.figures.layout import COLOURS, looks
from aroface.reporting.records import RecordedExperiment, load_records
from made_up_records import OPTIONS, sweep, write_record

METRIC = "tar_strict_at_far_1e-2"
SWEPT = {**OPTIONS, "joint_maximum": {"scale": 0.1, "degrees": 10.0, "shift": 0.06}}
ARCFACE, RANDOM, AROFACE = (
    RecordedExperiment(f"arcface{name}", "demo", "small") for name in ("", "_random", "_aroface")
)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    for seed in range(2):
        for experiment, slope in ((ARCFACE, 0.1 + 0.02 * seed), (RANDOM, 0.07), (AROFACE, 0.05)):
            write_record(
                folder, experiment.method, {"auc_hq": 0.9}, dataset="demo", arch="small", seed=seed, benchmark="sweep",
                protocol="sensitivity", options=SWEPT, series=sweep(0.9, slope),
            )  # fmt: skip
    return folder


def test_a_point_is_an_error_with_its_displacement_and_its_drop(records: Path):
    found = curves(sensitivity_records(load_records(records), "sweep")[ARCFACE], METRIC)
    here = points(found, "r24", SWEPT)
    assert [point.factor for point in here] == ["scale"] * 2 + ["rotation"] * 2 + ["shift"] * 2
    assert [point.drop for point in here] == pytest.approx([0.22, 0.44] * 3)
    # Mean over the seeds, whose slopes are .10 and .12.
    assert [here[0].low, here[0].high] == pytest.approx([0.22 - 0.33, 0.24])
    assert [point.displacement for point in here[4:]] == pytest.approx([5.6, 11.2])
    distances = np.linalg.norm(TEMPLATE - 55.5, axis=1)
    assert [point.displacement for point in here[:2]] == pytest.approx([0.1 * distances.mean(), 0.2 * distances.mean()])


def test_rank_correlation_is_spearmans():
    def made(*drops: float) -> list[Point]:
        return [Point("scale", displacement, drop, drop, drop) for displacement, drop in enumerate(drops, 1)]

    assert rank_correlation(made(0.1, 0.2, 0.9)) == pytest.approx(1)
    assert rank_correlation(made(0.9, 0.2, 0.1)) == pytest.approx(-1)
    # 1 - 6 Σ d² / (n (n² - 1)), ranks 2 1 4 3.
    assert rank_correlation(made(0.2, 0.1, 0.9, 0.3)) == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert rank_correlation(made(0.1, 0.1, 0.1)) is None
    assert rank_correlation(made(0.1)) is None


def test_the_panels_show_every_error(records: Path):
    chosen = sensitivity_records(load_records(records), "sweep")
    swept = {experiment: curves(each, METRIC) for experiment, each in chosen.items()}
    found = {each: {quality: points(swept[each], quality, SWEPT) for quality in ("hq", "r14")} for each in swept}
    with matplotlib.rc_context(style(DEFAULT_FORM)):
        figure = draw(found, looks([*found], {"arcface": "ArcFace"}), ("hq", "r14"), METRIC)
    assert figure.get_figwidth() * 25.4 == pytest.approx(122)
    assert len(figure.axes) == 2
    marks = [line for line in figure.axes[1].lines if line.get_marker() in MARKERS.values()]
    assert len(marks) == 3 * 6
    expected = [100 * point.drop for each in found.values() for point in each["r14"]]
    np.testing.assert_allclose([line.get_ydata()[0] for line in marks], expected)
    assert [line.get_marker() for line in marks[:6]] == ["^", "^", "s", "s", "D", "D"]
    assert {to_hex(line.get_color()).upper() for line in marks} == {COLOURS[0]}
    fills = [(marks[number].get_fillstyle(), str(marks[number].get_markerfacecolor())) for number in (0, 6, 12)]
    assert len({*fills}) == 3  # plain, ARoFace, random
    kinds, methods = (legend.get_texts() for legend in figure.legends)
    assert [text.get_text() for text in kinds] == ["scale", "rotation", "shift"]
    # By displacement: rotation, scale, rotation, scale, shift, shift; drops: small, small, large, large, small, large.
    # So the ranks 1 to 6 stand against 2, 2, 5, 5, 2, 5: 7.5 / √(17.5 · 13.5).
    assert r"ArcFace: $\rho$ = 0.49 (a), 0.49 (b)" in [text.get_text() for text in methods]


def test_legends_lie_below_the_panels_and_beside_each_other(records: Path, tmp_path: Path):
    chosen = sensitivity_records(load_records(records), "sweep")
    swept = {experiment: curves(each, METRIC) for experiment, each in chosen.items()}
    found = {each: {quality: points(swept[each], quality, SWEPT) for quality in ("hq", "r14")} for each in swept}
    with matplotlib.rc_context(style(DEFAULT_FORM)):
        figure = draw(found, looks([*found], {}), ("hq", "r14"), METRIC)
        figure.savefig(tmp_path / "figure.png")
        left, right = (legend.get_window_extent() for legend in figure.legends)
        labels = min(axes.xaxis.label.get_window_extent().y0 for axes in figure.axes)
    assert left.x1 < right.x0 and right.x1 <= figure.bbox.x1
    assert min(left.y0, right.y0) >= figure.bbox.y0 and max(left.y1, right.y1) < labels


def test_files_repeat_byte_by_byte(records: Path, tmp_path: Path):
    made = []
    for name in ("a", "b"):
        out = tmp_path / name / "landmarks"
        figure_landmarks(records, "sweep", out, caption_note="Made up.")
        made.append([out.with_suffix(suffix).read_bytes() for suffix in (".pdf", ".png", ".tex")])
    assert made[0] == made[1]
    assert (
        "]{Drop of TAR at FAR = 1~\\% from perfect alignment against the mean distance by which an alignment error "
        "moves the five landmarks, in pixels of a crop of 112~$\\times$~112, for probes at (a) full quality and (b) "
        "14~px, mean over 2 seeds. Bars are 95~\\% confidence intervals over draws of people, averaged over seeds; "
        "marks of one error stand side by side; $\\rho$ is Spearman's rank correlation of displacement and drop over "
        "the 6 errors. Made up.}\n  \\label{fig:aroface:landmarks}"
    ) in made[0][2].decode()


def test_the_verb_draws_it(records: Path, tmp_path: Path):
    words = ["figure", "landmarks", "--benchmark", "sweep", "--records", str(records), "--out", str(tmp_path / "fig")]
    assert main(words) == 0
    assert {path.suffix for path in tmp_path.glob("fig.*")} == {".pdf", ".png", ".tex"}
    assert main([*words, "--metric", "auc"]) == 2
