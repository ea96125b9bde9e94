"""Configurations, the experiments and runs that follow from them, and what is said of wrong ones."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from aroface import result_versions
from aroface.adversary.options import AdversaryOptions
from aroface.cli.main import _line
from aroface.errors import InputError
from aroface.evaluation.protocols.registry import PROTOCOLS
from aroface.files import read_json
from aroface.heads.batch_losses.registry import BATCH_LOSSES
from aroface.heads.batch_losses.registry import build as build_batch_loss
from aroface.heads.pair_terms.registry import PAIR_TERMS
from aroface.heads.pair_terms.registry import build as build_pair_term
from aroface.heads.registry import HEADS
from aroface.heads.registry import build as build_head
from aroface.models.registry import ARCHITECTURES
from aroface.planning.config import (
    Configuration,
    Experiment,
    lay_over,
    read_configuration,
    read_experiments,
    read_recipes,
    resolve_recipe,
)
from aroface.planning.plan import Plan, make_plan
from aroface.planning.products import find_products
from aroface.reporting.tables.spec import read_spec
from aroface.training.recipe import Recipe, read_run
from generated_sets import generate_tinyface
from repository import ROOT

OPTIONS = {"color": "RGB", "flip": True, "fusion": "sum", "alignment": "rendered"}
CONFIG: dict[str, Any] = {
    "recipe": "tiny",
    "seeds": [0, 1],
    "experiments": [{"method": "arcface", "dataset": "faces"}, {"method": "adaface_aroface", "dataset": "faces"}],
    "data": {
        "faces": {"label": "Faces", "seed": 1, "generate": {"training": {"identities": 12, "images_per_identity": 6}}},
        "clean": {"seed": 2, "generate": {"pairs": {"identities": 10, "pairs": 80}}},
    },
    "benchmarks": [{"name": "pairs_clean", "protocol": "pairs", "data": "clean", "options": OPTIONS}],
    "tables": ["paper_tables/specs/demo/lfw.yaml"],
}


class Folder:
    """A place for a configuration and its results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: dict[str, Any] = deepcopy(CONFIG) | {
            "paths": {"data": str(path), "results": str(path / "results")}
        }

    def write(self, name: str = "test.yaml", values: object = None) -> Path:
        path = self.path / name
        path.write_text(yaml.safe_dump(self.config if values is None else values, sort_keys=False))
        return path

    def plan(self) -> Plan:
        return make_plan([self.write()], root=ROOT)

    def experiments(self) -> tuple[Experiment, ...]:
        return read_experiments(self.configuration(), root=ROOT)

    def configuration(self) -> Configuration:
        return read_configuration([self.write()], root=ROOT)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def edit(config: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    place: Any = config
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place[parent]
    place[int(last) if isinstance(place, list) else last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sedes", [0], r"test.yaml: Additional properties are not allowed \('sedes' was unexpected\)"),
        ("seeds", ["0"], r"test.yaml: seeds.0: '0' is not of type 'integer'; write the number without quotes"),
        (
            "experiments.0.recipe",
            "none",
            "test.yaml: experiments.0.recipe: unknown recipe 'none'; expected one of",
        ),
        ("recipe", "none", "test.yaml: recipe: unknown recipe 'none'"),
        ("experiments.1.method", "arcfase", "test.yaml: experiments.1.method: unknown method 'arcfase'"),
        ("experiments.1.method", "arcface", "test.yaml: experiments.1: arcface/faces/r8s4 is declared twice"),
        (
            "experiments.0.dataset",
            "clean",
            "test.yaml: experiments.0.dataset: unknown training set 'clean'; .* faces",
        ),
        ("experiments.0.arch", "r10", "test.yaml: experiments.0: arch: 'r10' is not one of"),
        ("experiments.0.overrides", {"lr": 0.1}, "test.yaml: experiments.0.overrides: Additional properties .*'lr'"),
        ("experiments.0.overrides", {"optimiser": {"lr": "1e-1"}}, "overrides: optimiser.lr: '1e-1' .* 1e-1 as 1.0e-1"),
        ("experiments.0.overrides", {"head": {"name": "cosface"}}, "overrides: head: 's' is a required property"),
        ("experiments.0.overrides", {"adversary": {"warmth": 1}}, "overrides: adversary: Additional properties"),
        (
            "experiments.0",
            {"source": "released", "checkpoint": "adaface"},
            "0.checkpoint: unknown checkpoint 'adaface'",
        ),
        (
            "experiments.0",
            {"source": "trained", "checkpoint": "adaface_ms1mv2_r100"},
            "0.source: 'released' was expected",
        ),
        ("experiments.0", {"checkpoint": "adaface_ms1mv2_r100"}, "experiments.0: 'source' is a required property"),
        (
            "experiments.0",
            {"source": "released", "checkpoint": "a", "seeds": [1]},
            "experiments.0: Additional .*'seeds'",
        ),
        ("data.lfw", {"seed": 1, "generate": {}}, "test.yaml: data.lfw: a registered set has this name"),
        (
            "data.clean.generate",
            {},
            "test.yaml: data.clean.generate: 0 kinds; expected one of training, pairs",
        ),
        ("data.clean.generate.pairs.pears", 1, "data.clean.generate: pairs: Additional properties .*'pears'"),
        ("data.mine", {"folder": "nowhere", "pack": {}}, "data.mine: folder: no folder nowhere"),
        (
            "benchmarks.0.data",
            "faces",
            "test.yaml: benchmarks.0: unknown benchmark 'faces'; expected one of clean",
        ),
        ("benchmarks.0.protocol", "tinyface", "test.yaml: benchmarks.0: protocol tinyface on pairs"),
        ("benchmarks.0.protocol", "lfw", "benchmarks.0.protocol: unknown protocol 'lfw'; expected one of ijb"),
        ("benchmarks.0.options", {"flip": 1}, "test.yaml: benchmarks.0: options.flip: 1 is not of type 'boolean'"),
        ("benchmarks.0.trained_on", ["ms1mv3"], "benchmarks: pairs_clean: trained_on: no experiment trains on ms1mv3"),
        (
            "benchmarks.0.options.color",
            "BGR",
            "test.yaml: benchmarks.0.options.color: the colour order BGR; expected RGB",
        ),
        ("benchmarks", ["tinyface", "tinyface"], "test.yaml: benchmarks.1: tinyface is declared twice"),
        ("tables", ["paper_tables/specs/no.yaml"], "paper_tables/specs/no.yaml: no such file"),
        ("tables", [f"paper_tables/specs/{name}lfw.yaml" for name in ("", "demo/")], "tables.1: a second table 'lfw'"),
        (
            "figures",
            ["pairs_clean"],
            "test.yaml: figures.0: no curves of 'pairs_clean'; expected a benchmark of",
        ),
        (
            "figures",
            [{"name": "one", "kind": "fae", "benchmark": "pairs_clean"}],
            "test.yaml: figures.0: no curves of 'pairs_clean'; expected a benchmark of the protocol sensitivity",
        ),
        ("data.faces.label", "two\nlines", "data.faces.label: .* does not match"),
        ("data.faces.label", "Łódź 漢", r"test.yaml: label of faces: LaTeX cannot print '漢' \(U\+6F22"),
        ("note", "Faces 😀", r"test.yaml: note: LaTeX cannot print '😀' \(U\+1F600.*\); write it in Latin"),
        ("figures", [{"name": "one", "kind": "pie"}], "test.yaml: figures.0.*: .*pie"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Folder, path: str, value: object, message: str) -> None:
    edit(folder.config, path, value)
    with pytest.raises(InputError, match=message) as error:
        find_products(folder.plan(), root=ROOT)
    assert "\n" not in str(error.value)


LONG = "x" * 300


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (LONG, 1),
        (f"data.{LONG}", {"seed": 1, "generate": {"pairs": {"identities": 10, "pairs": 80}}}),
        (f"data.{'x' * 81}", {"seed": 1, "generate": {"pairs": {"identities": 10, "pairs": 80}}}),
        (f"data.clean.generate.{LONG}", {}),
        (f"data.clean.generate.pairs.{LONG}", 1),
        ("benchmarks.0.name", LONG),
        ("benchmarks.0.name", "x" * 81),
        ("benchmarks.0", LONG),
        ("benchmarks.0.data", LONG),
        (f"benchmarks.0.options.{LONG}", 1),
        ("experiments.0.method", LONG),
        ("experiments.0.dataset", LONG),
        ("experiments.0.recipe", LONG),
        (f"experiments.0.{LONG}", 1),
        ("figures", [{"name": LONG, "kind": "training"}]),
        ("figures", [LONG]),
        ("tables", [f"{LONG}.yaml"]),
        ("recipe", LONG),
    ],
)
def test_keys_that_no_file_could_be_named_by_are_one_line(folder: Folder, path: str, value: object) -> None:
    edit(folder.config, path, value)
    with pytest.raises((InputError, OSError)) as error:
        find_products(folder.plan(), root=ROOT)
    line = _line(error.value) if isinstance(error.value, OSError) else str(error.value)
    assert line and line.isprintable() and len(line) < 1500
    assert not (folder.path / "results").exists()


