from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.tables.emphasis import mark_best
from aroface.reporting.tables.plain import terminal
from aroface.reporting.tables.render import FORMATS, write_table
from aroface.reporting.tables.render import render_table as render_linked
from aroface.reporting.tables.tex_text import escape
from made_up_records import OPTIONS, write_record
from rendered import unlinked
from repository import SPECS

TINYFACE = SPECS / "tinyface.yaml"
LABELS = {"arcface": "ArcFace", "arcface_aroface": "ArcFace+ARoFace", "ms1mv2": "MS1MV2"}
AROFACE_MS1MV2 = 3  # its row in the TinyFace table


def cells(spec: Path, records: Path, **options: object) -> list[dict[str, str]]:
    """The table's rows through its CSV form."""
    return list(csv.DictReader(io.StringIO(render_table(spec, records, format="csv", **options))))


def render_table(*place: Path, **options: object) -> str:
    """A table as it is printed: what LaTeX knows of its cells beyond that is tested with the links."""
    return unlinked(render_linked(*place, **options))


def tex_row(text: str, start: str) -> list[str]:
    """Cells of the first LaTeX row that begins with ``start``."""
    line = next(line.strip() for line in text.splitlines() if line.strip().startswith(start))
    return [cell.strip() for cell in line.removesuffix(r"\\").removesuffix(r"\\[-1.5pt]").split("&")]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """ArcFace+ARoFace on MS1MV2 with three seeds, on MS1MV3 with one."""
    folder = tmp_path / "records"
    for seed, rank1 in enumerate((0.6700, 0.6732, 0.6781)):
        write_record(folder, "arcface_aroface", {"rank1": rank1, "rank5": 0.72}, seed=seed)
    write_record(folder, "arcface_aroface", {"rank1": 0.6754, "rank5": 0.71}, dataset="ms1mv3")
    return folder


