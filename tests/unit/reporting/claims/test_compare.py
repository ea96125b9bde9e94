from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.claims.compare import (
    CHECK,
    TOLERANCES,
    ValueComparison,
    compare,
    judge,
    released_tolerance,
    reported_specs,
    widest_spreads,
)
from aroface.reporting.claims.compare_text import as_json, markdown, terminal
from aroface.reporting.claims.gap_causes import causes
from aroface.reporting.records import load_records
from aroface.reporting.statistics.intervals import estimate, one_further_run
from aroface.reporting.statistics.samples import Sample
from made_up_records import OPTIONS, write_record
from repository import SPECS


def tinyface(records: Path, **options: object) -> dict[str, ValueComparison]:
    report = compare(reported_specs(SPECS, ["tinyface"]), records, **options)
    return {f"{each.row}/{each.column}": each for each in report.comparisons}


def write(records: Path, rank1: float, rank5: float = 0.7245, **options: object) -> Path:
    return write_record(records, "arcface_aroface", {"rank1": rank1, "rank5": rank5}, **options)


def test_tolerances_are_those_of_the_literature():
    assert {"released": Decimal("0.1"), "trained": Decimal("1.5")} == TOLERANCES
    assert Decimal(5) == CHECK


@pytest.mark.parametrize(
    ("gap", "half", "source", "verdict"),
    [
        ("0.10", None, "released", "holds"),
        ("-0.10", None, "released", "holds"),
        ("-0.11", None, "released", "differs"),
        ("5.01", None, "released", "check the preprocessing"),
        ("1.50", "0.5", "trained", "holds"),
        ("1.51", "1.50", "trained", "differs"),
        ("1.51", "1.51", "trained", "holds"),  # a further run lies there in 95 % of cases
        ("-5.00", "2", "trained", "differs"),
        ("-5.01", "2", "trained", "check the preprocessing"),
        ("3.00", "5.01", "trained", "not enough seeds"),  # the interval would hold anything
        ("-8.00", "9", "trained", "not enough seeds"),
        ("-1.50", None, "trained", "holds"),
        ("-1.51", None, "trained", "not enough seeds"),
        ("-5.01", None, "trained", "check the preprocessing"),
    ],
)
def test_verdicts_at_their_bounds(gap: str, half: str | None, source: str, verdict: str):
    assert judge(Decimal(gap), half and Decimal(half), source) == verdict


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("sd", [0.3, 0.8, 1.5])
def test_a_run_of_the_same_training_is_refuted_in_5_of_100_cases_at_most(seeds: int, sd: float):
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        *ours, reported = map(float, rng.normal(0.6, sd / 100, seeds + 1))
        predicted = one_further_run(Sample(dict(enumerate(ours))))
        gap = 100 * (estimate(dict(enumerate(ours))).mean - Decimal(reported))
        wrong += judge(gap, predicted and 100 * predicted.half, "trained") in ("differs", "check the preprocessing")
    assert wrong / 400 <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_the_mean_over_seeds_is_compared(tmp_path: Path):
    for seed, rank1 in enumerate((0.6580, 0.6570, 0.6587)):  # 65.79 on average, 1.53 below
        write(tmp_path, rank1, seed=seed)
    found = tinyface(tmp_path)["ArcFace+ARoFace@MS1MV2/rank1"]
    assert (found.reported, found.reproduced, found.seeds, found.difference) == ("67.32", "65.79", 3, "-1.53")
    assert (found.source, found.tolerance, found.verdict) == ("trained", Decimal("1.5"), "differs")
    assert found.sd == "0.09"
    assert found.further == ("65.37", "66.21")  # 65.79 ± 4.3027 · 0.0854 · sqrt(4/3)


def test_released_weights_are_held_to_what_evaluations_of_the_same_weights_differ_by(tmp_path: Path):
    write(tmp_path, 0.6748, 0.7262, released=True)
    found = tinyface(tmp_path)
    assert found["ArcFace+ARoFace@MS1MV2/rank1"].verdict == "holds"  # +0.16
    assert found["ArcFace+ARoFace@MS1MV2/rank5"].verdict == "differs"  # +0.17
    assert found["ArcFace+ARoFace@MS1MV2/rank5"].source == "released"
    assert found["ArcFace+ARoFace@MS1MV2/rank5"].tolerance == Decimal("0.16")