def test_the_longest_keys_are_planned(folder: Folder) -> None:
    name = "y" * 80
    folder.config["data"] = {("x" * 80 if key == "faces" else key): each for key, each in folder.config["data"].items()}
    for experiment in folder.config["experiments"]:
        experiment["dataset"] = "x" * 80
    folder.config["benchmarks"][0]["name"] = name
    folder.config["tables"] = []
    plan = folder.plan()
    plan.write()
    assert all(plan.recipe_file(run).is_file() for run in plan.runs)
    assert plan.benchmarks[name].file.is_file()


def test_an_error_names_the_file_that_brings_it(folder: Folder) -> None:
    files = [folder.write(), folder.write("mine.yaml", {"seeds": "all"})]
    with pytest.raises(InputError, match=r"mine.yaml: seeds: 'all' is not of type 'array'"):
        read_configuration(files, root=ROOT)
    with pytest.raises(InputError, match=r"--config: seeds: 'all'"):
        read_configuration(files[:1], {"seeds": "all"}, root=ROOT)
    with pytest.raises(InputError, match=r"empty.yaml: no mapping"):
        read_configuration([folder.write("empty.yaml", [])], root=ROOT)


def test_later_files_win_key_by_key(folder: Folder) -> None:
    mine = folder.write("mine.yaml", {"seeds": [5], "data": {"clean": {"seed": 7}}})
    values = read_configuration([folder.write(), mine], {"render_only": "true"}, root=ROOT).values
    assert values["seeds"] == [5]
    assert values["data"]["clean"] == {**CONFIG["data"]["clean"], "seed": 7}
    assert values["render_only"] is True
    assert values["training"]["device"] == "auto"


