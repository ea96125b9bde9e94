"""Free text: whatever people write works or is refused in one line, before other tools read it as theirs."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from matplotlib import cbook
from matplotlib.text import Text

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.files import read_json, write_json
from aroface.reporting.document import compile_document, latex_missing
from aroface.reporting.figures.layout import figure_text, looks
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.tables.render import render_table, write_table
from aroface.schemas import validate
from made_up_records import write_record

SCHEMAS = sorted(Path("src/aroface/_schemas").glob("*.schema.json"))
WORKING = [
    "{run}", "{", "}}", "{0}", "%(x)s", "50 % of", "$x$ and $", "$\\frac{1}$", "a_b^c", "\\input{x}", "#1 & ~",
    "<b>&amp;", "[red]x[/red]", "| a | *b*", "=1+1", "-- x", "größe 中", "\\VAR{x} %% if", "'\"`", "{{ x }}",
]  # fmt: skip
REFUSED = ["a\x00b", "a\x07", "\x1b[31m", "a\x7f", "a\x85b", "a\u2028b", "\udce9", "a\x0cb"]


def table(text: str) -> dict[str, Any]:
    """A table specification with ``text`` in every field that takes any."""
    return {
        "name": "odd", "label": "tab:odd", "caption": text, "note": text,
        "source": {"title": text}, "footnotes": {"rerun": text},
        "row_headers": [{"key": "method", "label": text}, {"key": "venue", "label": text}],
        "columns": [{"id": "c", "label": text, "group": text, "benchmark": "b", "metric": "m", "decimals": 2}],
        "rows": [{"method": text, "venue": text, "reported": {"c": "1.00"}, "rerun": True}],
    }  # fmt: skip


@pytest.mark.parametrize("text", WORKING)
def test_tables_print_any_text(tmp_path: Path, text: str) -> None:
    spec = tmp_path / "odd.yaml"
    spec.write_text(yaml.safe_dump(table(text)))
    for form in ("latex", "markdown", "html", "csv", "terminal"):
        if form == "latex" and "中" in text:
            with pytest.raises(InputError, match=r"LaTeX cannot print '中' \(U\+4E2D"):
                render_table(spec, tmp_path, mode="reported", format=form)
        else:
            assert "1.00" in render_table(spec, tmp_path, mode="reported", format=form)


@pytest.mark.latex
def test_latex_prints_any_text(tmp_path: Path) -> None:
    if missing := latex_missing():
        pytest.skip(missing)
    fragments = []
    for number, text in enumerate(text for text in WORKING if "中" not in text):
        spec = tmp_path / f"{number}.yaml"
        spec.write_text(yaml.safe_dump(table(text)))
        write_table(spec, tmp_path, tmp_path / f"{number}.tex", mode="reported", format="latex")
        fragments.append(tmp_path / f"{number}.tex")
    compile_document(fragments, [], tmp_path / "paper.pdf", note=" ".join(text for text in WORKING if "中" not in text))


@pytest.mark.parametrize("text", WORKING)
def test_figures_print_labels_as_they_are(text: str) -> None:
    label = looks([RecordedExperiment("m", "d", "a")], {"m": text})[RecordedExperiment("m", "d", "a")].label
    assert label == figure_text(text)
    shown, is_mathematics = Text()._preprocess_math(label)
    assert is_mathematics == ("_" in text)
    if is_mathematics:
        assert cbook.is_math_text(label)
        assert label.replace(r"$\_$", "_").replace(r"\$", "$") == text
    else:
        assert shown == text


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.parametrize("place", ["note", "label", "key", "list"])
def test_control_characters_are_one_line(text: str, place: str) -> None:
    values: dict[str, tuple[Any, str]] = {
        "note": ({"note": text}, "note"),
        "label": ({"data": {"mine": {"label": text}}}, "data.mine.label"),
        "key": ({"data": {text: {}}}, "data"),
        "list": ({"tables": ["x", text]}, "tables.1"),
    }
    value, key = values[place]
    with pytest.raises(InputError) as caught:
        validate(value, "config", file="c.yaml")
    assert str(caught.value).startswith(f"c.yaml: {key}: ")
    assert re.search(r"holds the control character U\+[0-9A-F]{4}; expected printable text$", str(caught.value))
    assert str(caught.value).isprintable()


def patterns(schema: Any) -> list[str]:
    """All patterns of a schema that say how a text ends."""
    if isinstance(schema, list):
        return [pattern for each in schema for pattern in patterns(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    own += list(schema.get("patternProperties", {}))
    return own + [pattern for each in schema.values() for pattern in patterns(each)]


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_no_pattern_ends_before_a_line_break(path: Path) -> None:
    """A dollar sign in a pattern is its end, which is all that may be replaced."""
    from aroface.schemas import _whole_text

    for pattern in patterns(read_json(path)):
        assert not re.search(r"\\\$|\[[^\]]*\$", pattern)
    assert not any("$" in pattern for pattern in patterns(_whole_text(read_json(path))))


@pytest.mark.parametrize(
    ("schema", "value", "key"),
    [
        ("methods", {"arcface\n": {"label": "x", "head": {"name": "arcface"}, "adversary": {"kind": "none"}}}, ""),
        ("methods", {"a": {"label": "x\n", "head": {"name": "arcface"}, "adversary": {"kind": "none"}}}, "a.label: "),
        ("table", {**table("x"), "name": "odd\n"}, "name: "),
        ("table", {**table("x"), "label": "tab:x\n"}, "label: "),
        ("site", {"gpu": {"type": "a100\n"}}, "gpu.type: "),
    ],
)
def test_names_end_where_they_end(schema: str, value: Any, key: str) -> None:
    with pytest.raises(InputError, match=rf"^file: {key}'.*\\n' does not match .*\$'$"):
        validate(value, schema, file="file")


@pytest.mark.parametrize("key", ["run", "benchmark", "experiment.method", "experiment.dataset", "experiment.arch"])
@pytest.mark.parametrize("text", ["a\n", "a\tb", "\r"])
def test_names_in_records_are_one_line(tmp_path: Path, key: str, text: str) -> None:
    path = write_record(tmp_path, "arcface", {"rank1": 0.5})
    record = read_json(path)
    validate(record, "record")
    holder, _, name = key.rpartition(".")
    (record[holder] if holder else record)[name] = text
    with pytest.raises(InputError, match=rf"^file: {key}: '.*' does not match"):
        validate(record, "record", file="file")


@pytest.mark.parametrize("text", ["a" * 100_000, "\x1b" * 1000, "a b " * 5000])
def test_places_in_a_file_are_cut(text: str) -> None:
    line = str(InputError("missing", file="f" * 500, where=text, remedy="get it again"))
    assert line.startswith(f"{'f' * 500}: {text.encode('unicode_escape').decode()[:100]}")
    assert line.endswith("…: missing; get it again")
    assert len(line) < 2000


def test_name_that_is_not_utf8_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"list.json: .*caf\\udce9.jpg.* is not UTF-8; rename files and folders"):
        write_json(tmp_path / "list.json", {"files": {"caf\udce9.jpg": 1}})
    assert not (tmp_path / "list.json").exists()
    assert main(["data", "info", "caf\udce9"]) == 2
    assert capsys.readouterr().err == "aroface: error: 'caf\\udce9' is not UTF-8; rename the file or folder\n"


@pytest.mark.parametrize("digits", [16, 20, 5000])
def test_huge_number_of_classes_is_one_line(tmp_path: Path, digits: int) -> None:
    from aroface.datasets.formats.record_set import read_property

    (tmp_path / "property").write_text(f"{'9' * digits},112,112\n")
    with pytest.raises(InputError, match=r"property: reads '9+.*expected one line: number of classes,112,112$"):
        read_property(tmp_path / "property")


def test_commands_for_people_are_quoted(tmp_path: Path) -> None:
    """They are pasted into shells."""
    from aroface.datasets.registry import missing, read_benchmarks

    entry = read_benchmarks(Path("workflow/registries/benchmarks.yaml"))["lfw"]
    line = missing(entry, tmp_path / "it's $(here)")
    assert line is not None
    assert shlex.join(["--data-dir", f"{tmp_path}/it's $(here)"]) in line


def test_folder_that_is_not_utf8_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (b"anna", b"ren\xe9", b"otto", b"ida"):
        folder = tmp_path / "people" / os.fsdecode(name)
        folder.mkdir(parents=True)
        for number in range(2):
            image = cv2.imencode(".png", np.full((112, 112, 3), number, np.uint8))[1]
            (folder / f"{number}.png").write_bytes(image.tobytes())
    words = ["data", "pack", str(tmp_path / "people"), "--out", str(tmp_path / "packed"), "--test-fraction", "0.5"]
    assert main(words) == 2
    line = r"aroface: error: .*people/ren\\udce9: the name is not UTF-8; rename it, for example by convmv .*\n"
    assert re.fullmatch(line, capsys.readouterr().err)
