"""Tables of points of a sensitivity sweep: the numbers behind figure 1."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from aroface.embedding.sensitivity import DEFAULTS
from aroface.errors import InputError
from aroface.planning.config import read_configuration
from aroface.reporting.claims.claims import read_claims
from aroface.reporting.claims.compare import compare
from aroface.reporting.claims.verdicts import judge_claims
from aroface.reporting.explain import explain
from aroface.reporting.tables.cells import point_of
from aroface.reporting.tables.render import FORMATS, render_table
from aroface.reporting.tables.spec import At, Column, read_spec
from made_up_records import sweep, write_record
from made_up_tables import fill_table
from rendered import unlinked
from repository import ROOT

SPECS = ROOT / "paper_tables" / "specs"
TAR = "tar_strict_at_far_1e-2"
SHARED = {"benchmark": "sweep", "metric": TAR, "decimals": 1}
SPEC: dict[str, Any] = {
    "name": "points",
    "caption": "Points.",
    "label": "tab:points",
    "row_headers": [{"key": "method", "label": "Method"}, {"key": "variant", "label": "Probes"}],
    "columns": [
        {"id": "aligned", "label": "Aligned", **SHARED, "at": {}},
        {"id": "turned", "label": "Turned", **SHARED, "at": {"factor": "rotation", "level": 10}},
        {"id": "lost", "label": "Lost", **SHARED, "at": {"factor": "rotation", "level": 10, "show": "drop"}},
    ],
    "rows": [
        {"method": "ArcFace", "variant": "full", "quality": "hq", "experiment": {"method": "arcface"}, "id": "full"},
        {"method": "ArcFace", "variant": "14 px", "quality": "r14", "experiment": {"method": "arcface"}, "id": "low"},
        {"method": "difference", "variant": "both", "difference": {"of": "low", "minus": "full"}},
    ],
}


def write(folder: Path, **change: Any) -> Path:
    path = folder / "points.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **change}))
    return path


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    for seed, clean in enumerate((0.90, 0.92)):
        metrics = {f"{TAR}_hq": clean, f"{TAR}_r24": clean - 0.2, f"{TAR}_r14": clean - 0.4}
        series = sweep(clean, 0.05 + 0.01 * seed)
        write_record(folder, "arcface", metrics, seed=seed, benchmark="sweep", protocol="sensitivity", series=series)
    return folder


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_cells_are_points_of_the_sweep(tmp_path: Path, records: Path):
    full, low, difference = cells(render_table(write(tmp_path), records, mode="reproduced", format="csv"))
    assert [full[f"{key}_mean"] for key in ("aligned", "turned", "lost")] == ["91.0", "80.0", "11.0"]
    # At 14 px the drop is three times as large: .30 and .36 from .50 and .52.
    assert [low[f"{key}_mean"] for key in ("aligned", "turned", "lost")] == ["51.0", "18.0", "33.0"]
    assert full["lost_sd"] == "1.4"
    assert [difference[f"{key}_mean"] for key in ("aligned", "turned", "lost")] == ["-40.0", "-62.0", "+22.0"]


def test_columns_may_have_the_quality_too(tmp_path: Path, records: Path):
    columns = [{"id": "low", "label": "14 px", **SHARED, "at": {"quality": "r14", "factor": "shift", "level": 0.1}}]
    spec = write(tmp_path, columns=columns, rows="experiments", row_headers=[{"key": "method", "label": "Method"}])
    (row,) = cells(render_table(spec, records, mode="reproduced", format="csv"))
    assert row["low_mean"] == "18.0"


def test_a_row_of_a_sweep_fills_other_columns_as_ever(tmp_path: Path, records: Path):
    columns = [{"id": "plain", "label": "Plain", **SHARED, "metric": f"{TAR}_r24"}]
    rows = cells(render_table(write(tmp_path, columns=columns), records, mode="reproduced", format="csv"))
    assert [row["plain_mean"] for row in rows] == ["71.0", "71.0", "0.0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": "rotation", "level": 15}, "no .* at hq, rotation 15; expected one of scale 0.1, scale 0.2, rot"),
        ({"factor": "joint", "level": 1}, "no .* at hq, joint 1"),
        ({"factor": "rotation"}, "'level' is a dependency of 'factor'"),
        ({"show": "drop"}, "'factor' is a dependency of 'show'"),
        ({"factor": "degrees", "level": 10}, "'degrees' is not one of"),
        ({"quality": "r14"}, "column turned: two qualities of the probes; leave it to the rows or to the columns"),
    ],
)  # fmt: skip
def test_what_is_no_point_is_one_clear_line(tmp_path: Path, records: Path, change: dict[str, Any], message: str):
    spec = write(tmp_path, columns=[{"id": "turned", "label": "Turned", **SHARED, "at": change}])
    with pytest.raises(InputError, match=message):
        render_table(spec, records, mode="reproduced")


def test_a_point_needs_a_quality(tmp_path: Path):
    rows = [*SPEC["rows"][:1], {key: value for key, value in SPEC["rows"][1].items() if key != "quality"}]
    with pytest.raises(InputError, match="column aligned: no quality of the probes"):
        read_spec(write(tmp_path, rows=rows))
    with pytest.raises(InputError, match="column aligned: no quality of the probes"):
        read_spec(write(tmp_path, rows="experiments", row_headers=SPEC["row_headers"][:1]))


def test_levels_are_compared_as_numbers(tmp_path: Path, records: Path):
    for path in records.glob("*/*.json"):
        path.write_text(path.read_text().replace('"level": 10.0', '"level": 10.000000000000002'))
    assert cells(render_table(write(tmp_path), records, mode="reproduced", format="csv"))[0]["turned_mean"] == "80.0"


def test_a_cell_is_explained_with_its_point(tmp_path: Path, records: Path):
    text = explain("points/ArcFace@14 px/lost", [write(tmp_path)], records, tmp_path)
    assert "reproduced   33.0 ± 4.2 over 2 seeds" in text
    assert f"({TAR} on sweep, r14, rotation 10, drop)" in text
    text = explain("points/ArcFace@full/aligned", [write(tmp_path)], records, tmp_path)
    assert f"({TAR} on sweep, hq, aligned)" in text
    text = explain("points/difference@both/lost", [write(tmp_path)], records, tmp_path)
    assert "difference   +22.0" in text and "r14, rotation 10, drop" in text and "hq, rotation 10, drop" in text


def test_comparison_and_claims_take_the_rows_points(tmp_path: Path, records: Path):
    rows = [{**SPEC["rows"][0], "reported": {"lost": "10.0"}}, *SPEC["rows"][1:]]
    spec = read_spec(write(tmp_path, rows=rows, source={"title": "a page"}))
    (compared,) = compare([spec], records).comparisons
    assert (compared.reproduced, compared.verdict) == ("11.0", "holds")
    claim = {"id": "low", "claim": "more is lost", "stands": "here", "kind": "improves", "table": "points"}
    claim |= {"columns": ["lost"], "pairs": [{"of": "ArcFace@14 px", "minus": "ArcFace@full"}]}
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"source": {"title": "a page"}, "claims": [claim]}))
    (judged,) = judge_claims(read_claims(tmp_path / "claims.yaml", [spec]), records)
    assert [each.value for each in judged.reproduction] == ["+22.0"]


def test_points_are_named():
    column = Column("a", "A", 1, benchmark="fae", metric=TAR, at=At(None, "shift", 0.06, "drop"))
    assert str(point_of(column, "r24")) == "r24, shift 0.06, drop"
    assert point_of(Column("a", "A", 1, benchmark="lfw", metric="accuracy"), "r24") is None


@pytest.mark.parametrize(
    ("file", "name"), [("config.yaml", "fae.yaml"), ("workflow/configs/demo.yaml", "demo/fae.yaml")]
)
def test_the_table_behind_figure_1_shows_what_its_configuration_sweeps(file: str, name: str):
    values = read_configuration([ROOT / file], root=ROOT).values
    (benchmark,) = [each for each in values["benchmarks"] if isinstance(each, dict) and each["name"] == "fae"]
    options = {**DEFAULTS, **benchmark["options"]}
    levels = {"scale": "scale", "rotation": "degrees", "shift": "shift", "joint": "joint"}
    spec = read_spec(SPECS / name)
    points = [column.at for column in spec.columns if column.at and column.at.factor]
    assert {point.factor for point in points} == {*levels}
    for point in points:
        assert point.factor is not None and point.level in options[levels[point.factor]]
        # Alone each error is as large as it is in the joint one.
        assert point.level == {**options["joint_maximum"], "joint": 1.0}[levels[point.factor]]
    rows = [row for row in spec.rows or () if row.experiment]
    qualities = {"hq" if each == "hq" else f"r{each}" for each in options["qualities"]}
    assert {row.quality for row in rows} == qualities
    assert {column.metric for column in spec.columns} <= {*options["metric"]}
    assert f"paper_tables/specs/{name}" in values["tables"]
    assert spec.source is None and not any(row.reported for row in rows)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["fae", "demo/fae"])
def test_every_format_has_every_cell(tmp_path: Path, name: str, format: Any):
    spec = SPECS / f"{name}.yaml"
    fill_table(tmp_path, spec)
    rows = cells(render_table(spec, tmp_path, mode="reproduced", format="csv"))
    assert len(rows) == len(read_spec(spec).rows or ())
    text = unlinked(render_table(spec, tmp_path, mode="reproduced", format=format))
    for written, sign in (("$-$", "-"), ("−", "-"), ("$+$", "+")):
        text = text.replace(written, sign)
    for row in rows:
        numbers = [row[f"{column.id}_mean"] for column in read_spec(spec).columns]
        assert all(number and number in text for number in numbers)
