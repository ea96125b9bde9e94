from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aroface.errors import InputError
from aroface.reporting.tables.spec import read_spec
from repository import SPECS

GOOD = {
    "name": "small",
    "caption": "Small.",
    "label": "tab:small",
    "source": {"title": "a page"},
    "footnotes": {"rerun": "run again"},
    "row_headers": [{"key": "method", "label": "Method"}],
    "columns": [
        {"id": "rank1", "label": "Rank1", "benchmark": "tinyface", "metric": "rank1", "decimals": 2},
        {"id": "rank5", "label": "Rank5", "benchmark": "tinyface", "metric": "rank5", "decimals": 2},
    ],
    "rows": [{"id": "a", "method": "A", "reported": {"rank1": "67.6"}}, {"id": "b", "method": "B", "rerun": True}],
}


SOURCES = {"sources": {"b": {"title": "B"}, "c": {"title": "C"}}}
EXPERIMENT = {"method": "a", "dataset": "d", "arch": "r"}


def write(tmp_path: Path, content: dict) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_reported_value_without_quotes_says_so(tmp_path: Path):
    path = tmp_path / "table.yaml"
    path.write_text((SPECS / "tinyface.yaml").read_text().replace('"67.32"', "67.32"))
    with pytest.raises(InputError, match=r"rank1: 67\.32 is not of type 'string', 'null'; write it in quotes"):
        read_spec(path)


@pytest.mark.parametrize("path", sorted(SPECS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(SPECS)))
def test_every_spec_of_the_repository_is_valid(path: Path):
    spec = read_spec(path)
    assert spec.name == path.stem
    assert spec.label == "tab:" + "-".join(path.relative_to(SPECS).with_suffix("").parts), "one label in a document"


def test_a_good_spec_is_read(tmp_path: Path):
    spec = read_spec(write(tmp_path, GOOD))
    assert spec.rows is not None
    assert spec.rows[0].reported == {"rank1": "67.6"}
    assert spec.rows[1].rerun


def row(**change: object) -> dict:
    return {"rows": [{"id": "a", "method": "A", **change}]}


def column(**change: object) -> dict:
    return {"columns": [GOOD["columns"][0], {**GOOD["columns"][1], **change}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "'colour' was unexpected"),
        (row(reported={"rank1": 67.6}), "rows"),
        (row(reported={"rank2": "67.6"}), "row A reports column rank2, which is not there; expected rank1, rank5"),
        (row(difference={"of": "a", "minus": "c"}), "row A compares row a, which is not there"),
        ({"rows": [{"method": "A"}, {"method": "A"}]}, "row A stands 2 times"),
        ({"rows": [{"id": "a", "method": "A"}, {"id": "a", "method": "B"}]}, "row id a stands 2 times"),
        ({"rows": [{"training_set": "MS1MV2"}]}, "row without method"),
        (column(id="rank1"), "column rank1 stands 2 times"),
        (column(average_of=["rank1", "rank5"]), "columns.1"),
        ({"columns": [{"id": "x", "label": "x", "decimals": 2, "average_of": ["a", "b"]}]}, "x averages a"),
        ({"block_by": "venue"}, "row header venue, which is not there; expected method"),
        ({"source": {"title": "a page", "url": "page"}}, "source.url"),
        ({"footnotes": {}}, "a star without a footnote"),
        ({"sources": {"b": {}}}, "'title' is a required property"),
        ({"sources": {"b": {"title": "B", "commit": "1234567"}}}, "'url' is a dependency of 'commit'"),
        ({"sources": {"b": {"title": "B", "url": "https://b.org/}"}}}, "url"),
        (row(published={"b": {"rank1": "67.6"}}), "no source 'b'; expected sources that declare it"),
        ({**SOURCES, **row(published={"d": {"rank1": "67.6"}})}, "no source 'd'; expected one of sources: b, c"),
        ({**SOURCES, **row(published={"b": {"rank2": "67.6"}})}, "row A publishes column rank2, which is not there"),
        ({**SOURCES, **row(published={"b": {"rank1": 67.6}})}, "rows"),
        ({**SOURCES, **row(published={"b": {"rank1": "1"}, "c": {"rank1": "2"}})}, "one source; b has it, too"),
        (
            {**SOURCES, **row(reported={"rank1": None}, published={"b": {"rank1": "1"}})},
            "rank1 in reported and in published",
        ),
        ({**SOURCES, "published": [{"experiment": EXPERIMENT, "values": {"b": {"rank1": "1"}}}]}, "beside rows"),
        (
            {**SOURCES, "rows": "experiments", "published": [{"experiment": EXPERIMENT, "values": {"b": {"x": "1"}}}]},
            "published row of a has column x, which is not there",
        ),
        (
            {**SOURCES, "evaluations": [{"weights": "W", "values": {"b": {"x": "1"}, "c": {"x": "2"}}}]},
            "evaluation of W has column x, which is not there",
        ),
        ({**SOURCES, "evaluations": [{"weights": "W", "values": {"b": {"rank1": "1"}}}]}, "evaluations"),
    ],
)
def test_a_bad_spec_is_one_clear_line(tmp_path: Path, change: dict, message: str):
    path = write(tmp_path, {**GOOD, **change})
    with pytest.raises(InputError) as error:
        read_spec(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_reported_values_need_a_source(tmp_path: Path):
    content = {key: value for key, value in GOOD.items() if key != "source"}
    with pytest.raises(InputError, match="A: reported values without a source"):
        read_spec(write(tmp_path, content))