def small_spec(tmp_path: Path, **change: object) -> Path:
    content = {
        "name": "small",
        "caption": "Small.",
        "label": "tab:small",
        "row_headers": [{"key": "method", "label": "Method"}],
        "columns": [{"id": "rank1", "label": "Rank1", "benchmark": "tinyface", "metric": "rank1", "decimals": 1}],
        "rows": "experiments",
        **change,
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_reproduced_values_are_mean_and_sample_deviation_over_seeds(records: Path):
    row = cells(TINYFACE, records, mode="reproduced")[AROFACE_MS1MV2]
    # mean and deviation of 67.00, 67.32, 67.81 are 67.37666 and 0.40796
    assert (row["rank1_mean"], row["rank1_sd"], row["rank1_seeds"]) == ("67.38", "0.41", "3")
    text = render_table(TINYFACE, records, mode="reproduced")
    assert r"67.38\arosd{0.41}" in text
    assert r"mean $\pm$ standard deviation over 1 to 3 seeds" in text


def test_a_missing_result_is_two_dashes_and_no_error(tmp_path: Path):
    text = render_table(TINYFACE, tmp_path, mode="reproduced")
    assert tex_row(text, "AdaFace ")[2:] == ["--", "--"]
    assert "no result" in text


def test_both_and_delta(records: Path):
    row = cells(TINYFACE, records, mode="delta")[AROFACE_MS1MV2]
    assert (row["rank1_reported"], row["rank1_mean"], row["rank1_delta"]) == ("67.32", "67.38", "+0.06")
    assert (row["rank5_reported"], row["rank5_mean"], row["rank5_delta"]) == ("72.45", "72.00", "-0.45")
    both = cells(TINYFACE, records, mode="both")[AROFACE_MS1MV2]
    assert "rank1_delta" not in both
    text = render_table(TINYFACE, records, mode="delta")
    assert r"\cmidrule{3-5} \cmidrule{6-8}" in text
    assert tex_row(text, "URL")[2:] == ["63.89", "--", "--", "68.67", "--", "--"]


def test_the_star_and_its_footnote_belong_to_reported_values(records: Path):
    for mode, expected in (("reported", 2), ("both", 2), ("delta", 2), ("reproduced", 0)):
        text = render_table(TINYFACE, records, mode=mode)
        assert len(re.findall(r"\\arostar\b", text)) == expected
        assert ("Re-runs with official code" in text) == bool(expected)
        assert ("the authors print WebFace4M" in text) == bool(expected)


def test_reported_digits_stay_as_printed_unless_the_column_says_otherwise(tmp_path: Path):
    column = {"id": "rank1", "label": "Rank1", "benchmark": "tinyface", "metric": "rank1", "decimals": 2}
    rows = [{"method": "A", "reported": {"rank1": "67.6"}}, {"method": "B", "reported": {"rank1": None}}]
    spec = small_spec(tmp_path, columns=[column], rows=rows, source={"title": "a page"})
    assert [row["rank1_reported"] for row in cells(spec, tmp_path, mode="reported")] == ["67.6", ""]
    padded = [{**column, "reported_digits": "column"}]
    spec = small_spec(tmp_path, columns=padded, rows=rows, source={"title": "a page"})
    assert [row["rank1_reported"] for row in cells(spec, tmp_path, mode="reported")] == ["67.60", ""]


def test_a_row_for_each_experiment_in_the_order_given(records: Path, tmp_path: Path):
    spec = small_spec(
        tmp_path,
        row_headers=[{"key": "method", "label": "Method"}, {"key": "training_set", "label": "Training Set"}],
        block_by="training_set",
    )
    experiments = [
        RecordedExperiment("arcface", "ms1mv2", "r100"),
        RecordedExperiment("arcface_aroface", "ms1mv3", "r100"),
        RecordedExperiment("arcface_aroface", "ms1mv2", "r100"),
    ]
    rows = cells(spec, records, mode="reproduced", experiments=experiments, labels=LABELS)
    assert [(row["Method"], row["Training Set"], row["rank1_mean"]) for row in rows] == [
        ("ArcFace", "MS1MV2", ""),
        ("ArcFace+ARoFace", "MS1MV2", "67.4"),
        ("ArcFace+ARoFace", "ms1mv3", "67.5"),  # a block's rows stand together
    ]
    found = cells(spec, records, mode="reproduced", labels=LABELS)
    assert [row["Training Set"] for row in found] == ["MS1MV2", "ms1mv3"]


def test_two_experiments_of_one_name_are_refused(records: Path, tmp_path: Path):
    with pytest.raises(InputError, match="both named ArcFace"):
        render_table(small_spec(tmp_path), records, mode="reproduced", labels=LABELS)


def test_an_experiment_without_data_set_is_the_only_one_there_is(records: Path, tmp_path: Path):
    spec = small_spec(tmp_path, rows=[{"method": "A", "experiment": {"method": "arcface_aroface"}}])
    with pytest.raises(InputError, match="fits 2 experiments"):
        render_table(spec, records, mode="reproduced")
    ms1mv3 = [path.parent.name for path in records.glob("*ms1mv3*/*.json")]
    assert cells(spec, records, mode="reproduced", runs=ms1mv3)[0]["rank1_mean"] == "67.5"


def test_an_average_needs_all_its_parts(tmp_path: Path):
    folder = tmp_path / "records"
    for seed, (lfw, agedb) in enumerate(((0.99, 0.95), (0.98, 0.97))):
        write_record(folder, "arcface", {"accuracy": lfw}, seed=seed, benchmark="lfw", protocol="pairs")
        write_record(folder, "arcface", {"accuracy": agedb}, seed=seed, benchmark="agedb_30", protocol="pairs")
    write_record(folder, "adaface", {"accuracy": 0.99}, benchmark="lfw", protocol="pairs")
    parts = [
        {"id": name, "label": name, "benchmark": name, "metric": "accuracy", "decimals": 2}
        for name in ("lfw", "agedb_30")
    ]
    average = {"id": "average", "label": "Avg.", "average_of": ["lfw", "agedb_30"], "decimals": 2}
    adaface, arcface = cells(small_spec(tmp_path, columns=[*parts, average]), folder, mode="reproduced")
    # per seed 97.00 and 97.50: the deviation is that of the averages
    assert (arcface["average_mean"], arcface["average_sd"]) == ("97.25", "0.35")
    assert (adaface["lfw_mean"], adaface["average_mean"]) == ("99.00", "")


CLAIM_ROWS = [
    {"id": "plain", "method": "plain", "experiment": {"method": "arcface"}},
    {"id": "ours", "method": "ours", "experiment": {"method": "arcface_aroface"}},
    {"method": "gain", "difference": {"of": "ours", "minus": "plain"}},
]


def test_a_difference_row_has_a_paired_interval(tmp_path: Path):
    folder = tmp_path / "records"
    for seed, (plain, ours) in enumerate(((0.50, 0.54), (0.60, 0.62), (0.70, 0.73))):
        write_record(folder, "arcface", {"rank1": plain}, seed=seed)
        write_record(folder, "arcface_aroface", {"rank1": ours}, seed=seed)
    spec = small_spec(tmp_path, rows=CLAIM_ROWS, emphasis={"rule": "best_second"})
    gain = cells(spec, folder, mode="reproduced")[2]
    # differences 4, 2, 3: mean 3, deviation 1, half width 4.303 / sqrt(3) = 2.484
    assert (gain["rank1_mean"], gain["rank1_low"], gain["rank1_high"]) == ("+3.0", "0.5", "5.5")
    text = render_table(spec, folder, mode="reproduced")
    assert r"$+$3.0\arointerval{0.5}{5.5}" in text
    assert r"\textbf{63.0}" in text  # the difference itself takes no part in the emphasis
    assert "underline" not in text
    assert "95~\\% confidence interval" in text


def test_a_difference_of_one_seed_has_no_interval(tmp_path: Path):
    folder = tmp_path / "records"
    write_record(folder, "arcface", {"rank1": 0.50})
    write_record(folder, "arcface_aroface", {"rank1": 0.49})
    text = render_table(small_spec(tmp_path, rows=CLAIM_ROWS), folder, mode="reproduced")
    assert tex_row(text, "gain") == ["gain", "$-$1.0"]
    assert "confidence" not in text


def test_spread_below_the_value(tmp_path: Path):
    folder = tmp_path / "records"
    for seed, rank1 in enumerate((0.5, 0.6)):
        write_record(folder, "arcface", {"rank1": rank1}, seed=seed)
    text = render_table(small_spec(tmp_path, layout={"spread": "below"}), folder, mode="reproduced")
    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index(r"arcface & 55.0 \\[-1.5pt]") + 1] == r"& \arosd{7.1} \\[1.5pt]"


