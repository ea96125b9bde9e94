"""The house is as README.md draws it."""

import re
from pathlib import Path

HOUSE = Path("src/aroface")


def rooms() -> list[str]:
    """As README.md lists them, each importing only from those before it."""
    (line,) = re.findall(r"^src/aroface/ +(.*)$", Path("README.md").read_text(), re.M)
    return line.split(" → ")


def test_the_readme_names_every_room():
    there = {path.parent.name for path in HOUSE.glob("*/__init__.py") if not path.parent.name.startswith("_")}
    assert sorted(rooms()) == sorted(there)


def test_a_room_imports_only_from_those_left_of_it():
    order = rooms()
    for place, room in enumerate(order):
        for path in (HOUSE / room).rglob("*.py"):
            found = set(re.findall(r"^\s*(?:from|import) aroface\.(\w+)", path.read_text(), re.M))
            assert not found & {*order[place + 1 :]}, path
            assert not re.search(r"^\s*(?:from|import) snakemake", path.read_text(), re.M), path
