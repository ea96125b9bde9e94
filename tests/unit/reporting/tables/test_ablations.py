"""The tables without values of the authors: IJB-B, IJB-C and the ablations, against configurations and protocols."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aroface.evaluation.metrics.operating_points import FARS
from aroface.reporting.tables.render import render_table
from aroface.reporting.tables.spec import read_spec
from made_up_tables import fill_table
from rendered import body, unlinked
from repository import ROOT

SPECS = ROOT / "paper_tables" / "specs"
PARTS = {
    "adversary": {
        *("arcface", "arcface_random", "arcface_aroface", "arcface_scaled", "arcface_clean", "arcface_subset"),
    },
    "factors": {"arcface", "arcface_scale_only", "arcface_rotation_only", "arcface_shift_only", "arcface_aroface"},
    "ratio": {"arcface", "arcface_ratio_125", "arcface_aroface", "arcface_ratio_375", "arcface_ratio_500"},
    "step": {"arcface", "arcface_step_05", "arcface_aroface", "arcface_step_15", "arcface_step_20"},
    "heads": {f"{head}{suffix}" for head in ("arcface", "cosface", "adaface") for suffix in ("", "_aroface")},
}


def experiments(name: str) -> list[dict[str, str]]:
    return [dict(row.experiment) for row in read_spec(SPECS / f"{name}.yaml").rows or () if row.experiment]


def test_every_ablation_that_is_trained_is_in_a_table_and_no_other():
    trained = yaml.safe_load((ROOT / "workflow" / "configs" / "ablations.yaml").read_text())["experiments"]
    shown = [each for part in PARTS for each in experiments(f"ablation_{part}")]
    assert {each["method"] for each in trained} == {each["method"] for each in shown}
    assert {(each["dataset"], each["arch"]) for each in [*trained, *shown]} == {("ms1mv3", "r50")}
    for part, methods in PARTS.items():
        assert {each["method"] for each in experiments(f"ablation_{part}")} == methods


@pytest.mark.parametrize(("part", "key"), [("ratio", "warped_ratio"), ("step", "step_mean")])
def test_rows_are_named_by_the_value_of_their_method(part: str, key: str):
    methods = yaml.safe_load((ROOT / "workflow" / "registries" / "methods.yaml").read_text())
    released = {"warped_ratio": 0.25, "step_mean": 0.1}[key]
    for row in read_spec(SPECS / f"ablation_{part}.yaml").rows or ():
        assert row.experiment is not None
        adversary = methods[row.experiment["method"]]["adversary"]
        value = 0.0 if adversary["kind"] == "none" else adversary.get(key, released)
        numerator, _, denominator = row.key.partition("/")
        assert float(numerator) / float(denominator or 1) == value


@pytest.mark.parametrize("name", ["ijbb", "ijbc"])
def test_tables_of_templates_have_the_papers_operating_points(name: str):
    spec = read_spec(SPECS / f"{name}.yaml")
    pairs = [column for column in spec.columns if column.group == "TAR@FAR"]
    assert [column.metric for column in pairs] == [f"tar_at_far_{far}" for far in list(FARS)[:4]]
    assert [FARS[column.id.removeprefix("tar_")] for column in pairs] == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])
    assert [column.metric for column in spec.columns[4:]] == ["rank1", "rank5"]
    assert spec.source is None
    assert all(not row.reported for row in spec.rows or ())
    text = unlinked(render_table(SPECS / f"{name}.yaml", "nowhere", mode="reported"))
    assert "Published values, none of them the authors': letters name their sources." in text
    assert r"10$^{-6}$ & 10$^{-5}$ & 10$^{-4}$ & 10$^{-3}$" in text
    published = sum(len(row.published) for row in spec.rows or ())
    assert published == 8 + (name == "ijbc")
    assert body(text, "latex").count("--") == 11 * 6 - published
    assert not any(row.published for row in spec.rows or () if "ARoFace" in row.key)


def test_half_an_interval_is_the_interval(tmp_path: Path):
    spec = SPECS / "ablation_heads.yaml"
    fill_table(tmp_path, spec)
    text = render_table(spec, tmp_path, mode="reproduced", format="csv")
    rows = [line.split(",") for line in text.splitlines()]
    at = rows[0].index("rank5_mean")
    found = dict(zip(rows[0][at : at + 5], rows[3][at : at + 5], strict=True))
    half = (float(found["rank5_high"]) - float(found["rank5_low"])) / 2
    cell = render_table(spec, tmp_path, mode="reproduced", format="markdown").splitlines()[6].split("|")[5]
    assert cell.strip().startswith("+")
    assert float(cell.split("±")[1]) == pytest.approx(half, abs=0.006)
