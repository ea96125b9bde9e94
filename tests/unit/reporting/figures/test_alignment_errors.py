from __future__ import annotations

import struct
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imsave

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.files import write_json
from aroface.reporting.figures.alignment_errors import draw, figure_fae
from aroface.reporting.figures.curves import curves, factors, qualities, sensitivity_records
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.layout import looks
from aroface.reporting.records import RecordedExperiment, load_records
from made_up_records import OPTIONS, sweep, write_record

METRIC = "tar_strict_at_far_1e-2"
ARCFACE, AROFACE = (RecordedExperiment(name, "demo", "small") for name in ("arcface", "arcface_aroface"))


def write_sweep(folder: Path, method: str, seed: int, clean: float, slope: float, **change: object) -> Path:
    options = {"series": sweep(clean, slope), "dataset": "demo", "arch": "small", **change}
    return write_record(
        folder, method, {"auc_hq": 0.9}, seed=seed, benchmark="sweep", protocol="sensitivity", **options
    )


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    for seed in range(2):
        write_sweep(folder, "arcface", seed, 0.90 + 0.02 * seed, 0.10)
        write_sweep(folder, "arcface_aroface", seed, 0.90, 0.05)
    return folder


def test_curves_are_means_over_seeds(records: Path):
    found = curves(sensitivity_records(load_records(records), "sweep")[ARCFACE], METRIC)
    curve = found["r24", "rotation"]
    assert curve.levels == (0.0, 5.0, 10.0)
    assert curve.values == pytest.approx((0.71, 0.51, 0.31))
    assert curve.low == pytest.approx((0.69, 0.49, 0.29))
    assert curve.high == pytest.approx((0.73, 0.53, 0.33))
    assert curve.significant == (False, False, True)


def test_qualities_are_full_and_the_lowest_or_the_one_asked_for(records: Path):
    found = [curves(sensitivity_records(load_records(records), "sweep")[ARCFACE], METRIC)]
    assert qualities(found) == ("hq", "r14")
    assert qualities(found, "r24") == ("hq", "r24")
    assert factors(found) == ("scale", "rotation", "shift")
    with pytest.raises(InputError, match="no quality r16; expected one of r14, r24"):
        qualities(found, "r16")


def test_the_panels_show_the_curves(records: Path):
    chosen = sensitivity_records(load_records(records), "sweep")
    found = {experiment: curves(each, METRIC) for experiment, each in chosen.items()}
    with matplotlib.rc_context(style(DEFAULT_FORM)):
        figure = draw(found, looks([*found], {}), ("hq", "r14"), ("scale", "rotation", "shift"), METRIC)
    assert figure.get_figwidth() * 25.4 == pytest.approx(122)
    assert len(figure.axes) == 6
    lines = [line for line in figure.axes[3].lines if len(line.get_xdata()) > 1]  # low quality, scale
    assert len(lines) == 2
    np.testing.assert_allclose(lines[0].get_xdata(), (0, 10, 20))
    np.testing.assert_allclose(lines[0].get_ydata(), (51, 21, 0))
    np.testing.assert_allclose(lines[1].get_ydata(), (50, 35, 20))


def test_heads_have_colours_treatments_have_lines_and_methods_have_markers():
    experiments = [
        RecordedExperiment(name, "demo", "small") for name in ("arcface", "arcface_aroface", "adaface_aroface")
    ]
    found = looks(experiments, {"arcface": "ArcFace"})
    plain, ours, other = found.values()
    assert plain.label == "ArcFace"
    assert plain.colour == ours.colour != other.colour
    assert plain.dashes != ours.dashes == other.dashes
    assert len({plain.marker, ours.marker, other.marker}) == 3


def test_as_many_lines_as_there_are_released_weights_look_different():
    names = [f"head{number % 12}" + ("_aroface" if number % 3 == 0 else "") for number in range(38)]
    experiments = [RecordedExperiment(f"{name} [{number}]", "demo", "r100") for number, name in enumerate(names)]
    found = looks(experiments, {})
    assert len({(look.colour, look.marker) for look in found.values()}) == 38