BLOCKS = {
    # "a" and "b" are the best of their block, "c" is worse than either, "e" and "f" cannot be told apart.
    **{("a", "x"): (0.7004, 0.7010, 0.7001), ("b", "x"): (0.7003, 0.7004, 0.7012), ("c", "x"): (0.6, 0.6009, 0.6003)},
    **{("e", "y"): (0.4, 0.41, 0.42), ("f", "y"): (0.3, 0.5, 0.4)},
}


@pytest.mark.parametrize("rule", ["best_second", "as_paper", "none"])
def test_bold_marks_what_is_not_significantly_worse_than_the_best(tmp_path: Path, rule: str):
    folder = tmp_path / "records"
    for (method, dataset), values in BLOCKS.items():
        for seed, rank1 in enumerate(values):
            write_record(folder, method, {"rank1": rank1}, dataset=dataset, seed=seed)
    headers = [{"key": "method", "label": "Method"}, {"key": "training_set", "label": "Training Set"}]
    emphasis = {"rule": rule, "within": "block"}
    spec = small_spec(tmp_path, row_headers=headers, block_by="training_set", emphasis=emphasis)
    text = render_table(spec, folder, mode="reproduced", format="markdown")
    bold = [name for name in "abcef" if f"| {name} | " in text and "**" in text.split(f"| {name} | ")[1].split("\n")[0]]
    assert bold == ([] if rule == "none" else ["a", "b"])
    said = "Bold: best of its block, or not significantly worse (on this benchmark, paired by seed, 5\u00a0% after Holm"
    assert (said in text) == (rule != "none")


def test_one_seed_has_no_bold(tmp_path: Path):
    for method, rank1 in (("a", 0.9), ("b", 0.5)):
        write_record(tmp_path / "records", method, {"rank1": rank1})
    spec = small_spec(tmp_path, emphasis={"rule": "best_second"})
    text = render_table(spec, tmp_path / "records", mode="reproduced", format="markdown")
    assert "**" not in text
    assert "Bold" not in text


def test_the_authors_bold_stands_on_their_values_alone(records: Path):
    text = render_table(TINYFACE, records, mode="both", format="markdown")
    assert "| **ArcFace+ARoFace** | MS1MV2 | **67.32** | 67.38 ± 0.41 | **72.45** | 72.00 ± 0.00 |" in text
    assert "Bold values of the paper: the authors' own rows, as in their table; not the best values." in text


