from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.claims.claims import Claims, read_claims
from aroface.reporting.claims.lint import LintFinding, lint
from aroface.reporting.tables.spec import Spec, read_spec
from repository import ROOT

SPECS = [read_spec(path) for path in sorted((ROOT / "paper_tables" / "specs").glob("*.yaml"))]
CLAIMS = ROOT / "paper_tables" / "claims.yaml"

COLUMNS = [
    {"id": "rank1", "label": "Rank1", "benchmark": "t", "metric": "rank1", "decimals": 2},
    {"id": "rank5", "label": "Rank5", "benchmark": "t", "metric": "rank5", "decimals": 2},
    {"id": "tar5", "label": "1e-5", "benchmark": "t", "metric": "tar_at_far_1e-5", "decimals": 2},
    {"id": "tar4", "label": "1e-4", "benchmark": "t", "metric": "tar_at_far_1e-4", "decimals": 2},
]


def spec(tmp_path: Path, *rows: dict, **change: object) -> Spec:
    content = {
        "name": "small",
        "caption": "Small.",
        "label": "tab:small",
        "source": {"title": "a page"},
        "row_headers": [{"key": "method", "label": "Method"}, {"key": "training_set", "label": "Set"}],
        "columns": COLUMNS,
        "block_by": "training_set",
        "rows": [{"training_set": "S", **row} for row in rows],
        **change,
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return read_spec(path)


def row(method: str, *values: str, **change: object) -> dict:
    keys = [column["id"] for column in COLUMNS]
    return {"method": method, "reported": dict(zip(keys, values, strict=False)), **change}


def found(*specs: Spec) -> list[tuple[str, str]]:
    return [(each.rule, each.place) for each in lint(specs)]


def test_what_is_odd_in_the_source():
    findings = lint(SPECS, read_claims(CLAIMS, SPECS))
    assert [(each.rule, each.place) for each in findings] == [
        ("emphasis", "ijbs/ArcFace+ARoFace@MS1MV2"),
        ("digits", "ijbs/ArcFace+ARoFace@MS1MV2"),
        ("misprint", "tinyface/AdaFace+ARoFace@WebFace4M"),
        ("misprint", "tinyface/AdaFace+ARoFace@WebFace12M"),
        ("duplicate", "tinyface/ArcFace+CFSM@MS1MV2"),
        ("left out", "tinyface/AdaFace@MS1MV2"),
        ("left out", "ijbs/AdaFace@MS1MV2"),
        ("left out", "ijbs/CurricularFace@MS1MV2"),
        ("rerun", "tinyface/AdaFace@WebFace4M"),
        ("sources", "ijbs/URL@MS1MV2"),
        ("sources", "ijbs/AdaFace@WebFace12M"),
        ("remark", "tinyface/ArcFace+CFSM@MS1MV2"),
        ("points", "ijbs_gain"),
        ("baseline", "ijbs_gain"),
        ("baseline", "ijbs_gain"),
        ("selection", "ijbs_gain"),
        ("points", "tinyface_gain"),
        ("baseline", "tinyface_gain"),
    ]
    by_rule = {each.rule: each for each in findings}
    # from the authors' page: URL has 61.98, the bold row 60.66; 67.6 among two decimals; 68.80 of two rows
    assert by_rule["emphasis"].text == "60.66 is bold in Surveillance-to-Booking Rank1, URL@MS1MV2 has 61.98"
    assert by_rule["digits"].text.startswith("67.6 in Surveillance-to-Single Rank5")
    assert "68.80 stands 2 times in Rank5: also in ArcFace@MS1MV3" in by_rule["duplicate"].text
    # 61.65 − 59.79, of URL; 61.65 − 65.26 and 67.32 − 68.21, of AdaFace as its own authors have it
    baselines = [each.text for each in findings if each.rule == "baseline"]
    assert baselines[0].endswith("against URL@MS1MV2 (59.79) it is +1.86")
    assert baselines[1] == "against AdaFace@MS1MV2, which has 65.26 (mk-minchul/AdaFace), it is −3.61"
    assert baselines[2] == "against AdaFace@MS1MV2, which has 68.21 (mk-minchul/AdaFace), it is −0.89"
    left_out = [each.text for each in findings if each.rule == "left out"]
    assert ["in 1 of 2 columns" in left_out[0], "in 9 of 9" in left_out[1], "in 8 of 9" in left_out[2]] == [True] * 3
    assert "72.02/74.52 is what mk-minchul/AdaFace has to the digit" in by_rule["rerun"].text
    assert by_rule["sources"].text.endswith("59.40, there 59.39, in Surveillance-to-Single TPIR 1 %")
    assert by_rule["selection"].text.endswith("+4.30, +3.80, +3.30, +1.70, +1.39, +1.08, +0.93, +0.82")
    assert [each.explained for each in findings if each.rule == "misprint"] == [True, True]
    assert sum(each.explained for each in findings) == 2


def test_nothing_odd_is_nothing_found(tmp_path: Path):
    assert found(spec(tmp_path, row("A", "50.00", "60.00"), row("B", "51.00", "61.00", ours=True))) == []


def test_a_name_twice_in_print_is_a_misprint_only_with_other_values(tmp_path: Path):
    misprint = {"training_set": "T", "as_printed": {"training_set": "S", "reason": "a misprint"}}
    other = spec(tmp_path, row("A", "50.00"), row("A", "51.00", **misprint))
    assert found(other) == [("misprint", "small/A@S"), ("misprint", "small/A@T")]
    same = spec(tmp_path, row("A", "50.00"), row("A", "50.00", **misprint))
    assert ("misprint", "small/A@S") not in found(same)


def test_a_bold_value_below_another_of_its_block(tmp_path: Path):
    table = spec(tmp_path, row("A", "52.00", "60.00"), row("B", "51.00", "61.00", ours=True))
    assert found(table) == [("emphasis", "small/B@S")]
    elsewhere = spec(tmp_path, {**row("A", "52.00"), "training_set": "T"}, row("B", "51.00", ours=True))
    assert found(elsewhere) == []
    lower = [{**COLUMNS[0], "better": "lower"}]
    errors = spec(tmp_path, row("A", "52.00"), row("B", "51.00", ours=True), columns=lower)
    assert found(errors) == []


def test_rates_that_fall_where_they_cannot(tmp_path: Path):
    table = spec(tmp_path, row("A", "50.00", "49.99", "90.00", "89.00"), row("B", "40.00", "40.00", "80.00", "80.00"))
    assert found(table) == [("order", "small/A@S"), ("order", "small/A@S")]
    texts = [each.text for each in lint([table])]
    assert texts == ["49.99 in Rank5 is below 50.00 in Rank1", "89.00 in 1e-4 is below 90.00 in 1e-5"]


@pytest.mark.parametrize(("digits", "count"), [("50.1", 1), ("50.123", 1), ("50.12", 0)])
def test_uneven_digits(tmp_path: Path, digits: str, count: int):
    table = spec(tmp_path, row("A", digits), row("B", "51.00"), row("C", "52.00"))
    assert found(table) == [("digits", "small/A@S")] * count


def test_dashes_are_no_values(tmp_path: Path):
    empty = {"method": "C", "reported": {"rank1": None}}
    assert found(spec(tmp_path, row("A", "50.00"), {**empty, "method": "B"}, empty)) == []


def test_the_command_lists_findings(capsys: pytest.CaptureFixture[str]):
    words = ["claims", "--lint", "--specs", str(ROOT / "paper_tables/specs"), "--claims", str(CLAIMS)]
    assert main(words) == 0
    assert "60.66 is bold" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert len(entries) == 18
    assert {*entries[0]} == {*LintFinding.__dataclass_fields__}
    assert main([*words, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("| Rule | Place | Finding |")


THERE = {"a-paper": {"title": "A paper", "short": "A"}}


def literature(tmp_path: Path, table: Spec, *rows: dict, remarks: Sequence[dict] = (), **change: object) -> Claims:
    """A claim of a gain of B over A on set S, and rows of the literature."""
    claim = {"id": "gain", "claim": "+1", "stands": "abstract", "kind": "gain", "claimed": "1", "table": "small"}
    claim |= {"columns": ["rank1"], "pairs": [{"of": "B@S", "minus": "A@S"}]}
    placed = [{"table": "small", "source": "a-paper", **row} for row in rows]
    said = [{"table": "small", "source": "a-paper", **remark} for remark in remarks]
    content = {"source": {"title": "a page"}, "sources": THERE, "claims": [claim], **change}
    content["literature"] = {"rows": placed, "remarks": said}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    return read_claims(path, [table])


@pytest.mark.parametrize(
    ("entry", "change", "expected"),
    [
        ({"row": "C@S", "values": {"rank1": "52.00"}}, {}, ["left out small/C@S", "baseline gain"]),
        ({"row": "C@S", "values": {"rank1": "50.50"}}, {}, ["baseline gain"]),
        ({"row": "C@S", "values": {"rank1": "49.00"}}, {}, []),
        ({"row": "C@T", "values": {"rank1": "52.00"}}, {}, []),  # another training set
        ({"row": "C@S", "values": {"rank5": "60.00"}}, {}, []),  # a column that nobody prints
        ({"row": "A@S", "values": {"rank1": "50.00"}}, {}, []),
        ({"row": "A@S", "values": {"rank1": "50.0"}}, {}, []),  # the same value
        ({"row": "A@S", "values": {"rank1": "49.90"}}, {}, ["sources small/A@S"]),
        ({"row": "B@S", "values": {"rank1": "50.90"}}, {}, ["baseline gain"]),
        ({"row": "A@S", "values": {"rank1": "50.00"}}, {"rerun": True}, ["rerun small/A@S"]),
        ({"row": "A@S", "values": {"rank1": "50.00", "rank5": "60.00"}}, {"rerun": True}, []),
    ],
)
def test_what_the_literature_says(tmp_path: Path, entry: dict, change: dict, expected: list[str]):
    footnotes = {"footnotes": {"rerun": "again"}}
    table = spec(tmp_path, row("A", "50.00", **change), row("B", "51.00", ours=True), **footnotes)
    findings = lint([table], literature(tmp_path, table, entry))
    assert [f"{each.rule} {each.place}" for each in findings] == expected
    assert all("(A)" in each.text or " A " in each.text for each in findings), "the source by its name"


def test_remarks_are_of_rows_that_are_there(tmp_path: Path):
    table = spec(tmp_path, row("A", "50.00"), row("B", "51.00", ours=True))
    (found,) = lint([table], literature(tmp_path, table, remarks=[{"row": "A@S", "text": "asked about"}]))
    assert (found.rule, found.place, found.text) == ("remark", "small/A@S", "asked about (A)")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"row": "C@S", "values": {"rank9": "1"}}, "no column 'rank9'"),
        ({"row": "C@S", "values": {"rank1": "1"}, "table": "large"}, "no table 'large'"),
        ({"row": "C@S", "values": {"rank1": "1"}, "source": "b"}, "no source 'b'"),
        ({"row": "C@S", "text": "odd"}, "no row 'C@S'"),
    ],
)
def test_literature_on_what_is_not_there(tmp_path: Path, entry: dict, message: str):
    table = spec(tmp_path, row("A", "50.00"), row("B", "51.00"))
    with pytest.raises(InputError, match=message) as error:
        if "text" in entry:
            literature(tmp_path, table, remarks=[entry])
        else:
            literature(tmp_path, table, entry)
    assert "claims.yaml: literature, " in str(error.value)