def test_another_head_or_schedule_takes_no_options_of_the_one_beneath() -> None:
    base = {"head": {"name": "arcface", "m": 0.5, "guard": True}, "schedule": {"kind": "polynomial", "power": 1}}
    assert lay_over(base, {"head": {"m": 0.4}})["head"] == {"name": "arcface", "m": 0.4, "guard": True}
    assert lay_over(base, {"head": {"name": "cosface", "m": 0.4}})["head"] == {"name": "cosface", "m": 0.4}
    assert lay_over(base, {"schedule": {"kind": "step"}})["schedule"] == {"kind": "step"}


def test_a_recipe_grows_from_registry_data_set_method_and_experiment(folder: Folder) -> None:
    folder.config["experiments"] = [
        {
            "method": "arcface_aroface",
            "dataset": "ms1mv2",
            "recipe": "released512",
            "overrides": {"optimiser": {"lr": 1}},
        },
        {"method": "adaface", "dataset": "ms1mv3", "recipe": "page2048", "arch": "r50"},
    ]
    first, second = (experiment.recipe for experiment in folder.experiments())
    assert (first["epochs"], first["batch_size"], first["arch"]) == (28, 512, "r100")
    assert first["optimiser"] == {
        "lr": 1, "momentum": 0.9, "weight_decay": 5e-4, "decay_norm_and_bias": True, "clip_norm": 5
    }  # fmt: skip
    assert (first["adversary"]["kind"], first["adversary"]["profile"]) == ("gradient", "official")
    assert (second["epochs"], second["batch_size"], second["arch"]) == (20, 2048, "r50")
    assert second["head"]["name"] == "adaface"
    assert second["adversary"] == {"kind": "none"}


