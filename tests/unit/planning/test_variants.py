"""Experiments of one method that differ in their recipes: labels and sweeps, from the configuration to tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import made_up_records
from aroface.errors import InputError
from aroface.files import read_json
from aroface.planning.plan import Plan, make_plan
from aroface.reporting.histories import load_histories
from aroface.reporting.records import load_records, read_runs_file
from aroface.reporting.tables.render import render_table
from small_sets import CONFIG

BASE = {**CONFIG, "seeds": [0, 1]}
ARCFACE = {"method": "arcface", "dataset": "faces"}
ADAFACE = {"method": "adaface", "dataset": "faces"}
SWEEP = {"sweep": {"optimiser.lr": [0.05, 0.07]}}
BY_HAND = [{"overrides": {"optimiser": {"lr": lr}}, "label": f"lr={lr}"} for lr in (0.05, 0.07)]


def plan(tmp_path: Path, *experiments: dict[str, Any], **changes: Any) -> Plan:
    results = {"paths": {"results": str(tmp_path / "results"), "data": str(tmp_path / "data")}}
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump({**BASE, **results, **changes, "experiments": list(experiments)}, sort_keys=False)
    )
    return make_plan([tmp_path / "c.yaml"])


def test_sweep_is_the_experiments_written_out(tmp_path: Path) -> None:
    swept = plan(tmp_path, ARCFACE | SWEEP)
    written = plan(tmp_path, *(ARCFACE | each for each in BY_HAND))
    assert list(swept.runs) == list(written.runs)
    assert swept._listing() == written._listing()
    assert [run.experiment.recipe["optimiser"]["lr"] for run in swept.runs.values()] == [0.05, 0.05, 0.07, 0.07]
    assert len(swept.records()) == 4


def test_a_benchmark_that_is_made_has_the_label_of_its_set(tmp_path: Path) -> None:
    bare = plan(tmp_path, ARCFACE)
    data = {**CONFIG["data"], "clean": {**CONFIG["data"]["clean"], "label": "pairs of full quality"}}
    named = plan(tmp_path, ARCFACE, data=data)
    assert named.labels == {**bare.labels, "pairs_clean": "pairs of full quality"}
    assert [each.file for each in named.benchmarks.values()] == [each.file for each in bare.benchmarks.values()]


def test_labels_change_no_run(tmp_path: Path) -> None:
    bare = plan(tmp_path, ARCFACE, ADAFACE)
    assert "variants" not in bare._listing()
    labelled = plan(tmp_path, ARCFACE | {"label": "first"}, ADAFACE)
    assert list(labelled.runs) == list(bare.runs)
    for name, run in labelled.runs.items():
        assert run.entry() == bare.runs[name].entry()
    assert labelled.labels == {**bare.labels, "arcface [first]": "ArcFace (first)"}


@pytest.mark.parametrize(
    ("entry", "labels"),
    [
        ({"sweep": {"optimiser.lr": [0.1, 1]}}, ["lr=0.1", "lr=1"]),
        ({"label": "long", "sweep": {"epochs": [3]}}, ["long, epochs=3"]),
        ({"sweep": {"optimiser.lr": [0.1], "epochs": [3, 4]}}, ["lr=0.1, epochs=3", "lr=0.1, epochs=4"]),
        ({"sweep": {"head.m": [0.3, 0.4]}}, ["m=0.3", "m=0.4"]),
        ({"sweep": {"batch_norm": ["local"]}}, ["batch_norm=local"]),
    ],
)
def test_labels_of_sweeps(tmp_path: Path, entry: dict[str, Any], labels: list[str]) -> None:
    runs = plan(tmp_path, ARCFACE | {"seeds": [0]} | entry).runs.values()
    assert [run.experiment.label for run in runs] == labels


@pytest.mark.parametrize(
    ("experiments", "expected"),
    [
        (
            [ARCFACE, ARCFACE],
            "experiments.1: arcface/faces/r8s4 is declared twice; to compare variants of it, give each",
        ),
        ([ARCFACE, ARCFACE | {"label": "b"}], "experiments.1: 'arcface [b]' is the same training as 'arcface' of exp"),
        ([ARCFACE | {"label": "a"}] * 2, "experiments.1: arcface [a]/faces/r8s4 is declared twice"),
        ([ARCFACE | {"sweep": {"lr": [1]}}], "experiments.0.sweep: Additional properties are not allowed ('lr' was"),
        ([ARCFACE | {"sweep": {"optimiser.lr": ["x"]}}], "experiments.0.sweep: optimiser.lr: 'x' is not of type 'num"),
        ([ARCFACE | {"sweep": {"optimiser.lr": []}}], "experiments.0.sweep.optimiser.lr: [] should be non-empty"),
        ([ARCFACE | {"sweep": {"optimiser.lr": 0.1}}], "experiments.0.sweep.optimiser.lr: 0.1 is not of type 'array'"),
        ([ARCFACE | {"sweep": {}}], "experiments.0.sweep: {} should be non-empty"),
        ([ARCFACE | {"sweep": {"Optimiser": [1]}}], "experiments.0.sweep: 'Optimiser' does not match"),
        ([ARCFACE | {"label": ""}], "experiments.0.label: '' does not match"),
        ([ARCFACE | {"label": "a\n"}], "experiments.0.label: 'a\\n' does not match"),
        ([ARCFACE | {"dataset": "none"} | SWEEP], "experiments.0.dataset: unknown training set 'none'"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, experiments: list[dict[str, Any]], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(tmp_path, *experiments)
    assert expected in str(caught.value)


def rendered(tmp_path: Path, found: Plan, rows: Any) -> str:
    spec = {
        "name": "sweep", "caption": "Rates.", "label": "tab:sweep",
        "row_headers": [{"key": "method", "label": "Method"}],
        "columns": [{"id": "a", "label": "A", "benchmark": "pairs_clean", "metric": "accuracy", "decimals": 2}],
        "rows": rows,
    }  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(spec))
    choice = read_runs_file(found.runs_file)
    return render_table(tmp_path / "sweep.yaml", found.results.records, mode="reproduced", format="markdown", **choice)


def test_tables_have_a_row_each(tmp_path: Path) -> None:
    found = plan(tmp_path, ARCFACE, ARCFACE | SWEEP)
    found.write()
    for number, run in enumerate(found.runs.values()):
        place = {"dataset": "faces", "arch": "r8s4", "seed": run.seed, "benchmark": "pairs_clean", "run": run.name}
        made_up_records.write_record(found.results.records, "arcface", {"accuracy": 0.5 + number / 100}, **place)
    text = rendered(tmp_path, found, "experiments")
    for row in ("| ArcFace | 50.50", "| ArcFace (lr=0.05) | 52.50", "| ArcFace (lr=0.07) | 54.50"):
        assert row in text
    row = {"method": "Small", "experiment": {"method": "arcface", "label": "lr=0.05"}}
    assert "| Small | 52.50" in rendered(tmp_path, found, [row])
    assert [path.parent.name for path in found.records(None, [{"method": "arcface [lr=0.05]"}])] == [*found.runs][2:4]
    assert "| Whole | 50.50" in rendered(tmp_path, found, [{"method": "Whole", "experiment": {"method": "arcface"}}])


def test_histories_know_the_labels(tmp_path: Path) -> None:
    found = plan(tmp_path, ARCFACE | SWEEP)
    found.write()
    shown = read_runs_file(found.runs_file)
    _, gaps = load_histories(tmp_path / "runs", shown["runs"])
    assert {gap.experiment.method for gap in gaps} == {"arcface [lr=0.05]", "arcface [lr=0.07]"}
    assert load_records(tmp_path / "records", shown["runs"]) == ()


def test_runs_file_of_before_is_the_same(tmp_path: Path) -> None:
    found = plan(tmp_path, ARCFACE)
    found.write()
    assert sorted(read_json(found.runs_file)) == ["experiments", "labels", "runs", "schema"]
    assert isinstance(read_runs_file(found.runs_file)["runs"], list)
    assert json.loads(json.dumps(found._listing())) == read_json(found.runs_file)
