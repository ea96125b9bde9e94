"""Files of the project's root that other tools read: licence facts, hooks before a commit, the workflow catalogue."""

from __future__ import annotations

import tomllib

import yaml

from repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_licence_is_one():
    (annotation,) = (
        each for each in tomllib.loads((ROOT / "REUSE.toml").read_text())["annotations"] if each["path"] == "**"
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    name = annotation["SPDX-License-Identifier"]
    assert PROJECT["license"] == citation["license"] == name
    text = (ROOT / "LICENSES" / f"{name}.txt").read_text()
    assert text == (ROOT / "LICENSE").read_text()
    assert f"Copyright (c) {annotation['SPDX-FileCopyrightText']}" in text


def test_hooks_call_the_pinned_tools():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local", "nothing is downloaded"
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in local["hooks"]}
    assert tools == {"mypy", "ruff", "snakefmt"}
    assert tools <= {*PROJECT["optional-dependencies"]["dev"]}
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    lint = (ROOT / "Makefile").read_text()
    commands = ["ruff check", "ruff format --check", "snakefmt --check Snakefile workflow/rules", "mypy"]
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in local["hooks"]] == commands
    assert all(f"$(bin)/{command}" in lint for command in commands)


def test_the_catalogue_names_how_packages_are_deployed():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    deployment = usage["software-stack-deployment"]
    assert deployment == {"conda": "conda:" in rules, "apptainer": "container:" in rules, "apptainer+conda": False}
    assert usage["report"] == ("report(" in rules)