def test_the_verb_shows_experiments_on_some_training_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for method, dataset in (("arcface", "one"), ("adaface", "two"), ("cosface", "three")):
        write_sweep(tmp_path / "records", method, 0, 0.9, 0.1, dataset=dataset)
    listed = [{"method": m, "dataset": d, "arch": "small"} for m, d in (("arcface", "one"), ("adaface", "two"))]
    runs = [path.parent.name for path in (tmp_path / "records").glob("*/*.json")]
    write_json(tmp_path / "runs.json", {"runs": runs, "experiments": listed, "labels": {"arcface": "ArcFace"}})
    words = ["figure", "fae", "--benchmark", "sweep", "--records", str(tmp_path / "records"), "--trained-on", "one"]
    words += ["--out", str(tmp_path / "fig")]
    assert main([*words, "--runs-file", str(tmp_path / "runs.json")]) == 0
    assert {path.suffix for path in tmp_path.glob("fig.*")} == {".pdf", ".png", ".tex"}
    capsys.readouterr()
    assert main(words) == 2
    assert "--runs-file: not given; --trained-on chooses among its experiments" in capsys.readouterr().err


def test_data_set_is_named_where_it_tells_methods_apart():
    experiments = [RecordedExperiment("arcface", dataset, "small") for dataset in ("a", "b")]
    assert [look.label for look in looks(experiments, {"b": "B"}).values()] == ["arcface (a)", "arcface (B)"]


def test_files_repeat_byte_by_byte(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    faces = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    imsave(tmp_path / "low.png", faces)
    made = []
    for name in ("a", "b"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1" if name == "a" else "1000000000")
        out = tmp_path / name / "figure_fae"
        figure_fae(records, "sweep", out, examples=(faces, tmp_path / "low.png"), caption_note="Made up.")
        made.append([out.with_suffix(suffix).read_bytes() for suffix in (".pdf", ".png", ".tex")])
    assert made[0] == made[1]
    width, _ = struct.unpack(">II", made[0][1][16:24])
    assert width == int(122 / 25.4 * 300)
    caption = made[0][2].decode()
    assert r"\includegraphics[width=\linewidth]{figure_fae.pdf}" in caption
    assert "mean over 2 seeds" in caption
    assert "(c--e) TAR at FAR = 1~\\%" in caption
    assert "Made up." in caption


def test_the_pdf_embeds_no_type_3_fonts(records: Path, tmp_path: Path):
    figure_fae(records, "sweep", tmp_path / "figure")
    content = (tmp_path / "figure.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/CIDFontType2" in content


def test_other_benchmarks_and_metrics_are_one_clear_line(records: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no records of sweeep; expected one of sweep"):
        figure_fae(records, "sweeep", tmp_path / "figure")
    with pytest.raises(InputError, match="no series of auc; expected one of tar_strict_at_far_1e-2"):
        figure_fae(records, "sweep", tmp_path / "figure", metric="auc")
    write_record(records, "arcface", {"rank1": 0.5})
    with pytest.raises(InputError, match="protocol tinyface; expected sensitivity"):
        figure_fae(records, "tinyface", tmp_path / "figure")
    with pytest.raises(InputError, match="expected records of protocol sensitivity"):
        figure_fae(tmp_path / "nowhere", "sweep", tmp_path / "figure")
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(InputError, match=r"no\.png: not a picture"):
        figure_fae(records, "sweep", tmp_path / "figure", examples=(tmp_path / "no.png", tmp_path / "no.png"))


def test_sweeps_of_other_levels_or_options_are_not_averaged(records: Path, tmp_path: Path):
    write_sweep(records, "arcface", 2, 0.9, 0.1, series=sweep(0.9, 0.1, ("hq", "r24")))
    with pytest.raises(InputError, match="another sweep"):
        figure_fae(records, "sweep", tmp_path / "figure")
    write_sweep(records, "arcface", 2, 0.9, 0.1, options={**OPTIONS, "alignment": "detector"})
    with pytest.raises(InputError, match="alignment is 'detector'"):
        figure_fae(records, "sweep", tmp_path / "figure")