def test_every_recipe_and_method_is_valid_and_can_be_read_by_the_training(folder: Folder) -> None:
    methods = yaml.safe_load((ROOT / "workflow/registries/methods.yaml").read_text())
    for recipe in read_recipes(ROOT):
        folder.config["recipe"] = recipe
        folder.config["experiments"] = [{"method": method, "dataset": "ms1mv2"} for method in methods]
        for experiment in folder.experiments():
            typed = Recipe.from_mapping(experiment.recipe)
            assert typed.arch in ARCHITECTURES
            AdversaryOptions.from_mapping(typed.adversary)
            build_head(**typed.head)
            if typed.pairs is not None:
                build_pair_term(**typed.pairs)
            if typed.batch_loss is not None:
                build_batch_loss(**typed.batch_loss)


def test_a_recipe_that_extends_itself_is_refused(folder: Folder, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("configs/defaults.yaml", "registries/methods.yaml"):
        (root / "workflow" / name).parent.mkdir(parents=True)
        (root / "workflow" / name).write_text((ROOT / "workflow" / name).read_text())
    recipes = {
        name: {"summary": name, "extends": other, "recipe": {}} for name, other in (("tiny", "b"), ("b", "tiny"))
    }
    (root / "workflow/registries/recipes.yaml").write_text(yaml.safe_dump(recipes))
    with pytest.raises(InputError, match=r"recipes.yaml: b.extends: tiny extends itself"):
        read_experiments(folder.configuration(), root=root)


def test_the_schema_knows_the_backbones_heads_and_options_of_the_code() -> None:
    schema = read_json(ROOT / "src/aroface/_schemas/recipe.schema.json")
    properties = schema["properties"]
    optional = {"low_quality", "sample_rate", "batch_norm", "gradient_compression", "growth_interval", "tf32"}
    optional |= {"backbone", "class_weights", "autocast", "last_batch", "images_per_pass", "class_update", "class_draw"}
    optional |= {"start", "pairs", "batch_loss", "images_per_identity"}
    assert set(properties) == {*schema["required"]} | optional == {field.name for field in fields(Recipe)}
    assert {field.name for field in fields(Recipe) if field.default is not MISSING} == optional
    assert properties["arch"]["enum"] == list(ARCHITECTURES)
    assert properties["head"]["properties"]["name"]["enum"] == list(HEADS)
    for name, (_, kind) in HEADS.items():
        known = {"name"} | {field.name for field in fields(kind)}
        assert set(schema["$defs"][name]["properties"]) == known
        assert set(schema["$defs"][name]["required"]) == known - {"name"}
    for key, terms, suffix in (("pairs", PAIR_TERMS, "pairs"), ("batch_loss", BATCH_LOSSES, "loss")):
        assert properties[key]["properties"]["kind"]["enum"] == list(terms)
        for name, (_, kind) in terms.items():
            known = {"kind"} | {field.name for field in fields(kind)}
            assert set(schema["$defs"][f"{name}_{suffix}"]["properties"]) == known
            assert set(schema["$defs"][f"{name}_{suffix}"]["required"]) == known - {"kind"}
    assert set(properties["adversary"]["properties"]) == {"profile"} | {
        field.name for field in fields(AdversaryOptions)
    }


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"growth_interval": 2000}, {}),
        ({"adversary": {"scale_loss": True}}, {}),
        ({"precision": "fp32", "growth_interval": 100}, {"precision": "fp32"}),
        ({"precision": "bf16", "adversary": {"scale_loss": False}}, {"precision": "bf16"}),
        ({"adversary": {"kind": "random", "scale_loss": False}}, {"adversary": {"kind": "random"}}),
        ({"backbone": {"dropout": 0.0}, "last_batch": "dropped", "images_per_pass": None}, {}),
        ({"optimiser": {"decay_batch_norm": True}, "class_update": "drawn", "class_draw": "step"}, {}),
        ({"pairs": None, "batch_loss": None, "images_per_identity": None}, {}),
    ],
)
def test_what_is_said_without_need_leaves_the_recipe_as_it_is(said: dict[str, Any], meant: dict[str, Any]) -> None:
    base = yaml.safe_load((ROOT / "workflow/registries/recipes.yaml").read_text())["page2048"]["recipe"]
    base = lay_over(base, {"adversary": {"kind": "gradient", "scale_loss": True}, "growth_interval": 2000})
    assert resolve_recipe([("base", base), ("said", said)]) == resolve_recipe([("base", base), ("meant", meant)])


