from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.files import read_json
from aroface.reporting.figures.form import DEFAULT_FORM, style
from aroface.reporting.figures.layout import looks
from aroface.reporting.figures.paper_bars import FARS, draw, figure_fae_paper, read_authors, read_bars
from aroface.reporting.records import load_records
from made_up_records import OPTIONS, write_record

DROPS = {"fae_ijbb": 0.4, "fae_ijbc": 0.5, "fae_lfw": 0.01}


def point(metric, level, drop, factor="adversary"):
    value = 0.9 - drop
    return {
        **{"quality": "hq", "factor": factor, "level": level, "metric": metric, "value": value},
        **{"low": value - 0.02, "high": value + 0.02, "drop": drop, "drop_low": drop - 0.02, "drop_high": drop + 0.03},
        **{
            "relative_drop": drop / 0.9,
            "relative_drop_low": drop / 0.9 - 0.02,
            "relative_drop_high": drop / 0.9 + 0.03,
        },
        "significant": drop > 0.02,
    }


@pytest.fixture
def records(tmp_path: Path) -> Path:
    for number, (method, dataset) in enumerate((("arcface", "ms1mv3"), ("adaface", "ms1mv3"), ("arcface", "ms1mv2"))):
        for seed in range(2):
            for benchmark, drop in DROPS.items():
                metrics = ("accuracy",) if benchmark == "fae_lfw" else FARS
                series = [
                    point(metric, level, level * (drop + 0.1 * number + 0.02 * seed))
                    for metric in metrics
                    for level in (0.0, 1.0)
                ]
                described = {"dataset": dataset, "benchmark": benchmark, "protocol": "sensitivity", "series": series}
                write_record(tmp_path / "records", method, {"x": 0.9}, seed=seed, **described)
    return tmp_path / "records"


def bars_of(records, **options):
    return read_bars(load_records(records), [*DROPS], None, read_authors(), **options)


def test_a_bar_is_the_mean_change_beside_the_authors(records):
    found = {(bar.benchmark, bar.metric, bar.method.method, bar.method.dataset): bar for bar in bars_of(records).bars}
    assert len(found) == 3 * (4 + 4 + 1)
    bar = found["fae_ijbc", "tar_at_far_1e-4", "adaface", "ms1mv3"]
    assert (bar.change, bar.low, bar.high) == pytest.approx((-61, -64, -59))
    assert (bar.authors, bar.reading_error) == (-77.6, 0.1)
    assert found["fae_lfw", "accuracy", "arcface", "ms1mv3"].authors == -0.36
    # The authors' models are trained on another set.
    assert found["fae_ijbc", "tar_at_far_1e-4", "arcface", "ms1mv2"].authors is None
    percent = {
        (bar.benchmark, bar.metric, bar.method.method, bar.method.dataset): bar
        for bar in bars_of(records, unit="percent").bars
    }
    assert percent["fae_ijbc", "tar_at_far_1e-4", "adaface", "ms1mv3"].change == pytest.approx(-61 / 0.9)


def test_the_figure_has_a_panel_for_each_set_of_templates_and_one_for_pairs(records):
    found = bars_of(records)
    styles = looks([*dict.fromkeys(bar.method for bar in found.bars)], {})
    faces = np.zeros((20, 160, 3), np.uint8)
    with matplotlib.rc_context(style(DEFAULT_FORM)):
        figure = draw(found, styles, {"fae_ijbb": "IJB-B"}, "points", (faces, faces))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["(a) aligned", "(b) slightly misaligned", "(c) change of TAR, IJB-B"]
    assert titles[-1] == "(e) change of accuracy"
    # Three experiments of our own and two of the authors in each of four groups, and a line of its interval for each.
    assert len(figure.axes[2].patches) == 4 * 5


def test_the_command_draws_it(records, tmp_path, capsys):
    words = [
        "figure",
        "fae_paper",
        "--benchmark",
        *DROPS,
        "fae_cplfw",
        "--records",
        str(records),
        "--out",
        str(tmp_path / "bars"),
    ]
    assert main([*words, "--unit", "percent", "--caption-note", "Made up."]) == 0
    text = (tmp_path / "bars.tex").read_text()
    assert "read off" in text
    assert "No results: CPLFW." in text
    assert "per cent" in text
    assert "second image of a comparison is misaligned" in text
    assert (tmp_path / "bars.pdf").stat().st_size > 5000
    before = (tmp_path / "bars.png").read_bytes()
    figure_fae_paper(records, [*DROPS], tmp_path / "bars", unit="percent", caption_note="Made up.")
    assert (tmp_path / "bars.png").read_bytes() == before
    assert (
        main(["figure", "fae", "--benchmark", "a", "b", "--records", str(records), "--out", str(tmp_path / "x")]) == 2
    )
    assert "--benchmark: 2 benchmarks; expected one for fae" in capsys.readouterr().err


def test_records_that_cannot_be_shown_together_are_refused(records, tmp_path):
    with pytest.raises(InputError, match="no records of nothing"):
        read_bars(load_records(records), ["nothing"], None, read_authors())
    path = next(records.glob("arcface-ms1mv2*-s0-*/fae_lfw.json"))
    record = read_json(path)
    other = {**record, "series": [{**each, "factor": "points"} for each in record["series"]]}
    path.write_text(json.dumps(other))
    with pytest.raises(InputError, match="no error of alignment that all benchmarks have"):
        bars_of(records)
    both = {**record["protocol"], "options": {**OPTIONS, "perturbed": "both"}}
    for each in records.glob("*/fae_lfw.json"):
        each.write_text(json.dumps({**read_json(each), "series": record["series"], "protocol": both}))
    with pytest.raises(InputError, match="one side and both are misaligned"):
        bars_of(records)


def test_the_authors_bars_are_whole():
    authors = read_authors()
    for panel in authors["panels"]:
        assert panel["changes"].keys() == {"arcface", "adaface"}
        assert {len(values) for values in panel["changes"].values()} == {len(panel["metrics"])}
