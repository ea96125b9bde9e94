"""The page on fidelity names options that exist, with the values that they have."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from aroface.adversary.options import PROFILES, UNSAID, AdversaryOptions
from aroface.heads.registry import HEADS
from aroface.models.options import BackboneOptions
from aroface.planning.config import _OPTIONAL, _recipe_layers, lay_over, read_recipes
from aroface.training.recipe import Optimiser, Recipe

PAGE = Path("docs/explanation/fidelity.md")


def rows_of(section: str) -> list[dict[str, str]]:
    """The rows of the table of a section, by the heads of its columns."""
    text = PAGE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def value(cell: str) -> Any:
    """Words of a cell in backticks."""
    return yaml.safe_load(re.fullmatch(r"`(.*)`", cell)[1])  # type: ignore[index]


def names(rows: list[dict[str, str]]) -> list[str]:
    return [value(row["option"]) for row in rows]


def test_the_adversarys_options_are_there_with_the_values_of_the_profiles() -> None:
    rows = rows_of("The adversary")
    known = {field.name for field in fields(AdversaryOptions)}
    assert {*names(rows)} <= known
    assert {*names(rows)} >= {*PROFILES["official"], *PROFILES["clean"], *UNSAID}
    for row in rows:
        for profile in PROFILES:
            assert value(row[f"`{profile}`"]) == getattr(AdversaryOptions.profile(profile), value(row["option"]))


def _known() -> set[str]:
    nested = {"optimiser": Optimiser, "backbone": BackboneOptions}
    inner = {f"{name}.{field.name}" for name, kind in nested.items() for field in fields(kind)}
    return {field.name for field in fields(Recipe)} | inner


def test_the_recipes_options_are_there() -> None:
    listed = {*names(rows_of("The training"))}
    assert listed <= _known()
    optional = {
        f"{key}.{inner}" if inner else key
        for key, default in _OPTIONAL.items()
        for inner in (default if isinstance(default, dict) else [""])
        if key != "adversary"
    }
    assert optional <= listed


@pytest.mark.parametrize("recipe", ["page2048", "clean2048", "adaface_official"])
def test_the_recipes_have_the_values_of_the_page(recipe: str) -> None:
    resolved: dict[str, Any] = {**_OPTIONAL}
    for _, layer in _recipe_layers(read_recipes(), recipe, "ms1mv3"):
        resolved = lay_over(resolved, layer)
    for row in rows_of("The training"):
        found: Any = resolved
        for key in value(row["option"]).split("."):
            found = found[key]
        assert value(row[f"`{recipe}`"]) == found, row["option"]


def test_the_heads_options_are_there() -> None:
    known = {field.name for _, kind in HEADS.values() for field in fields(kind)}
    assert {*names(rows_of("The heads"))} == {"gradient", "guard", "norm_stats", "plus"} <= known


def test_every_word_in_code_type_is_known() -> None:
    """Options and recipes in running text, too, are those of the code."""
    text = PAGE.read_text()
    recipes = {*read_recipes()}
    for word in re.findall(r"`([a-z_]+2048|[a-z]+512|adaface_\w+)`", text):
        assert word in recipes


def test_the_readme_leads_there() -> None:
    assert "(docs/explanation/fidelity.md)" in Path("README.md").read_text()