def test_another_profile_does_not_inherit_what_the_recipe_says_of_its_own() -> None:
    base = yaml.safe_load((ROOT / "workflow/registries/recipes.yaml").read_text())["page2048"]["recipe"]
    assert base["adversary"]["scale_loss"] is False

    def adversary(**changes: Any) -> AdversaryOptions:
        recipe = resolve_recipe([("base", base), ("changes", {"adversary": {"kind": "gradient", **changes}})])
        return AdversaryOptions.from_mapping(recipe["adversary"])

    assert not adversary().scale_loss
    assert not adversary(profile="official").scale_loss
    assert adversary(profile="clean").scale_loss
    assert not adversary(profile="clean", scale_loss=False).scale_loss


@pytest.mark.parametrize(
    "changes", [{"growth_interval": 100}, {"adversary": {"scale_loss": False}}, {"backbone": {"dropout": 0.1}}]
)
def test_what_matters_changes_the_recipe(changes: dict[str, Any]) -> None:
    base = yaml.safe_load((ROOT / "workflow/registries/recipes.yaml").read_text())["page2048"]["recipe"]
    base = lay_over(base, {"adversary": {"kind": "gradient", "scale_loss": True}, "growth_interval": 2000})
    assert resolve_recipe([("base", base), ("changes", changes)]) != resolve_recipe([("base", base)])


def test_every_protocol_has_a_version() -> None:
    assert PROTOCOLS.keys() == result_versions.PROTOCOLS.keys()


def test_a_run_is_named_after_what_decides_its_weights(folder: Folder) -> None:
    before = set(folder.plan().runs)
    assert len(before) == 4
    edit(folder.config, "experiments.0.overrides", {"epochs": 2.0, "optimiser": {"clip_norm": 5.0}})
    folder.config["experiments"].reverse()
    folder.config["training"] = {"save_every": 3}
    assert set(folder.plan().runs) == before
    edit(folder.config, "seeds", [1, 2])
    assert {name.rsplit("-", 1)[0] for name in set(folder.plan().runs) - before} == {
        "arcface-faces-r8s4-s2", "adaface_aroface-faces-r8s4-s2"
    }  # fmt: skip
    edit(folder.config, "data.faces.generate.training.images_per_identity", 7)
    assert not before & set(folder.plan().runs)


RELEASED = "arcface_aroface_ms1mv3_r100"


def put_checkpoint(folder: Folder, content: bytes) -> Path:
    file = folder.path / f"checkpoints/{RELEASED}.pt"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return file