@pytest.mark.parametrize(
    ("numbers", "better", "marks"),
    [
        (["1", "2", "3"], "higher", [None, "underline", "bold"]),
        (["1", "2", "3"], "lower", ["bold", "underline", None]),
        (["2.0", "2.00", None], "higher", [None, None, None]),
        (["9.5", "10.0", None], "higher", [None, "bold", None]),
        ([], "higher", []),
    ],
)
def test_marks(numbers: list, better: str, marks: list):
    assert mark_best(numbers, better) == marks


def test_points_stand_under_one_another(tmp_path: Path):
    folder = tmp_path / "records"
    for method, rank1 in (("a", 1.0), ("b", 0.05)):
        write_record(folder, method, {"rank1": rank1})
    text = render_table(small_spec(tmp_path), folder, mode="reproduced")
    assert tex_row(text, "a ")[1] == "100.0"
    assert tex_row(text, "b ")[1] == r"\aropad{00}5.0"


def test_an_unknown_metric_names_those_there_are(records: Path, tmp_path: Path):
    column = {"id": "x", "label": "x", "benchmark": "tinyface", "metric": "rank2", "decimals": 2}
    rows = [{"method": "A", "experiment": {"method": "arcface_aroface", "dataset": "ms1mv2", "arch": "r100"}}]
    with pytest.raises(InputError, match="no metric rank2; expected one of rank1, rank5"):
        render_table(small_spec(tmp_path, columns=[column], rows=rows), records, mode="reproduced")


def test_one_column_does_not_mix_protocols(records: Path):
    write_record(
        records, "adaface", {"rank1": 0.7, "rank5": 0.7}, dataset="webface4m", options={**OPTIONS, "flip": False}
    )
    with pytest.raises(InputError, match="flip"):
        render_table(TINYFACE, records, mode="reproduced")


def test_the_caption_note_can_be_replaced_and_dropped(tmp_path: Path):
    demo = SPECS / "demo" / "tinyface.yaml"
    assert "Synthetic faces; not comparable with the real benchmarks.}" in render_table(
        demo, tmp_path, mode="reproduced"
    )
    own = render_table(demo, tmp_path, mode="reproduced", caption_note="Faces from 50 % of LFW.")
    assert r"Faces from 50~\% of LFW.}" in own
    assert "Synthetic" not in own
    assert "Synthetic" not in render_table(demo, tmp_path, mode="reproduced", caption_note="")


def test_text_is_escaped():
    assert escape(r"50 % & a_b #1 {x} $5 \n ~^") == (
        r"50 \% \& a\_b \#1 \{x\} \$5 \textbackslash{}n \textasciitilde{}\textasciicircum{}"
    )
    assert escape("η = 0.1 → ∞") == r"$\eta$ = 0.1 $\rightarrow$ $\infty$"
    assert escape("67 ± 1, −2 ★") == r"67 $\pm$ 1, $-$2 \arostarsign{}"


def test_markdown(records: Path):
    text = render_table(TINYFACE, records, mode="reproduced", format="markdown")
    assert "| ArcFace+ARoFace | MS1MV2 | 67.38 ± 0.41 | 72.00 ± 0.00 |" in text
    assert "| URL | MS1MV2 | -- | -- |" in text


def test_the_terminal_cuts_nothing_however_narrow(records: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = render_table(TINYFACE, records, mode="delta", format="terminal")
    assert "…" not in text
    line = next(line for line in text.splitlines() if "67.32" in line)
    assert " ".join(line.split()) == "ArcFace+ARoFace MS1MV2 67.32 67.38 ± 0.41 +0.06 72.45 72.00 ± 0.00 −0.45"


def test_colour_only_where_it_is_asked_for(records: Path, monkeypatch: pytest.MonkeyPatch):
    printed = []
    monkeypatch.setitem(FORMATS, "terminal", lambda grid: printed.append(grid) or "")
    render_table(TINYFACE, records, mode="reported", format="terminal")
    assert "\x1b[1m67.32\x1b[0m" in terminal(printed[0], color=True)
    assert "\x1b" not in terminal(printed[0], color=False)


def test_a_caption_is_one_line_whatever_its_note_is(records: Path):
    text = render_table(TINYFACE, records, mode="reported", caption_note="One.\n\nTwo, 5\u00a0%.\n")
    assert r"One. Two, 5~\%.}" in text


def test_a_table_is_written_whole(records: Path, tmp_path: Path):
    out = tmp_path / "deep" / "tinyface.tex"
    write_table(TINYFACE, records, out, mode="both")
    assert out.read_text() == render_linked(TINYFACE, records, mode="both")
    assert [path.name for path in out.parent.iterdir()] == ["tinyface.tex"]


def test_the_paper_room_does_without_torch():
    modules = (
        "tables.render",
        "figures.alignment_errors",
        "figures.displacements",
        "figures.training",
        "document",
        "explain",
    )
    code = f"import sys, {', '.join(f'aroface.reporting.{module}' for module in modules)}\n"
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)


