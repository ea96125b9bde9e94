"""Anchors: one for each cell, of characters that HTML, URLs and LaTeX leave alone."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from aroface.reporting.anchors import cell_anchor, run_anchor
from aroface.reporting.tables.spec import read_spec
from repository import ROOT

SPECS = sorted((ROOT / "paper_tables" / "specs").rglob("*.yaml"))
NAME = r"[A-Za-z][A-Za-z0-9_-]*"


def test_an_anchor_speaks():
    assert cell_anchor("tinyface", "ArcFace+ARoFace@MS1MV2", "rank1") == "cell-tinyface--ArcFace-ARoFace-MS1MV2--rank1"
    assert re.fullmatch(
        "cell-claim--ArcFace-ARoFace-plain-[0-9a-f]{6}--rank1", cell_anchor("claim", "ArcFace@ARoFace − plain", "rank1")
    )
    assert run_anchor("arcface-x-r8s4-s0-5d612bd6") == "run-arcface-x-r8s4-s0-5d612bd6"


def test_all_cells_of_all_specifications_have_anchors_of_their_own():
    addresses = set()
    for spec in map(read_spec, SPECS):
        addresses |= {(spec.name, row.key, column.id) for row in spec.rows or () for column in spec.columns}
    assert len(addresses) > 300
    assert len({cell_anchor(*address) for address in addresses}) == len(addresses)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=2, unique=True))
def test_whatever_a_row_is_called_its_anchor_is_plain_and_its_own(names: list[str]):
    one, other = (cell_anchor("t", f"{name.replace('@', ' ')}@x", "c") for name in names)
    assert re.fullmatch(NAME, one)
    if names[0].replace("@", " ") != names[1].replace("@", " "):
        assert one != other