def test_released_weights_are_a_run_that_is_named_after_their_file(folder: Folder) -> None:
    folder.config["experiments"].append({"source": "released", "checkpoint": RELEASED})
    absent = folder.plan()
    assert len(absent.missing()) == 1
    assert "arcface_aroface_ms1mv3_r100.pt; aroface data fetch arcface_aroface_ms1mv3_r100" in absent.missing()[0]
    put_checkpoint(folder, b"weights")
    plan = folder.plan()
    assert plan.missing() == []
    (run,) = (run for run in plan.runs.values() if run.experiment.released)
    assert run.name.startswith("arcface_aroface-ms1mv3-r100-released-")
    assert run.name not in absent.runs
    assert (run.seed, run.experiment.recipe) == (0, None)
    assert plan.labels["ms1mv3"] == "MS1MV3"
    assert any(run.name in path.parts for path in plan.records())
    plan.write()
    written = read_json(plan.recipe_file(run.name))
    assert written["experiment"] == {"method": "arcface_aroface", "dataset": "ms1mv3", "arch": "r100", "seed": 0}
    assert written["released"]["checkpoint"] == RELEASED
    assert run.source.path.read_bytes() == b"weights"
    with pytest.raises(InputError, match="no recipe of a run"):
        read_run(plan.recipe_file(run.name))
    put_checkpoint(folder, b"other weights").rename(folder.path / "elsewhere")
    assert run.name in folder.plan().runs, "what was imported is still known when the file has gone"
    put_checkpoint(folder, b"other weights")
    assert run.name not in folder.plan().runs


def test_released_weights_need_no_training_set_and_can_be_compared_on_it(folder: Folder) -> None:
    folder.config["experiments"] = [{"source": "released", "checkpoint": RELEASED}]
    folder.config["benchmarks"][0]["trained_on"] = ["ms1mv3"]
    put_checkpoint(folder, b"weights")
    plan = folder.plan()
    assert plan.missing() == []
    assert len(plan.records()) == 1


def test_released_weights_and_a_training_of_the_same_are_refused_together(folder: Folder) -> None:
    folder.config["experiments"] = [
        {"source": "released", "checkpoint": RELEASED},
        {"method": "arcface_aroface", "dataset": "ms1mv3", "arch": "r100"},
    ]
    with pytest.raises(InputError, match=r"experiments.1: arcface_aroface/ms1mv3/r100 is declared twice"):
        folder.plan()


def test_what_is_written_can_be_read_by_the_training(folder: Folder) -> None:
    plan = folder.plan()
    plan.write()
    for name, run in plan.runs.items():
        read = read_run(plan.recipe_file(name))
        assert (read.name, read.seed, read.recipe_hash) == (name, run.seed, run.hash)
    first = {path: path.stat().st_mtime_ns for path in plan.results.root.rglob("*.json")}
    folder.plan().write()
    assert {path: path.stat().st_mtime_ns for path in plan.results.root.rglob("*.json")} == first


def test_benchmarks_of_some_training_sets_leave_the_other_runs_out(folder: Folder) -> None:
    folder.config["experiments"] = [
        {"method": "arcface", "dataset": name, "seeds": [0]} for name in ("faces", "ms1mv2")
    ]
    folder.config["benchmarks"].append({"name": "lfw", "data": "lfw", "protocol": "pairs", "trained_on": ["ms1mv2"]})
    records = [f"{path.parent.name.split('-')[1]}/{path.stem}" for path in folder.plan().records()]
    assert records == ["faces/pairs_clean", "ms1mv2/pairs_clean", "ms1mv2/lfw"]


def test_a_table_shows_the_records_of_its_rows_and_columns(folder: Folder) -> None:
    folder.config["experiments"] = [{"method": "adaface", "dataset": "webface4m", "recipe": "page2048", "seeds": [0]}]
    folder.config["experiments"] += [{"method": "adaface", "dataset": "faces", "seeds": [0]}]
    folder.config |= {"benchmarks": ["tinyface", "lfw"], "tables": ["paper_tables/specs/tinyface.yaml"]}
    products = find_products(folder.plan(), root=ROOT)
    (record,) = products.table_records("tinyface")
    assert (record.parent.name.split("-")[1], record.name) == ("webface4m", "tinyface.json")
    assert len(products.plan.records()) == 4


@pytest.mark.parametrize("name", ["config.yaml", "workflow/configs/demo.yaml", "workflow/configs/claim.yaml",
                                  "workflow/configs/tiny.yaml", "workflow/configs/released.yaml"])  # fmt: skip
