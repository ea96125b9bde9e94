"""Every table and figure of the two configurations in every class by every engine, judged by log and PDF."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from aroface.planning.products import Products, find_products
from aroface.reporting.export.compiling import cannot_compile, compile_folder
from aroface.reporting.export.folder import Fragment
from aroface.reporting.export.templates import TEMPLATES
from aroface.reporting.latexmk import ENGINES
from exported_folders import write_export
from made_up_results import made_up_plan

CONFIGURATIONS = {"reproduction": "config.yaml", "demo": "workflow/configs/demo.yaml"}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@cache
def products(place: Path, configuration: str) -> Products:
    return find_products(made_up_plan(place / configuration, CONFIGURATIONS[configuration]))


@cache
def exported(place: Path, configuration: str, template: str) -> tuple[Path, list[Fragment]]:
    folder = place / f"{configuration}-{template}"
    return folder, write_export(products(place, configuration), template, folder)


@pytest.mark.latex_matrix
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("configuration", "template"),
    [
        pytest.param(configuration, template, marks=pytest.mark.xdist_group(f"{configuration}-{template}"))
        for configuration in CONFIGURATIONS
        for template in TEMPLATES
    ],
)
def test_matrix(engine: str, template: str, configuration: str, place: Path, tmp_path: Path):
    if lacking := cannot_compile(TEMPLATES[template], engine):
        pytest.fail(lacking, pytrace=False)
    folder, fragments = exported(place, configuration, template)
    shutil.copytree(folder, tmp_path / "paper")
    faults = [*map(str, compile_folder(tmp_path / "paper", fragments, engine))]
    assert not faults, "\n".join(faults)
    assert len(fragments) > 8
    assert (tmp_path / "paper" / "main.pdf").exists()
