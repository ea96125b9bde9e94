"""What a configuration's tables and figures are made from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aroface.errors import InputError
from aroface.planning.figure_inputs import Figure
from aroface.planning.plan import make_plan
from aroface.planning.products import Products, find_products, latest, partial
from aroface.reporting.figures.registry import FIGURE_KINDS
from repository import ROOT

PARTS = ("adversary", "factors", "ratio", "step", "heads")


def products(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *files: str) -> Products:
    monkeypatch.chdir(tmp_path)
    return find_products(make_plan([ROOT / file for file in files], root=ROOT), root=ROOT)


def test_tables_of_the_plans_benchmarks_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    paper = products(monkeypatch, tmp_path, "config.yaml")
    assert {"ijbs", "ijbb", "ijbc", "tinyface", "lfw"} <= {*paper.offered}
    records = paper.table_records("ijbs")
    shown = {"-".join(path.parent.name.split("-")[:2]) for path in records}
    assert shown == {
        *("arcface-ms1mv2", "arcface_aroface-ms1mv2", "cosface-webface4m", "cosface_aroface-webface4m"),
        *("adaface-webface12m", "adaface_aroface-webface12m"),
    }
    assert len(records) == 6 * 3
    assert paper.table_arguments("ijbs").split()[0].endswith("paper_tables/specs/ijbs.yaml")


def test_released_weights_fill_the_rows_that_are_theirs_by_another_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    both = tmp_path / "with_ijbs.yaml"
    both.write_text("benchmarks: [ijbs]\ntables: []\nfigures: []\n")
    paper = products(monkeypatch, tmp_path, "workflow/configs/released.yaml", str(both))
    runs = {path.parent.name.split("-released")[0] for path in paper.table_records("ijbs")}
    assert "arcface_aroface-webface4m-r100" in runs


def test_ablations_are_offered_where_they_are_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    paper = products(monkeypatch, tmp_path, "config.yaml", "workflow/configs/ablations.yaml")
    shown = {path for part in PARTS for path in paper.table_records(f"ablation_{part}")}
    assert shown == {*paper.plan.records()}


def test_the_configurations_tables_come_before_the_repositorys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    paper = products(monkeypatch, tmp_path, "workflow/configs/demo.yaml")
    assert paper.offered["tinyface"].path.parent.name == "demo"
    assert "ijbs" not in paper.offered
    assert {*paper.tables} <= {*paper.offered}


def test_a_figure_is_a_benchmark_or_of_a_kind_by_another_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("figures: [fae, {name: again, kind: fae, benchmark: fae}]\n")
    paper = products(monkeypatch, tmp_path, "workflow/configs/tiny.yaml", str(mine))
    assert paper.figures == {"fae": Figure("fae", "fae", "fae"), "again": Figure("again", "fae", "fae")}
    assert paper.figure_inputs("again") == paper.figure_inputs("fae") == paper.plan.records({"fae"})
    assert len(paper.figure_inputs("again")) == 2
    assert paper.figure_faces("again")[0] == paper.plan.benchmarks["fae"].file
    words = paper.figure_arguments("again").split()
    assert words[:5] == ["fae", "--benchmark", "fae", "--out", "results/tiny/figures/again"]
    assert {"--records", "--runs-file", "--caption-note", "--faces"} <= {*words}
    assert [path.name for path in paper.figure_files] == ["fae.tex", "again.tex"]
    mine.write_text("figures: [fae, {name: fae, kind: fae}]\n")
    with pytest.raises(InputError, match=re.escape("figures.1: a second figure 'fae'")):
        products(monkeypatch, tmp_path, "workflow/configs/tiny.yaml", str(mine))


def test_figures_of_trainings_are_drawn_from_finished_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    paper = products(monkeypatch, tmp_path, "workflow/configs/demo.yaml")
    runs = tmp_path / "results/demo/runs"
    assert paper.figures["training"] == Figure("training", "training")
    assert {path.parent.name.split("-")[0] for path in paper.figure_inputs("displacements")} == {
        *("arcface_aroface", "adaface_aroface")
    }
    assert [tmp_path / path for path in paper.figure_inputs("training")] == [
        runs / run / "checkpoint.json" for run in paper.plan.runs
    ]
    assert paper.figure_faces("training") == []
    assert paper.missing_for("figure_training", {}) is None
    words = paper.figure_arguments("training").split()
    assert words[:5] == ["training", "--out", "results/demo/figures/training", "--runs-dir", "results/demo/runs"]
    assert not {"--records", "--benchmark", "--faces"} & {*words}


def test_with_render_only_figures_show_the_finished_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("render_only: true\n")
    paper = products(monkeypatch, tmp_path, "workflow/configs/demo.yaml", str(mine))
    assert paper.figures == {}
    run = next(name for name in paper.plan.runs if name.startswith("arcface-"))
    (tmp_path / "results/demo/runs" / run).mkdir(parents=True)
    (tmp_path / "results/demo/runs" / run / "checkpoint.json").touch()
    paper = products(monkeypatch, tmp_path, "workflow/configs/demo.yaml", str(mine))
    assert [*paper.figures] == ["training"]
    assert [path.parent.name for path in paper.figure_inputs("training")] == [run]


def test_figures_that_nothing_could_fill_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("experiments: [{method: arcface, dataset: synthetic}]\n")
    assert [*products(monkeypatch, tmp_path, "workflow/configs/demo.yaml", str(mine)).figures] == [
        *("fae", "fae_paper", "landmarks", "tar_far_pairs", "training")
    ]
    mine.write_text("figures: [{name: t, kind: training}]\n")
    assert products(monkeypatch, tmp_path, "workflow/configs/released.yaml", str(mine)).figures == {}


def test_a_figure_may_show_what_was_trained_on_some_sets_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    paper = products(monkeypatch, tmp_path, "workflow/configs/released.yaml")
    shown = {name: {path.parent.name for path in paper.figure_inputs(name)} for name in paper.figures}
    assert {*paper.figures} == {"fae", "fae_ms1mv2", "fae_ms1mv3", "fae_webface", "fae_glint360k"}
    assert shown["fae"] == {*paper.plan.runs}, "one figure has all released weights"
    assert shown["fae"] == set.union(*(runs for name, runs in shown.items() if name != "fae"))
    assert all("-ms1mv3-" in name for name in shown["fae_ms1mv3"]) and len(shown["fae_ms1mv3"]) == 3
    assert "--benchmark fae --trained-on webface4m webface12m --out " in paper.figure_arguments("fae_webface")
    assert "share no recipe" in paper.figure_arguments("fae")
    mine = tmp_path / "mine.yaml"
    for trained_on, line in (
        ("[ms1mv4]", "figures.0.trained_on.0: no experiment is trained on 'ms1mv4'; expected one of ms1mv2, ms1mv3"),
        ("[]", "figures.0"),
    ):
        mine.write_text(f"figures: [{{name: fae, kind: fae, trained_on: {trained_on}}}]\n")
        with pytest.raises(InputError, match=re.escape(line)):
            products(monkeypatch, tmp_path, "workflow/configs/released.yaml", str(mine))


def test_a_released_checkpoint_has_a_name_that_tells_it_from_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    plan = products(monkeypatch, tmp_path, "workflow/configs/released.yaml").plan
    assert plan.labels["arcface [R100 zoo]"] == "ArcFace (R100 zoo)"
    assert plan.labels["arcface [CVLface]"] == "ArcFace (CVLface)"
    assert plan.labels["adaface"] == "AdaFace" and plan.labels["topofr_cosface"] == "TopoFR (CosFace)"
    assert plan.labels["sphereface [R100 zoo]"] == "SphereFace (R100 zoo)"
    (magface,) = (run for run in plan.runs.values() if run.experiment.variant == "magface")
    assert " --mean=0 --std=255 " in magface.import_arguments
    assert magface.entry()["released"] | {"mean": 0, "std": 255} == magface.entry()["released"]
    (onnx,) = (run for run in plan.runs.values() if run.name.startswith("arcface-ms1mv3-r100-released-"))
    assert onnx.import_arguments.split()[0].endswith(".onnx")


def test_a_figure_of_trainings_shows_no_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("figures: [{name: t, kind: training, benchmark: fae}]\n")
    with pytest.raises(InputError, match=re.escape("figures.0.benchmark: kind training shows no benchmark")):
        products(monkeypatch, tmp_path, "workflow/configs/demo.yaml", str(mine))


def test_a_figure_has_the_width_and_the_typeface_that_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "figures: [{name: a, kind: training, width: text, font: times}, {name: fae, kind: fae, width: 90}]\n"
    )
    paper = products(monkeypatch, tmp_path, "workflow/configs/demo.yaml", str(mine))
    assert " --width text --font times --out results/demo/figures/a " in paper.figure_arguments("a")
    assert " --width 90 --out results/demo/figures/fae " in paper.figure_arguments("fae")
    for wrong in ("width: 40", "width: page", "font: comic"):
        mine.write_text(f"figures: [{{name: a, kind: training, {wrong}}}]\n")
        with pytest.raises(InputError, match=r"figures\.0"):
            products(monkeypatch, tmp_path, "workflow/configs/demo.yaml", str(mine))


def test_every_kind_of_figure_is_planned_drawn_and_admitted():
    schema = json.loads((ROOT / "src/aroface/_schemas/config.schema.json").read_text())
    _, entry = schema["properties"]["figures"]["items"]["oneOf"]
    assert {*entry["properties"]["kind"]["enum"]} == {*FIGURE_KINDS}
    for kind in FIGURE_KINDS.values():
        assert callable(kind.load()), kind


def test_verdicts_are_part_of_all_where_the_plans_tables_have_reported_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    paper = products(monkeypatch, tmp_path, "config.yaml")
    assert {*paper.tables} == {"tinyface", "ijbs", "ijbb", "ijbc", "lfw", "fae", "adaface"}
    assert paper.compared == ("ijbb", "ijbc", "ijbs", "lfw", "tinyface")
    assert [path.name for path in paper.verdict_files] == [
        *("compare.md", "compare.json"), *("claims.md", "claims.json", "claims.tex")
    ]  # fmt: skip
    assert paper.fragments[-1].name == "claims.tex"
    pairs = {path for path in paper.compared_records if path.stem == "lfw"}
    assert len(pairs) < len({path for path in paper.table_records("lfw") if path.stem == "lfw"}), "those in print alone"
    assert {path.parent.name.split("-")[0] for path in pairs} == {"adaface"}
    assert {path.stem for path in paper.compared_records} > {"ijbb", "ijbc", "ijbs", "tinyface", "lfw"}
    assert {path.stem for path in paper.claimed_records} == {
        *("ijbb", "ijbc", "ijbs", "tinyface", "fae", "fae_ijbb", "fae_ijbc"),
        *("fae_lfw", "fae_cfp_fp", "fae_cplfw", "fae_calfw", "fae_agedb_30"),
    }
    assert {path.stem for path in paper.claimed_specs} == {"ijbb", "ijbc", "ijbs", "tinyface"}
    ablations = products(monkeypatch, tmp_path, "config.yaml", "workflow/configs/ablations.yaml")
    assert {*ablations.tables} == {f"ablation_{part}" for part in PARTS}
    assert ablations.verdict_files == []
    assert ablations.compare_files != []
    demo = products(monkeypatch, tmp_path, "workflow/configs/demo.yaml")
    assert (demo.compared, demo.compare_files, demo.verdict_files) == ((), [], [])


def test_what_has_gaps_stands_for_the_whole_while_it_is_newer(tmp_path: Path):
    whole = tmp_path / "lfw.tex"
    assert latest(whole) == whole
    partial(whole).touch()
    assert latest(whole) == partial(whole) == tmp_path / "lfw.partial.tex"
    whole.touch()
    os.utime(partial(whole), (1, 1))
    assert latest(whole) == whole
    os.utime(whole, (0, 0))
    assert latest(whole) == partial(whole)


def test_planning_imports_no_drawing_library():
    code = "import sys, aroface.planning.products; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