@pytest.mark.parametrize(
    ("table", "benchmark", "points", "tolerance"),
    [("tinyface", "tinyface", "0.16", "0.16"), ("ijbb", "ijbb", "0.08", "0.1"), ("ijbc", "ijbc", "0.08", "0.1")],
)
def test_tolerances_of_benchmarks_are_measured(table: str, benchmark: str, points: str, tolerance: str):
    (spec,) = reported_specs(SPECS, [table])
    spread = widest_spreads(spec)[benchmark]
    assert spread.points == Decimal(points)
    assert released_tolerance(spread) == Decimal(tolerance)


def test_a_measured_tolerance_names_the_evaluations(tmp_path: Path):
    said = "AdaFace's on WebFace12M have 74.81 by KP-RPE and 74.97 by mk-minchul/AdaFace in Rank5"
    report = compare(reported_specs(SPECS), tmp_path)
    assert f"tinyface: released weights may differ by 0.16 points on tinyface, for {said}." in markdown(report)
    assert as_json(report)["measured_tolerances"] == {"tinyface": {"tinyface": {"points": 0.16, "of": said}}}
    assert released_tolerance(None) == TOLERANCES["released"]


def test_values_of_others_are_compared_by_their_publishers_name(tmp_path: Path):
    names = {"dataset": "ms1mv3", "arch": "r100", "benchmark": "ijbc", "protocol": "ijb"}
    metrics = {f"tar_at_far_1e-{power}": 0.96 for power in (3, 4, 5, 6)} | {"rank1": 0.9, "rank5": 0.95}
    write_record(tmp_path, "arcface", metrics, **names)
    report = compare(reported_specs(SPECS, ["ijbc"]), tmp_path)
    found = {f"{each.row}/{each.column}": each for each in report.comparisons}
    cell = found["ArcFace@MS1MV3/tar_1e-4"]
    assert (cell.reported, cell.difference, cell.publisher.key) == ("96.85", "-0.85", "insightface-arcface-torch")
    page = markdown(report)
    assert "| Row | Column | Published | Reproduced |" in page
    assert "| TAR@FAR 10⁻⁴ | deepinsight/insightface 96.85 | 96.00 |" in page
    assert "| AdaFace@MS1MV3 | all 1 | mk-minchul/AdaFace | -- |" in page
    entry = next(each for each in as_json(report)["cells"] if each["cell"] == "ijbc/ArcFace@MS1MV3/tar_1e-4")
    assert entry["published_by"].startswith("deepinsight/insightface, recognition/arcface_torch/README.md, commit")


def test_printed_digits_are_compared(tmp_path: Path):
    write(tmp_path, 0.67424, released=True)  # 67.42 as printed, .104 above in truth
    assert tinyface(tmp_path)["ArcFace+ARoFace@MS1MV2/rank1"].verdict == "holds"


def test_what_has_no_record_is_not_reproduced_yet_and_others_models_are_left_out(tmp_path: Path):
    report = compare(reported_specs(SPECS), tmp_path)
    assert {each.verdict for each in report.comparisons} == {"not reproduced yet"}
    theirs = [each for each in report.comparisons if each.publisher is None]
    assert len(theirs) == 7 * 2 + 6 * 9 - 3  # the authors print three dashes in ArcFace's row
    assert {each.table for each in theirs} == {"ijbs", "tinyface"}
    assert {each.table for each in report.comparisons if each.publisher} == {"ijbb", "ijbc"}
    assert report.others["ijbs"] == ("PFE@MS1MV2", "URL@MS1MV2")
    assert report.holds


def test_a_large_gap_lists_its_causes_with_what_the_record_says(tmp_path: Path):
    write(tmp_path, 0.46)
    found = tinyface(tmp_path)
    cell = found["ArcFace+ARoFace@MS1MV2/rank1"]
    assert cell.verdict == "check the preprocessing"
    assert len(cell.causes) == 3
    assert "from 46 to 72" in cell.causes[0]
    assert cell.causes[0].endswith("here: alignment five_point")
    assert cell.causes[1].endswith("here: color RGB")
    assert found["ArcFace+ARoFace@MS1MV2/rank5"].causes == ()


def test_causes_are_those_of_the_protocol(tmp_path: Path):
    options = {**OPTIONS, "norm_weighting": True, "detector_weighting": False}
    write(tmp_path, 0.5, benchmark="ijbb", protocol="ijb", options=options)
    (record,) = load_records(tmp_path)
    found = "\n".join(causes(record))
    assert "here: norm_weighting true, detector_weighting false" in found
    assert "TinyFace" not in found
    assert "46 to 72" not in found


