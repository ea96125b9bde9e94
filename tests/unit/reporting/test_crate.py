"""The crate: what RO-Crate 1.1 says that it must have, checked against the specification's text, and the same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.unit.reporting.html_report.test_page import SPECS, a_run, material

from aroface.errors import InputError
from aroface.files import sha256_file, write_json
from aroface.reporting.crate import Software, write_crate
from aroface.reporting.html_report.data import ReportedDataSet
from aroface.reporting.html_report.page import Material, write_report
from aroface.reporting.html_report.runs import ReportedRun
from aroface.reporting.records import load_records
from made_up_records import write_record
from made_up_tables import fill_table
from repository import ROOT

NAME = "ro-crate-metadata.json"
Entity = dict[str, Any]


@pytest.fixture
def software(tmp_path: Path) -> Software:
    """This repository's workflow with a configuration from elsewhere."""
    own = tmp_path / "mine.yaml"
    own.write_text("note: mine\n")
    parts = (*sorted((ROOT / "workflow" / "rules").glob("*.smk")), own)
    return Software(ROOT / "Snakefile", parts, ROOT / "CITATION.cff", ROOT, "1.2.3")


@pytest.fixture
def made(tmp_path: Path) -> Material:
    """A folder of results: trained runs and one of released weights, a data set of one's own and a received one."""
    root = tmp_path / "results"
    fill_table(root / "records", SPECS / "tinyface.yaml", seeds=(0,))
    runs = [a_run(root, path) for path in sorted(root.glob("records/*/tinyface.json"))]
    path = write_record(root / "records", "adaface", {"rank1": 0.7}, dataset="webface12m", seed=7, released=True)
    experiment = json.loads(path.read_text())["experiment"]
    released = {"checkpoint": "x", "color": "BGR"}
    entry = {"schema": 1, "run": path.parent.name, "experiment": experiment, "released": released}
    folder = root / "runs" / path.parent.name
    write_json(folder / "checkpoint.json", {"weights": {"file": "model.safetensors", "sha256": "f" * 64}})
    (folder / "model.safetensors").write_bytes(b"released")
    runs.append(ReportedRun(path.parent.name, entry, folder, root / "recipes" / "none.json", ("tinyface",)))
    manifest = root / "data" / "own-eeeeeeee" / "pairs.bin.manifest.json"
    write_json(manifest, {"files": {}})
    received = root / "data" / "ms1mv2-dddddddd" / "manifest.json"
    terms = ("research only", "Somebody", "https://example.org/", "A paper, 2000")
    data = (
        ReportedDataSet("own", "Own", "pairs", "e" * 64, manifest, "evaluation"),
        ReportedDataSet("also", "Also", "pairs", "a" * 64, manifest.with_name("other.manifest.json"), "evaluation"),
        ReportedDataSet("ms1mv2", "MS1MV2", "training", "d" * 64, received, "training", *terms),
    )
    found = material(root, tuple(runs), data=data)
    write_report(found, root / "report.html")
    return found


def crate(path: Path) -> tuple[Any, dict[str, Entity]]:
    written = json.loads(path.read_text())
    assert {*written} == {"@context", "@graph"}
    entities = {each["@id"]: each for each in written["@graph"]}
    assert len(entities) == len(written["@graph"]), "every entity has an @id of its own"
    return written["@context"], entities


def references(value: Any) -> list[str]:
    """All @ids that an entity's values refer to."""
    if isinstance(value, list):
        return [found for each in value for found in references(each)]
    if isinstance(value, dict):
        assert {*value} == {"@id"}, "entities are flat: nothing but references within them"
        return [value["@id"]]
    return []


def types(entity: Entity) -> set[str]:
    found = entity["@type"]
    return {found} if isinstance(found, str) else {*found}