def write_seeds(folder: Path, values: dict[str, tuple[float, ...]]) -> None:
    for method, found in values.items():
        for seed, rank1 in enumerate(found):
            write_record(folder, method, {"rank1": rank1}, seed=seed)


SEEDS = {"arcface": (0.50, 0.60, 0.70), "arcface_aroface": (0.54, 0.64, 0.7401, 0.75)}


def test_a_column_or_a_note_says_how_many_seeds_a_row_has(tmp_path: Path):
    write_seeds(tmp_path / "records", SEEDS)
    spec = small_spec(tmp_path, rows=CLAIM_ROWS, seeds={"count": "column"})
    rows = cells(spec, tmp_path / "records", mode="reproduced")
    assert [(row["Method"], row["Seeds"]) for row in rows] == [("plain", "3"), ("ours", "4"), ("gain", "3")]
    assert "Seeds" not in cells(spec, tmp_path, mode="reported")[0]
    spec = small_spec(tmp_path, rows=CLAIM_ROWS, seeds={"count": "note"})
    for format in ("latex", "markdown", "html", "terminal"):
        text = render_table(spec, tmp_path / "records", mode="reproduced", format=format)
        assert "Seeds: 3 for plain, gain; 4 for ours." in text
    assert "Seeds" not in render_table(spec, tmp_path / "nowhere", mode="reproduced")


def test_prediction_intervals_instead_of_deviations(tmp_path: Path):
    write_seeds(tmp_path / "records", SEEDS)
    spec = small_spec(tmp_path, rows=CLAIM_ROWS, seeds={"spread": "prediction"})
    plain, _, gain = cells(spec, tmp_path / "records", mode="reproduced")
    # 60 ± 4.302653 · 10 · sqrt(4/3)
    assert (plain["rank1_mean"], plain["rank1_low"], plain["rank1_high"]) == ("60.0", "10.3", "109.7")
    assert gain["rank1_mean"] == "+4.0"
    text = render_table(spec, tmp_path / "records", mode="reproduced")
    assert "mean [95~\\% prediction interval of a further seed] over 3 to 4 seeds" in text
    assert "Brackets of differences: 95~\\% confidence interval" in text


def test_significant_differences_are_noted_after_holms_correction(tmp_path: Path):
    write_seeds(tmp_path / "records", {**SEEDS, "adaface": (0.1, 0.9, 0.7)})
    rows = [
        *CLAIM_ROWS,
        {"id": "ada", "method": "ada", "experiment": {"method": "adaface"}},
        {"method": "noise", "difference": {"of": "ada", "minus": "plain"}},
    ]
    spec = small_spec(tmp_path, rows=rows, seeds={"tests": "note"})
    text = render_table(spec, tmp_path / "records", mode="reproduced", format="markdown")
    note = "Significant at 5\u00a0% by 2 paired t tests over seeds with Holm's correction: gain: Rank1 (p < 0.001)."
    # differences 4, 4, 4.01: t = 1201, p = 7e-7, twice that by Holm; the other has p = .97
    assert text.replace("\\", "").count(note) == 1
    none = small_spec(tmp_path, rows=rows[:2] + rows[3:], seeds={"tests": "note"})
    assert "by one paired t test over seeds: none." in render_table(none, tmp_path / "records", mode="reproduced")


def test_the_command_writes_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["table", str(TINYFACE), "--mode", "reported", "--emphasis", "best_second"]
    for format in FORMATS:
        assert main([*words, "--format", format]) == 0
        assert "67.32" in capsys.readouterr().out
    out = tmp_path / "tinyface.html"
    assert main([*words, "--format", "html", "--out", str(out)]) == 0
    text = out.read_text()
    assert text.startswith("<!doctype html>")
    assert "<b>72.29</b>" not in text  # of its block the second of two
    assert "<b>74.00</b>" in text
    assert "<b>73.98</b>" not in text  # the best of its block, not of the table