def test_only_the_runs_that_count_are_compared(tmp_path: Path):
    old, new = write(tmp_path, 0.5, lr=0.1), write(tmp_path, 0.6732, lr=0.2)
    assert tinyface(tmp_path, runs=[new.parent.name])["ArcFace+ARoFace@MS1MV2/rank1"].verdict == "holds"
    with pytest.raises(InputError, match="2 runs of seed 0") as error:
        tinyface(tmp_path)
    assert old.parent.name in str(error.value)


def test_a_row_that_nothing_reproduces_yet_does_not_deny_the_papers_values(tmp_path: Path):
    page = markdown(compare(reported_specs(SPECS, ["tinyface"]), tmp_path))
    assert "| ArcFace@MS1MV3 | all 2 |  | -- |  |  |  |  | not reproduced yet |" in page


def test_every_form_says_the_same(tmp_path: Path):
    write(tmp_path, 0.46)
    report = compare(reported_specs(SPECS, ["tinyface"]), tmp_path)
    text, page = terminal(report), markdown(report)
    row = "| ArcFace+ARoFace@MS1MV2 | Rank1 | 67.32 | 46.00 | 1 |  | −21.32 | ±1.5 | check the preprocessing |"
    assert row in page
    assert row.replace("|", "").split() in [line.split() for line in text.splitlines()]
    flat = " ".join(text.split())
    for part in ("1 holds, 1 beyond 5 points, 12 not reproduced yet", "alignment of the faces: it alone moved"):
        assert part in page
        assert part in flat
    content = as_json(report)
    assert content["counts"] == {"holds": 1, "check the preprocessing": 1, "not reproduced yet": 12}
    cell = next(each for each in content["cells"] if each["cell"] == "tinyface/ArcFace+ARoFace@MS1MV2/rank1")
    assert (cell["reported"], cell["reproduced"], cell["difference"], cell["tolerance"]) == (67.32, 46.0, -21.32, 1.5)
    assert json.loads(json.dumps(content)) == content


def run(records: Path, *words: str) -> int:
    return main(["compare", "--specs", str(SPECS), "--records", str(records), *words])


def test_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good, bad = tmp_path / "good", tmp_path / "bad"
    write(good, 0.6732)
    write(bad, 0.6231)
    assert run(tmp_path / "nothing") == 0
    assert run(good) == 0
    assert run(bad) == 1
    assert run(bad, "--table", "ijbs") == 0
    capsys.readouterr()
    assert run(bad, "--json") == 1
    assert json.loads(capsys.readouterr().out)["holds"] is False
    assert run(good, "--table", "tinyfaces") == 2
    assert (
        "no table 'tinyfaces' with reported values; expected one of ijbb, ijbc, ijbs, lfw, tinyface"
        in capsys.readouterr().err
    )
    assert main(["compare", "--specs", str(tmp_path / "none")]) == 2
    next(bad.glob("*/*.json")).write_text("{")
    assert run(bad) == 2


def test_the_paper_room_compares_without_torch():
    code = "import sys, aroface.cli.reporting, aroface.reporting.claims.compare_text\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reports_are_written_in_the_form_of_their_names_whatever_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write(tmp_path / "records", 0.5)
    words = ["compare", "--specs", str(SPECS), "--table", "tinyface", "--records", str(tmp_path / "records")]
    assert main(words) == 1
    assert main([*words, "--exit-zero"]) == 0
    capsys.readouterr()
    files = [tmp_path / f"compare.{suffix}" for suffix in ("md", "json", "txt")]
    assert main([*words, "--exit-zero", "--out", *map(str, files)]) == 0
    assert capsys.readouterr().out.split() == [str(path) for path in files]
    report = compare(reported_specs(SPECS, ["tinyface"]), tmp_path / "records")
    assert files[0].read_text() == markdown(report)
    assert json.loads(files[1].read_text()) == as_json(report)
    assert files[2].read_text() == terminal(report)
    assert main([*words, "--out", str(files[0])]) == 1, "the page is written and the status stays"
    assert main([*words, "--out", str(tmp_path / "compare.tex")]) == 2
    assert "no such form of this report; expected one of .txt, .md, .json" in capsys.readouterr().err