def test_it_has_what_the_specification_asks_for(made: Material, software: Software):
    out = made.results / NAME
    write_crate(made, software, out)
    context, entities = crate(out)
    assert "https://w3id.org/ro/crate/1.1/context" in context
    descriptor, root = entities[NAME], entities["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert {"@id": "https://w3id.org/ro/crate/1.1"} in descriptor["conformsTo"]
    assert root["@type"] == "Dataset"
    assert all(root[name] for name in ("name", "description", "license"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", root["datePublished"])
    parts = {part["@id"] for part in root["hasPart"]}
    for name, entity in entities.items():
        assert "@type" in entity
        for reference in references([value for key, value in entity.items() if not key.startswith("@")]):
            assert reference in entities or reference == "https://w3id.org/ro/crate/1.1", f"{name} names {reference}"
        if "File" in types(entity):
            assert name in parts
            path = out.parent / unquote(name)
            assert path.is_file()
            assert entity["name"]
            if path.name != "model.safetensors":
                assert entity["sha256"] == sha256_file(path)
        if "Dataset" in types(entity) and not name.startswith("#") and name != "./":
            assert name in parts
            assert name.endswith("/")
            assert (out.parent / unquote(name)).is_dir()
        assert not name.startswith(("/", "../"))
    assert str(out.parent) not in out.read_text()


def test_actions_say_what_was_made_from_what(made: Material, software: Software):
    write_crate(made, software, made.results / NAME)
    _, entities = crate(made.results / NAME)
    workflow = entities[entities["./"]["mainEntity"]["@id"]]
    assert types(workflow) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert "ComputerLanguage" in types(entities[workflow["programmingLanguage"]["@id"]])
    actions = {name: each for name, each in entities.items() if "CreateAction" in types(each)}
    assert {each["@id"] for each in entities["./"]["mentions"]} == {*actions}
    (whole,) = (each for each in actions.values() if each["instrument"]["@id"] == workflow["@id"])
    assert {"@id": "report.html"} in whole["result"]
    first = made.runs[0]
    trained = actions[f"#train-{first.name}"]
    assert {"@id": f"recipes/{first.name}.json"} in trained["object"]
    assert {"@id": f"runs/{first.name}/model.safetensors"} in trained["result"]
    weights = entities[f"runs/{first.name}/model.safetensors"]
    assert (weights["sha256"], weights["contentSize"]) == (
        json.loads(first.checkpoint_file.read_text())["weights"]["sha256"],
        "7",
    )
    evaluated = actions[f"#evaluate-{first.name}-tinyface"]
    assert evaluated["result"] == [{"@id": f"records/{first.name}/tinyface.json"}]
    assert {"@id": "data/own-eeeeeeee/"} in evaluated["object"]
    assert f"#import-{made.runs[-1].name}" in actions
    assert all("SoftwareApplication" in types(entities[each["instrument"]["@id"]]) for each in (trained, evaluated))


@pytest.mark.parametrize("pattern", ["records/*/*.json", "runs/*/checkpoint.json", "runs/*/model.*", "recipes/*.json"])
@pytest.mark.parametrize("moment", ["after the records are read", "while it is hashed"])
def test_files_that_go_meanwhile_are_not_named(
    made: Material, software: Software, monkeypatch: pytest.MonkeyPatch, pattern: str, moment: str
):
    """The workflow removes a file before it makes it anew."""
    going = sorted(made.results.glob(pattern))[0]

    def read(*arguments: Any) -> Any:
        found = load_records(*arguments)
        if moment.startswith("after"):
            going.unlink()
        return found

    def hashed(path: Path) -> str:
        if path == going:
            going.unlink()
        return sha256_file(path)

    monkeypatch.setattr("aroface.reporting.crate.load_records", read)
    monkeypatch.setattr("aroface.reporting.crate.sha256_file", hashed)
    write_report(made, made.results / "report.html")
    write_crate(made, software, made.results / NAME)
    _, entities = crate(made.results / NAME)
    for entity in entities.values():
        for reference in references([value for key, value in entity.items() if not key.startswith("@")]):
            assert reference in entities or reference == "https://w3id.org/ro/crate/1.1"
    gone = not going.exists()
    assert gone or going.name.startswith("model."), "of weights the hash is written down"
    assert any(unquote(name).endswith(f"{going.parent.name}/{going.name}") for name in entities) != gone


def test_a_record_that_goes_meanwhile_does_not_end_the_report(made: Material, monkeypatch: pytest.MonkeyPatch):
    def read(*arguments: Any) -> Any:
        found = load_records(*arguments)
        for record in found[:2]:
            record.path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr("aroface.reporting.html_report.page.load_records", read)
    write_report(made, made.results / "report.html")
    assert (made.results / "report.html").exists()


def test_terms_of_others_are_said_and_nobody_is_invented(made: Material, software: Software):
    write_crate(made, software, made.results / NAME)
    _, entities = crate(made.results / NAME)
    (received,) = (each for each in entities.values() if each.get("name") == "MS1MV2")
    assert entities[received["license"]["@id"]]["name"] == "research only"
    assert received["identifier"] == "d" * 64
    assert not any("train.rec" in name or name.endswith(".bin") for name in entities)
    people = [each["name"] for each in entities.values() if types(each) & {"Person", "Organization"}]
    assert people == ["The ARoFace reproduction authors"]
    assert entities["./"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}


def test_the_same_results_give_the_same_bytes(made: Material, software: Software):
    out = made.results / NAME
    write_crate(made, software, out)
    first = out.read_bytes()
    write_crate(made, software, out)
    assert out.read_bytes() == first


def test_nothing_yet_is_a_crate_too(tmp_path: Path, software: Software):
    out = tmp_path / "results" / NAME
    write_crate(material(tmp_path / "results"), software, out)
    _, entities = crate(out)
    assert "0 of 0 runs are finished" in entities["./"]["description"]


def test_another_name_is_refused(made: Material, software: Software):
    with pytest.raises(InputError, match="a crate's description has one name"):
        write_crate(made, software, made.results / "crate.json")
    elsewhere = made.results / "deep" / NAME
    with pytest.raises(InputError, match=r"is not below .*; expected a crate in the folder of the results"):
        write_crate(made, software, elsewhere)
