"""Order of the packages: each imports only from those before it, as README.md draws them and as listed here."""

import re
from pathlib import Path

import pytest

PACKAGE = Path("src/aroface")
INNER = {
    "datasets": ["formats", "identity", "synthetic", "preparation"],
    "datasets/formats": ["base", "checks", "image_checks", "registry"],
    "embedding": ["image_source", "base", "protocols", "benchmark_spec", "embed"],
    "evaluation": ["metrics", "statistics", "protocols"],
    "evaluation/protocols": ["outcome", "base", "registry"],
    "reporting": ["rounding", "statistics", "tables", "claims", "figures", "html_report"],
    "reporting/figures": ["form", "words", "fragment", "curves", "layout"],
    "planning": ["config", "data_sources", "plan", "figure_inputs", "products", "forecast", "report_material"],
}
"""Order within a package; a module or package that is not listed is free."""


def rooms() -> list[str]:
    """Packages as README.md lists them."""
    (line,) = re.findall(r"^src/aroface/ +(.*)$", Path("README.md").read_text(), re.M)
    return line.split(" → ")


def modules_of(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def imported(path: Path, package: str) -> set[str]:
    """Names directly below ``package`` that a module imports, at its top or within a function."""
    text = path.read_text()
    names = set(re.findall(rf"^\s*(?:from|import) {re.escape(package)}\.(\w+)", text, re.M))
    for listed in re.findall(rf"^\s*from {re.escape(package)} import (\([^)]*\)|.*)$", text, re.M):
        names |= {name.split(" as ")[0].strip() for name in listed.strip("()").split(",")}
    return names


def test_the_readme_names_every_package():
    there = {path.parent.name for path in PACKAGE.glob("*/__init__.py") if not path.parent.name.startswith("_")}
    assert sorted(rooms()) == sorted(there)


@pytest.mark.parametrize("within", [".", *INNER])
def test_packages_import_only_from_those_before_them(within: str):
    order = rooms() if within == "." else INNER[within]
    package = ".".join(["aroface", *Path(within).parts])
    for place, name in enumerate(order):
        found = modules_of(PACKAGE / within / name)
        assert all(path.exists() for path in found) and found, name
        for path in found:
            assert not imported(path, package) & {*order[place + 1 :]}, path


def test_modules_beside_the_packages_import_none_of_them():
    for path in PACKAGE.glob("[!_]*.py"):
        assert not imported(path, "aroface") & {*rooms()}, path


def test_no_module_imports_snakemake():
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"^\s*(?:from|import) snakemake", path.read_text(), re.M), path


def test_a_class_name_has_one_meaning():
    defined = [
        name
        for folder in (PACKAGE, Path("workflow"))
        for path in folder.rglob("*.py")
        for name in re.findall(r"^class (\w+)", path.read_text(), re.M)
    ]
    assert not {name for name in defined if defined.count(name) > 1}
