"""Tables that a configuration does not name are made when they are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aroface.plan import make_plan
from aroface.products import Products, find_products, latest, partial

ROOT = Path(__file__).parents[2]
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


def test_verdicts_are_part_of_all_where_the_plans_tables_have_reported_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    paper = products(monkeypatch, tmp_path, "config.yaml")
    assert {*paper.tables} == {"tinyface", "ijbs", "ijbb", "ijbc", "lfw"}
    assert paper.compared == ("ijbs", "tinyface")
    assert [path.name for path in paper.verdict_files] == [
        *("compare.md", "compare.json"), *("claims.md", "claims.json", "claims.tex")
    ]  # fmt: skip
    assert paper.fragments[-1].name == "claims.tex"
    assert {path.stem for path in paper.compared_records} == {"ijbs", "tinyface"}
    assert {path.stem for path in paper.claimed_records} == {"ijbb", "ijbc", "ijbs", "tinyface", "fae"}
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