def test_the_repositorys_configurations_are_valid(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    products = find_products(make_plan([ROOT / name], root=ROOT), root=ROOT)
    assert products.plan.runs
    assert all(products.table_records(table) for table in products.tables)


@pytest.mark.parametrize("name", ["paper_all", "released512", "ablations"])
def test_what_is_laid_over_the_full_reproduction_is_valid(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [ROOT / "config.yaml", ROOT / f"workflow/configs/{name}.yaml"]
    plan = find_products(make_plan(files, root=ROOT), root=ROOT).plan
    recipes = [recipe_text(run.experiment.recipe) for run in plan.runs.values() if run.seed == 0]
    for run in plan.runs.values():
        Recipe.from_mapping(run.experiment.recipe)
        AdversaryOptions.from_mapping(run.experiment.recipe["adversary"])
    if name == "ablations":
        assert len(set(recipes)) == len(recipes) == 19


def recipe_text(recipe: dict[str, Any]) -> str:
    return yaml.safe_dump(recipe, sort_keys=True)


# What the authors' two tables and figure 1 show of their own trainings and baselines, and the released configurations,
# which train CosFace on WebFace though the tables call it ArcFace.
SHOWN = {
    *{(method, dataset) for method in ("arcface", "arcface_aroface") for dataset in ("ms1mv2", "ms1mv3")},
    *{(method, "webface4m") for method in ("cosface", "cosface_aroface", "adaface", "adaface_aroface")},
    *{(method, "webface12m") for method in ("adaface", "adaface_aroface")},
    ("adaface", "ms1mv3"),
}
CONTROLS = {("adaface_control", "webface4m"), ("adaface_control", "webface12m")}
AUTHORS = {("arcface_aroface", "ms1mv2"), ("arcface_aroface", "ms1mv3"), ("cosface_aroface", "webface4m")}
AUTHORS |= {("cosface_aroface", "webface12m")}


def test_every_experiment_of_the_paper_is_declared_with_its_recipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config, folder = ROOT / "config.yaml", ROOT / "workflow/configs"

    def recipes(*files: Path) -> dict[tuple[str, str], tuple[str, int, int, float, str]]:
        experiments = read_experiments(read_configuration([config, *files], root=ROOT), root=ROOT)
        return {
            (each.method, each.dataset): (
                each.arch,
                each.recipe["epochs"],
                each.recipe["batch_size"],
                each.recipe["optimiser"]["lr"],
                each.recipe["adversary"].get("profile", "none"),
            )
            for each in experiments
        }

    paper, everything, released = recipes(), recipes(folder / "paper_all.yaml"), recipes(folder / "released512.yaml")
    assert set(paper) == SHOWN | CONTROLS
    assert set(everything) == SHOWN | CONTROLS | AUTHORS | {("cosface", "webface12m")}
    assert everything.items() >= paper.items()
    assert set(released) == AUTHORS
    for (method, dataset), found in {**everything, **released}.items():
        batch, lr = (512, 0.05) if (method, dataset) in released and found[2] == 512 else (2048, 0.2)
        if method == "adaface":  # trained as AdaFace's own code does
            assert found == ("r100", 26, 512, 0.1, "none")
            continue
        epochs, profile = 28 if dataset == "ms1mv2" else 20, "official" if method.endswith("aroface") else "none"
        assert found == ("r100", epochs, batch, lr, profile)


def test_every_row_of_a_reported_table_that_can_be_trained_is_declared() -> None:
    values = read_configuration([ROOT / "config.yaml"], root=ROOT).values
    declared = {(each["method"], each["dataset"]) for each in values["experiments"]}
    specs = [read_spec(path) for path in sorted((ROOT / "paper_tables/specs").glob("*.yaml"))]
    rows = [row.experiment for spec in specs if spec.source for row in spec.rows or () if row.experiment]
    assert len(rows) >= 7
    assert {(row["method"], row["dataset"]) for row in rows} <= declared


def test_the_configuration_for_a_folder_needs_only_the_folder(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(folder.path / "photographs")
    monkeypatch.chdir(folder.path)
    mine = folder.path / "mine.yaml"
    mine.write_text("data: {photographs: {folder: photographs, pack: {probe_resolution: 18}}}")
    products = find_products(make_plan([ROOT / "workflow/configs/folder.yaml", mine], root=ROOT), root=ROOT)
    assert len(products.plan.runs) == 4
    assert products.plan.sources.makings[0].spec["probe_resolution"] == 18
    assert all(len(products.table_records(table)) >= 4 for table in products.tables)


def photographs(folder: Path) -> None:
    for person in range(4):
        for image in range(3):
            path = folder / f"{person}/{image}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{person} {image}")


def test_a_folder_of_photographs_is_a_training_set_and_three_benchmarks(folder: Folder) -> None:
    photographs(folder.path / "photographs")
    folder.config["data"] = {"photographs": {"folder": str(folder.path / "photographs"), "pack": {"pairs": 20}}}
    folder.config["experiments"] = [{"method": "arcface", "dataset": "photographs"}]
    names = ("pairs", "pairs_lq", "tinyface")
    folder.config["benchmarks"] = [{"name": name, "data": f"photographs.{name}", "options": OPTIONS} for name in names]
    for declared, protocol in zip(folder.config["benchmarks"], ("pairs", "pairs", "tinyface"), strict=True):
        declared["protocol"] = protocol
    before = folder.plan()
    folder.config["data"]["photographs"]["pack"]["probe_resolution"] = 18
    after = folder.plan()
    assert set(after.runs) == set(before.runs)
    changed = [name for name in names if after.benchmarks[name].file != before.benchmarks[name].file]
    assert changed == ["tinyface"]
    assert after.sources.makings[0].spec_file != before.sources.makings[0].spec_file
    (folder.path / "photographs/0/0.jpg").write_text("another")
    assert not set(folder.plan().runs) & set(before.runs)


def test_a_detector_takes_the_place_of_landmarks(folder: Folder) -> None:
    photographs(folder.path / "photographs")
    declared = {"folder": str(folder.path / "photographs"), "pack": {"pairs": 20}}
    folder.config["data"] = {"photographs": declared}
    folder.config["experiments"] = [{"method": "arcface", "dataset": "photographs"}]
    folder.config["benchmarks"] = [{"name": "pairs", "data": "photographs.pairs"}]
    before = folder.plan()
    declared["pack"]["detector"] = "mtcnn"
    after = folder.plan()
    assert not set(before.runs) & set(after.runs)
    assert after.benchmarks["pairs"].spec["options"]["alignment"].startswith("five_point")
    assert "--data-dir" in after.sources.makings[0].arguments
    assert "--data-dir" not in before.sources.makings[0].arguments
    declared["pack"]["detector"] = "nobody"
    with pytest.raises(InputError, match="no detector 'nobody'; expected a path"):
        folder.plan()


def test_planning_imports_neither_torch_nor_snakemake() -> None:
    heavy = "{'torch', 'snakemake', 'matplotlib', 'pandas', 'cv2'} & set(sys.modules)"
    script = f"import sys, aroface.planning.products, aroface.planning.forecast.costs_text; print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_crops_that_a_benchmark_does_not_name_are_refused_before_anything_is_trained(folder: Folder) -> None:
    spec = {"identities": 2, "gallery_per_identity": 1, "probes_per_identity": 1, "distractors": 1}
    generate_tinyface(spec, 1, folder.path / "TinyFace", workers=1)
    for part in ("Gallery_Match", "Probe", "Gallery_Distractor"):
        (folder.path / "TinyFace/aligned_pad_0.1_pad_high" / part).mkdir(parents=True)
    folder.config["benchmarks"] = ["tinyface"]
    folder.plan()
    folder.config["benchmarks"] = [{"name": "t", "data": "tinyface", "options": {"alignment": "aligned_other"}}]
    expected = "TinyFace: the images are taken from aligned_pad_0.1_pad_high; expected alignment 'aligned_other'"
    with pytest.raises(InputError, match=expected):
        folder.plan()
