"""Every table in every mode and form, against values computed here from the records and the specification's YAML."""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from aroface.files import write_text
from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.render import FORMATS, render_table
from made_up_tables import fill_experiment, fill_table
from rendered import body, numbers, stands_in
from repository import GOLDEN, SPECS

NAMES = [path.relative_to(SPECS).with_suffix("").as_posix() for path in sorted(SPECS.rglob("*.yaml"))]
MODES = ("reported", "reproduced", "both", "delta")
VALUES = ("reported", "mean", "delta")


@pytest.fixture(scope="module", params=NAMES)
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A specification and records for it: three seeds, but one of the first experiment and none of the last."""
    path = SPECS / f"{request.param}.yaml"
    folder = tmp_path_factory.mktemp("records")
    spec = yaml.safe_load(path.read_text())
    if spec["rows"] == "experiments":
        for number, method in enumerate(("arcface", "arcface_aroface", "adaface")):
            for seed in range(3):
                fill_experiment(folder, spec, method, 0.5 + number / 9 + seed / 70, seed)
    else:
        fill_table(folder, path)
    runs = sorted({record.parent.name.rsplit("-s", 1)[0] for record in folder.glob("*/*.json")})
    for record in folder.glob("*/*.json"):
        experiment = record.parent.name.rsplit("-s", 1)[0]
        if experiment == runs[-1] or (experiment == runs[0] and "-s0-" not in record.parent.name):
            record.unlink()
    return path, folder


def seeds_of(spec: Mapping[str, Any], column: Mapping[str, Any], row: Mapping[str, Any], records: Path) -> Any:
    """Per cent by seed, from the JSON files themselves."""
    if "average_of" in column:
        parts = {each["id"]: each for each in spec["columns"]}
        found = [seeds_of(spec, parts[name], row, records) for name in column["average_of"]]
        common = set.intersection(*({*each} for each in found))
        return {seed: statistics.fmean(each[seed] for each in found) for seed in common}
    values = {}
    for path in records.glob(f"*/{column['benchmark']}.json"):
        record = json.loads(path.read_text())
        if row["experiment"].items() <= record["experiment"].items():
            values[record["experiment"]["seed"]] = 100 * value_of(record, column, row)
    return values


def value_of(record: Mapping[str, Any], column: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """A metric of the record or, where the column names a point of the sweep, the value or drop there."""
    if "at" not in column:
        return float(record["metrics"][column["metric"]])
    at = {"quality": row.get("quality"), **column["at"]}
    if "factor" not in at:
        return float(record["metrics"][f"{column['metric']}_{at['quality']}"])
    [point] = [
        point
        for point in record["series"]
        if (point["quality"], point["factor"], point["level"]) == (at["quality"], at["factor"], at["level"])
    ]
    return float(point[at.get("show", "value")])


def rows_of(spec: Mapping[str, Any], records: Path) -> list[dict[str, Any]]:
    """The rows of a specification, or one for each experiment that has records."""
    if spec["rows"] != "experiments":
        return list(spec["rows"])
    found = {path.parent.name.split("-")[0] for path in records.glob("*/*.json")}
    return [{"experiment": {"method": method}} for method in sorted(found)]


def in_print(row: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """The row's values in print by column: digits, and the source of those that are not the authors'."""
    others = row.get("published") or row.get("values") or {}
    found = {name: (digits, source) for source, values in others.items() for name, digits in values.items()}
    return found | {name: (digits, None) for name, digits in row.get("reported", {}).items()}


def as_csv(path: Path, records: Path, mode: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render_table(path, records, mode=mode, format="csv"))))


def assert_rounded(text: str, value: float | None, decimals: int) -> None:
    """Digits that print a value, or none where there is none."""
    if value is None:
        assert text == ""
        return
    assert len(text.partition(".")[2]) == decimals
    assert abs(float(text) - value) <= 0.5 * 10**-decimals + 1e-9


@pytest.mark.parametrize("mode", MODES)
def test_every_cell_is_computed_rightly(table: tuple[Path, Path], mode: str):
    path, records = table
    spec = yaml.safe_load(path.read_text())
    rows, printed = rows_of(spec, records), as_csv(path, records, mode)
    if mode == "reported" and spec["rows"] == "experiments":
        rows = spec.get("published", [])  # of the others nobody reported anything
    assert len(printed) == len(rows)
    by_id = {row.get("id"): row for row in rows}
    reported_columns = {name for row in rows for name in in_print(row)}
    for row, cells in zip(rows, printed, strict=True):
        for column in spec["columns"]:
            name, decimals = column["id"], column["decimals"]
            reported, source = in_print(row).get(name, (None, None))
            if mode != "reproduced":
                assert cells.get(f"{name}_source", "") == (source or "")
            if mode == "reported" or (mode != "reproduced" and name in reported_columns):
                assert cells[f"{name}_reported"] == (reported or "")
            if mode == "reported":
                continue
            if "difference" in row:
                of, minus = (seeds_of(spec, column, by_id[row["difference"][end]], records) for end in ("of", "minus"))
                values = [of[seed] - minus[seed] for seed in sorted({*of} & {*minus})]
            else:
                values = [*seeds_of(spec, column, row, records).values()] if "experiment" in row else []
            mean = statistics.fmean(values) if values else None
            assert_rounded(cells[f"{name}_mean"], mean, decimals)
            if "difference" not in row:
                assert_rounded(cells[f"{name}_sd"], statistics.stdev(values) if len(values) > 1 else None, decimals)
            if mode == "delta" and name in reported_columns:
                both = cells[f"{name}_mean"] and reported
                gap = float(cells[f"{name}_mean"]) - float(reported or 0) if both else None
                assert_rounded(cells[f"{name}_delta"], gap, decimals)
    filled = [cells for cells in printed if any(value for key, value in cells.items() if key.endswith("_mean"))]
    assert mode == "reported" or len(filled) > 0


def test_the_fragment_is_the_one_that_was_looked_at(table: tuple[Path, Path]):
    """``GOLDEN=write`` in the environment takes what is rendered; look at the difference before it is committed."""
    path, records = table
    golden = GOLDEN / path.relative_to(SPECS).with_suffix(".tex")
    text = render_table(path, records, mode="delta")
    if os.environ.get("GOLDEN") == "write":
        write_text(golden, text)
    assert text == golden.read_text(encoding="utf-8")


def streams(path: Path, printed: Sequence[Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """Values and deviations of the CSV form in the order in which the other forms print them."""
    spec = yaml.safe_load(path.read_text())
    columns = [column["id"] for column in spec["columns"]]
    below = spec.get("layout", {}).get("parts") == "below"
    values, deviations = [], []
    for cells in printed:
        keys = [f"{name}_{value}" for name in columns for value in VALUES]
        if below:
            keys = [f"{name}_{value}" for value in VALUES for name in columns]
        values += [cells[key] for key in keys if cells.get(key)]
        deviations += [cells[f"{name}_sd"] for name in columns if cells.get(f"{name}_sd")]
    return values, deviations


@pytest.mark.parametrize("format", [format for format in FORMATS if not format.startswith("csv")])
@pytest.mark.parametrize("mode", MODES)
def test_every_form_prints_every_value_in_its_place(table: tuple[Path, Path], mode: str, format: Any):
    path, records = table
    whole = TableForm(width=1000)  # in parts below one another, the values stand in another order
    text = body(render_table(path, records, mode=mode, format=format, form=whole), format)
    values, deviations = streams(path, as_csv(path, records, mode))
    found = numbers(text)
    assert stands_in(values, found)
    assert stands_in(deviations, found)
    if mode == "reproduced" and yaml.safe_load(path.read_text())["rows"] != "experiments":
        assert "--" in text, "one experiment has no records"
