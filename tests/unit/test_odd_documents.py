"""YAML and JSON that parsers take, crash on or fail at: each ends in one line with file and place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aroface import files, schemas
from aroface.cli.main import main
from aroface.datasets.hashes import FileHashes
from aroface.datasets.manifest import read_manifest
from aroface.datasets.preparation.align import read_report
from aroface.embedding.feature_store import open_features
from aroface.errors import InputError
from aroface.files import DEPTH, parse_json, read_json
from aroface.models.run_folder import read_checkpoint
from aroface.planning.config import read_configuration
from aroface.reporting.records import load_records, read_runs_file
from aroface.schemas import parse_yaml, read_yaml, validate
from aroface.training.recipe import read_run
from made_up_records import write_record

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)
ODD_YAML: dict[str, tuple[str, str]] = {
    "brackets": ("[" * 200_000, "line 1: more than 64 levels"),
    "closed brackets": ("[" * 20_000 + "]" * 20_000, "more than 64 levels"),
    "braces": ("{a: " * 200_000, "more than 64 levels"),
    "dashes": ("- " * 200_000, "more than 64 levels"),
    "questions": ("? " * 200_000, "more than 64 levels"),
    "indents": ("".join(" " * n + "a:\n" for n in range(70)), "line 6\\d: more than 64 levels"),
    "many laughs": (LAUGHS, "more than 200,000 values, aliases unfolded"),
    "alias of itself": ("a: &a [*a]", "the alias a holds itself"),
    "unknown alias": ("a: *b", r"line 1, column 4: not YAML \(found undefined alias"),
    "date": ("a: 1\nb: 2001-99-99", r"line 2, column 4: not YAML \(timestamp '2001-99-99' cannot be read\)"),
    "time": ("b: 2001-01-01 99:99:99", "timestamp '2001-01-01 99:99:99' cannot be read"),
    "no date": ("b: !!timestamp abc", "timestamp 'abc' cannot be read"),
    "no number": ("a:\n  b: !!int abc", "line 2, column 6: .*int 'abc' cannot be read"),
    "no float": ("b: !!float abc", "float 'abc' cannot be read"),
    "no truth": ("b: !!bool abc", "bool 'abc' cannot be read"),
    "no bytes": ("b: !!binary é", "not YAML"),
    "no mapping": ("b: !!map [1]", "not YAML"),
    "no list": ("b: !!seq {a: 1}", "not YAML"),
    "no set": ("b: !!set [1]", "not YAML"),
    "no order": ("b: !!omap {a: 1}", "not YAML"),
    "no merge": ("a: {<<: 7}", "not YAML"),
    "nothing as a number": ("a: !!int ''", "int '' cannot be read"),
    "unknown tag": ("b: !!python/object:os.system x", "not YAML"),
    "list as a key": ("a: 1\n? [1, 2]\n: 3", "line 2, column 3: not YAML .a sequence as a key"),
    "mapping as a key": ("{{a: 1}: 2}", "a mapping as a key"),
    "long integer": ("b: " + "9" * 5000, "int '9+…' cannot be read"),
    "long octal": ("b: 0o" + "7" * 5000 + "\nc: [", "not YAML"),
    "twice": ("a: 1\na: 2", "line 2, column 1: .*key 'a' is written twice"),
    "terminal codes": ("a: \x1b[2J", "not YAML"),
    "two documents": ("a: 1\n---\nb: 2", "not YAML"),
    "tabs": ("a:\n\t- 1", "not YAML"),
    "cut": ("a: [1,", "not YAML"),
    "anchors": ("".join(f"&{'x' * 5000} " for _ in range(9)) + "[", "not YAML"),
}


@pytest.mark.parametrize("name", ODD_YAML)
def test_odd_yaml_is_one_line(name: str, tmp_path: Path) -> None:
    text, message = ODD_YAML[name]
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"a\.yaml: .*{message}") as caught:
        read_yaml(tmp_path / "a.yaml")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


ODD_JSON: dict[str, tuple[str, str]] = {
    "brackets": ("[" * 200_000, "more than 64 levels"),
    "closed brackets": ("[" * 500 + "]" * 500, "more than 64 levels"),
    "braces": ('{"a":' * 100 + "1" + "}" * 100, "more than 64 levels"),
    "not a number": ('{"a": NaN}', r"not JSON \(NaN is no number\)"),
    "infinity": ("[Infinity]", "Infinity is no number"),
    "minus infinity": ("[-Infinity]", "-Infinity is no number"),
    "too large": ("[1e999]", "1e999 is beyond the range of numbers"),
    "too small": ("[-1e999]", "-1e999 is beyond the range of numbers"),
    "long integer": ("[" + "9" * 5000 + "]", "an integer of 5,000 digits"),
    "shorter integer": ("[" + "9" * 400 + "]", "an integer of 400 digits"),
    "long float": ("[" + "9" * 5000 + ".0]", "is beyond the range of numbers"),
    "half a pair": (r'{"a": "\ud800"}', "half of a surrogate pair"),
    "half a pair in a key": (r'{"\udfff": 1}', "half of a surrogate pair"),
    "control character": ('["\x1b"]', "not JSON .Invalid control character"),
    "cut": ('{"a": ', "not JSON"),
    "two": ("1 2", "not JSON .Extra data"),
    "empty": ("", "not JSON"),
}


@pytest.mark.parametrize("name", ODD_JSON)
def test_odd_json_is_one_line(name: str, tmp_path: Path) -> None:
    text, message = ODD_JSON[name]
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"a\.json: .*{message}") as caught:
        read_json(tmp_path / "a.json")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_what_is_within_the_bounds_is_read() -> None:
    deep = "[" * DEPTH + "]" * DEPTH
    assert parse_json(deep) == parse_yaml(deep)
    value = {"a": [1, -1.5, 1e300, 2**63, True, None, "😀 \n"], "": {}}
    assert parse_json(json.dumps(value)) == value
    assert parse_json(r'"\ud83d\ude00"') == "😀"
    assert parse_yaml("a: &a {b: 1}\ne: [*a, *a]") == {"a": {"b": 1}, "e": [{"b": 1}] * 2}


@pytest.mark.parametrize(("read", "module", "limit"), [(read_json, files, "JSON"), (read_yaml, schemas, "YAML")])
@pytest.mark.parametrize(
    ("content", "message"), [(b'"12345678"', "larger; expected a"), (b'"\xff"', "no UTF-8 at byte 1")]
)
def test_size_and_encoding(
    read: Callable[[Path], Any],
    module: Any,
    limit: str,
    content: bytes,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, f"{limit}_BYTES", 9)
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=rf"/a: .*{message}.*{limit} file"):
        read(tmp_path / "a")


ODD_VALUES: dict[str, tuple[Any, str]] = {
    "not a number": (float("nan"), "nan is no finite number"),
    "infinity": (float("-inf"), "-inf is no finite number"),
    "long integer": (10**400, "an integer beyond 64 bits"),
    "half a pair": ("a\ud800", r"control character U\+D800"),
    "terminal codes": ("a\x1b[2J", r"control character U\+001B"),
    "terminal code of a byte": ("a\x9b", r"control character U\+009B"),
    "nothing": ("a\x00", r"control character U\+0000"),
    "date": (yaml.safe_load("2001-01-01"), "a date, neither text nor number"),
    "set": ({1, 2}, "a set, neither text nor number"),
    "bytes": (b"a", "a bytes, neither text nor number"),
    "key": ({1: 2}, "the key 1 is no text"),
    "date as a key": ({yaml.safe_load("2001-01-01"): 2}, "a date, neither text nor number"),
    "terminal codes in a key": ({"\x1b": 2}, r"control character U\+001B"),
}


@pytest.mark.parametrize("name", ODD_VALUES)
@pytest.mark.parametrize("place", ["metrics", "protocol", "options", "recipe"])
def test_records_of_odd_values_are_refused(name: str, place: str, tmp_path: Path) -> None:
    value, message = ODD_VALUES[name]
    record = good_record(tmp_path)
    at = {
        "metrics": record["metrics"],
        "protocol": record["protocol"],
        "options": record["protocol"]["options"],
        "recipe": record["provenance"]["recipe"],
    }[place]
    at["odd"] = value
    with pytest.raises(InputError, match=rf"^r\.json: .*{message}") as caught:
        validate(record, "record", file="r.json")
    assert str(caught.value).isprintable()


def good_record(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = read_json(write_record(folder / "good", "arcface", {"rank1": 0.5}))
    validate(record, "record")
    return record


@pytest.mark.parametrize(
    "value", ["-0.1", "1.1", "97.5", "-1e300", "1e999", "NaN", "9" * 5000, '"\\ud800"', "null", "{}"]
)
@pytest.mark.parametrize("place", ["metrics", "intervals"])
def test_rates_out_of_range_are_refused_in_a_file(value: str, place: str, tmp_path: Path) -> None:
    record = good_record(tmp_path)
    record[place] = {"rank1": "HERE" if place == "metrics" else [0.5, "HERE"]}
    path = tmp_path / record["run"] / f"{record['benchmark']}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(record).replace('"HERE"', value))
    with pytest.raises(InputError, match=rf"^{path}: .+") as caught:
        load_records(tmp_path, [record["run"]])
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("value", [-1e-17, 0, 0.5, 1, 1 + 2e-16])
def test_rates_may_be_rounded(value: float, tmp_path: Path) -> None:
    record = good_record(tmp_path)
    record["metrics"] = {"auc": value}
    validate(record, "record")


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates(), st.binary())
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS)
def test_any_value_is_valid_or_one_line(value: Any) -> None:
    for schema in ("config", "record", "table"):
        with pytest.raises(InputError) as caught:
            validate(value, schema, file="a")
        assert str(caught.value).isprintable()


WORDS = "[ ] { } - ? : a &a *a << !!int !!set !!omap !!binary !!null !!timestamp !!pairs !!bool , 1 1e9 .nan 2001-99-99"
WORDS += " ' | > # % --- ... \\x1b 0x 0b 1:2:3 = ~ é"
PIECES = st.sampled_from([*WORDS.split(), *(f"{word} " for word in WORDS.split()), "\n", "  ", '"', "\u2028", "\t"])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40))
def test_any_text_is_read_or_one_line(text: str) -> None:
    for parse in (parse_yaml, parse_json):
        try:
            parse(text, file="a")
        except InputError as error:
            assert str(error).isprintable()
            assert str(error).startswith("a: ")


RUN = {"run": 7, "experiment": {}, "recipe": {}, "recipe_hash": "", "data": [], "semantics": 1, "weights": 7}
RUN |= {"input": 7, "embedding_size": 7, "source": 7}
ODD_READERS: list[tuple[str, Callable[[Path], Any]]] = [
    ("checkpoint.json", lambda path: read_checkpoint(path.parent)),
    ("run.json", read_run),
    ("index.json", lambda path: open_features(path.parent)),
    ("runs.json", read_runs_file),
    ("alignment.json", lambda path: read_report(path.parent)),
    ("lfw.bin.manifest.json", lambda path: read_manifest(path.parent / "lfw.bin")),
]
ODD_CONTENTS = [[], 7, None, "text", {}, {"rows": "a", "dimension": [], "arrays": 7}]
ODD_CONTENTS += [{"rows": 1, "dimension": 1, "arrays": {"a": 7}}, {"rows": 1, "dimension": 1, "precision": "x"}]
ODD_CONTENTS += [{"experiments": [7], "runs": 7, "labels": 7}, {"experiments": 7}]


@pytest.mark.parametrize("content", ODD_CONTENTS, ids=lambda content: json.dumps(content)[:60])
@pytest.mark.parametrize(("name", "read"), ODD_READERS, ids=lambda part: part if isinstance(part, str) else "")
def test_json_of_other_types_is_one_line(name: str, read: Callable[[Path], Any], content: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=str(tmp_path)):
        read(tmp_path / name)


@pytest.mark.parametrize("data", [7, [], {}])
def test_a_recipe_of_other_types_is_one_line(data: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**RUN, "data": data}))
    with pytest.raises(InputError, match=r"run\.json: no recipe of a run"):
        read_run(tmp_path / "run.json")


@pytest.mark.parametrize("files", [7, [], {"a": 7}, {"a": [1, 2]}, {"a": None}])
@pytest.mark.parametrize("schema", [1, "1", None])
def test_a_memory_of_other_types_is_none(files: Any, schema: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "memory").write_text(json.dumps({"schema": schema, "folder": str(tmp_path.resolve()), "files": files}))
    assert FileHashes(tmp_path, tmp_path / "memory").sha256("a").startswith("e3b0c442")


@pytest.mark.parametrize("value", ["[" * 20_000, "2001-99-99", "!!int x", "{[1]: 2}", "\x1b"])
def test_odd_keys_of_the_command_line_are_one_line(value: str) -> None:
    with pytest.raises(InputError, match="budget_gpu_hours: ") as caught:
        read_configuration([], {"budget_gpu_hours": value})
    assert str(caught.value).isprintable()


FILES = [
    "[]",
    "7",
    "null",
    "{a: [",
    "[" * 20_000,
    "{kind: [training], seed: 0, spec: {}}",
    "{kind: training, seed: -1, spec: 7}",
]
FILES += ["{kind: training, seed: 0, spec: {identities: .nan}}", "2001-99-99", "{1: 2}", '{test_fraction: "\\x1b"}']
COMMANDS = [
    ["data", "generate", "FILE", "--out", "OUT"],
    ["data", "pack", "FOLDER", "--out", "OUT", "--options", "FILE"],
    ["plan", "--configfile", "FILE"],
    ["table", "FILE"],
    ["table", "paper_tables/specs/lfw.yaml", "--records", "FOLDER", "--runs-file", "FILE"],
    ["figure", "fae", "--benchmark", "fae", "--faces", "FILE", "--records", "FOLDER", "--out", "OUT"],
]


@pytest.mark.parametrize("text", FILES)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: "-".join(words[:2]))
def test_odd_files_end_a_command_in_one_line(
    command: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    (tmp_path / "folder").mkdir()
    places = {"FILE": tmp_path / "odd.yaml", "FOLDER": tmp_path / "folder", "OUT": tmp_path / "out"}
    try:
        status = main([str(places.get(word, word)) for word in command])
    except SystemExit as left:
        status = left.code
    assert status == 2, capsys.readouterr()
    assert "Traceback" not in capsys.readouterr().err
