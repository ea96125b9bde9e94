"""The documentation mentions only commands, targets, paths, keys and pages that exist."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from aroface.cli.main import _parser
from aroface.exit_status import ExitStatus
from aroface.planning.config import read_configuration, read_experiments
from aroface.schemas import read_yaml, validate
from documentation import DOCS, PAGES, blocks, code_spans, command_lines, documented_metrics, generators, links
from repository import ROOT

reference = generators()
BY_NAME = {str(page.relative_to(ROOT)): page for page in PAGES}
OF_THE_READER = {"slurm/site.yaml", "workflow/envs/aroface.sif", "paper_tables/specs/mine.yaml"}
"""Paths that a reader creates."""

every_page = pytest.mark.parametrize("page", BY_NAME.values(), ids=BY_NAME)


def verbs() -> dict[str, argparse.ArgumentParser]:
    return dict(reference.leaf_verbs(_parser()))


def check_words(words: list[str]) -> None:
    """The verb exists, and has the options."""
    rest = [word for word in words[1:] if word != "--debug"]
    if not rest or rest[0] in ("…", "VERB", "--help", "--version"):
        return
    known = verbs()
    name = rest[0] if rest[0] in known else " ".join(rest[:2])
    assert name in known or any(verb.startswith(f"{name} ") for verb in known), words
    if name in known:
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given <= {*known[name]._option_string_actions}, words


def calls(line: str) -> Iterator[list[str]]:
    """Calls of ``aroface`` in a line of shell."""
    for part in re.split(r"&&|\||;", line):
        words = shlex.split(part, comments=True)
        if "aroface" in words and words[0] in ("aroface", "torchrun"):
            yield words[words.index("aroface") :]


@every_page
def test_commands_parse(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in command_lines(page):
        for words in calls(line):
            if "…" in words:
                check_words(words)
                continue
            try:
                _parser().parse_args(words[1:])
            except SystemExit as end:
                assert end.code == 0, f"{line}\n{capsys.readouterr().err}"


@every_page
def test_inline_commands_are_known(page: Path) -> None:
    for span in code_spans(page):
        if re.match(r"aroface( |$)", span):
            check_words(shlex.split(span))


def test_a_wrong_command_is_found() -> None:
    with pytest.raises(AssertionError):
        check_words(["aroface", "data", "get"])
    with pytest.raises(AssertionError):
        check_words(["aroface", "table", "--fromat"])


@every_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.M)) | {".venv/.ready"}
    code = "\n".join([*command_lines(page), *code_spans(page)])
    assert set(re.findall(r"(?:^|&& )make ([\w./-]+)", code, re.M)) <= targets


@every_page
def test_paths_exist(page: Path) -> None:
    code = " ".join([*command_lines(page), *code_spans(page)])
    mentioned = re.findall(
        r"(?<![\w./-])((?:src|workflow|tests|docs|paper_tables|slurm|performance|profiles)/[\w./*-]*)", code
    )
    for path in {path.rstrip(".") for path in mentioned} - OF_THE_READER:
        assert any(ROOT.glob(path.rstrip("/"))), path


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        place = (page.parent / target).resolve()
        assert place.exists(), target


def key_paths(name: str) -> set[str]:
    root = reference.read_schema(name)
    found = set(root["properties"])
    for key, schema in root["properties"].items():
        found |= {path for path, _ in reference.keys_below(reference.resolved(schema, root), root, key)}
    return found


CONFIG, RECIPE = key_paths("config"), key_paths("recipe")
SITE = set(reference.read_schema("site")["properties"])
OPEN = ("data.", "experiment", "benchmarks", "figures")
"""Where names are free or lists hold mappings."""


def paths_of(value: Any, prefix: str = "") -> Iterator[str]:
    for key, inner in value.items():
        yield f"{prefix}{key}"
        if isinstance(inner, dict):
            yield from paths_of(inner, f"{prefix}{key}.")


@every_page
def test_configuration_keys_exist(page: Path) -> None:
    for span in code_spans(page):
        if re.fullmatch(r"(training|resources|paths)\.[a-z_.]+", span):
            assert span in CONFIG, span
        if re.fullmatch(r"(optimiser|adversary|schedule|backbone)\.[a-z_.]+", span):
            assert span in RECIPE, span
        if re.match(r"[a-z_]+: *[{\[\w]", span) and "://" not in span:
            try:
                value = yaml.safe_load(span)
            except yaml.YAMLError:  # a line of a log
                continue
            for path in paths_of(value) if isinstance(value, dict) else ():
                top = path.split(".")[0]
                inner = {key.rpartition(".")[2] for key in RECIPE | CONFIG}
                assert path in CONFIG | RECIPE or top in SITE or path.startswith(OPEN) or path in inner | OTHER, span


OTHER = {"detector_weighting", "alignment", "rows", "experiment", "detector", "points", "perturbed", "unit"}
"""Keys of benchmarks, tables and records in running text."""


def test_the_site_has_every_page() -> None:
    text = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r": ([\w/-]+\.md)$", text, re.M))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_readme_has_the_loop_of_the_tutorial() -> None:
    assert blocks(ROOT / "README.md", "python") == blocks(DOCS / "tutorials/adversary-in-your-loop.md", "python")


# Generated references


def test_every_generator_is_on_a_page() -> None:
    named = [name for page in DOCS.rglob("*.md") for name in reference.MARK.findall(page.read_text())]
    assert sorted(named) == sorted(reference.GENERATORS)


@pytest.mark.parametrize("name", reference.GENERATORS)
def test_generated_text_is_filled_in(name: str) -> None:
    text = reference.fill(f"<!-- generate: {name} -->")
    assert len(text) > 200 and "<!-- generate" not in text
    widths = [[len(re.findall(r"(?<!\\)\|", line)) for line in part.splitlines()] for part in tables(text)]
    assert all(len({*width}) == 1 for width in widths), "each row has the columns of its table"


def tables(text: str) -> list[str]:
    return [part for part in text.split("\n\n") if part.startswith("|")]


def test_every_verb_is_documented() -> None:
    text = reference.command_line()
    assert all(f"## aroface {name}\n" in text for name in verbs())


@pytest.mark.parametrize("name", ["config", "recipe", "record"])
def test_every_key_has_a_description(name: str) -> None:
    root = reference.read_schema(name)
    for key, schema in root["properties"].items():
        schema = reference.resolved(schema, root)
        assert schema.get("description"), key
        for path, inner in reference.keys_below(schema, root, key):
            assert inner.get("description"), path


def test_every_environment_variable_is_documented() -> None:
    assert {*reference.VARIABLES} == reference.used_variables()


def test_every_exit_status_is_documented() -> None:
    text = reference.exit_statuses()
    assert re.findall(r"^\| `(\d+)`", text, re.M) == [str(int(status)) for status in ExitStatus]


def test_registries_are_documented() -> None:
    for name, text in (("recipes", reference.recipes()), ("methods", reference.methods())):
        assert all(key in text for key in read_yaml(ROOT / f"workflow/registries/{name}.yaml"))


# Examples of the page on extensions

EXTEND = DOCS / "how-to/extend.md"


def examples() -> dict[str, dict[str, Any]]:
    """YAML of the page by the first key that names it."""
    return {next(iter(value)): value for value in map(yaml.safe_load, blocks(EXTEND, "yaml"))}


@pytest.mark.parametrize(
    ("key", "schema"),
    [
        ("adaface_aroface_strong", "methods"),
        ("page2048_long", "recipes"),
        ("myset", "datasets"),
        ("mypairs", "benchmarks"),
        ("name", "table"),
    ],
)
def test_example_is_valid(key: str, schema: str) -> None:
    validate(examples()[key], schema)


def test_example_experiment_resolves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The method, recipe and experiment of the page, in a copy of the registries."""
    folder = tmp_path / "workflow/registries"
    folder.mkdir(parents=True)
    for path in (ROOT / "workflow/registries").iterdir():
        (folder / path.name).write_text(path.read_text())
    found = examples()
    for name, key in (("methods", "adaface_aroface_strong"), ("recipes", "page2048_long")):
        with (folder / f"{name}.yaml").open("a") as file:
            file.write("\n" + yaml.safe_dump(found[key]))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**found["experiments"], "recipe": "page2048_long"}))
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    (experiment,) = read_experiments(read_configuration([Path("config.yaml"), Path("mine.yaml")]))
    assert experiment.recipe is not None
    assert (experiment.recipe["epochs"], experiment.recipe["adversary"]["warped_ratio"]) == (40, 0.5)


def test_example_head_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    from aroface.heads.partial_fc import Classifier

    module = ModuleType("softmargin")
    monkeypatch.setitem(sys.modules, "softmargin", module)  # where dataclasses look their module up
    exec("\n".join(blocks(EXTEND, "python")), module.__dict__)
    head = module.SoftMargin(module.SoftMarginOptions())
    classifier = Classifier(5, 8, head, seed=0)
    embeddings = torch.randn(4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3])
    loss = classifier(embeddings, labels)
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(classifier.weight).T
    logits = 64 * cosines
    own = cosines[torch.arange(4), labels]
    logits = logits.scatter(1, labels[:, None], 64 * (own - 0.4 * (1 - own))[:, None])
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, labels), atol=1e-4)
    loss.backward()
    assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0


def test_metrics_of_the_tables_are_documented() -> None:
    documented = documented_metrics()
    for path in (ROOT / "paper_tables/specs").rglob("*.yaml"):
        for column in read_yaml(path)["columns"]:
            metric = column.get("metric", "rank1")
            assert any(pattern.fullmatch(metric) for pattern in documented), (path, metric)
