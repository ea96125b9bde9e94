"""Citations of what a table names, and their BibTeX entries."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aroface.cli.main import main
from aroface.errors import InputError
from aroface.reporting.tables.bibtex import bibtex, entries
from aroface.reporting.tables.citations import Citations, citations_above, cite, cited_keys, read_citations, texts
from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.render import make_grid, render_table
from aroface.reporting.tables.spec import read_spec
from aroface.reporting.tables.tex_text import escape
from repository import ROOT, SPECS

FILE = ROOT / "paper_tables" / "citations.yaml"
NAMES = [path.relative_to(SPECS).with_suffix("").as_posix() for path in sorted(SPECS.rglob("*.yaml"))]
STYLES = ("plain", "splncs04", "IEEEtran", "ACM-Reference-Format", "elsarticle-num", "apsrev4-2")
LEFT_OUT = re.compile("Warning--(empty (publisher|address|pages)|page numbers missing)")


def citations() -> Citations:
    return read_citations(FILE)


def test_every_name_has_an_entry_and_every_entry_a_name():
    found = citations()
    assert {key for keys in found.names.values() for key in keys} == {*found.entries}


def test_titles_and_names_are_whole():
    for key, entry in citations().entries.items():
        assert entry.author and entry.year
        assert str(entry.year) in key
        family = entry.author.split(",")[0].lower()
        assert key.startswith(family)
        assert all("," in author for author in entry.author.split(" and ")), key


@pytest.mark.parametrize("name", NAMES)
def test_every_method_training_set_and_benchmark_of_a_table_is_cited(name: str):
    path = SPECS / f"{name}.yaml"
    spec = read_spec(path)
    table = make_grid(path, "nowhere", mode="both")
    found = citations()
    keys = cited_keys("".join(texts(cite(table, found))))
    printed = {part for row in table.rows for text in row.full_headers for part in text.split("+")}
    for text in printed & {*found.names}:
        assert {*found.names[text]} <= {*keys}
    assert "⟦" not in render_table(path, "nowhere", mode="both", cite=True)
    assert r"\cite" not in render_table(path, "nowhere", mode="both").replace(r"\arocite", "")
    for word in ("TinyFace", "LFW", "IJB-S", "IJB-B", "IJB-C"):
        headings = " ".join(heading for leaf in table.leaves for heading in leaf.path)
        if word in f"{spec.caption} {headings}".replace("TinyFace protocol", ""):
            assert found.names[word][0] in keys


def test_a_table_that_citations_would_split_has_them_below_it():
    """IJB-S is as wide as LNCS's text without them."""
    narrow, wide = (
        render_table(SPECS / "ijbs.yaml", "nowhere", mode="reported", cite=True, form=TableForm(width=width))
        for width in (347.12, 500)
    )
    assert narrow.count(r"\toprule") == 1
    rows, notes = narrow.split(r"\bottomrule")
    assert r"\cite" not in rows.split(r"\toprule")[1]
    assert r"Methods and data sets: ArcFace~\cite{deng2019arcface}, MS1MV2" in notes
    assert r"ArcFace~\cite{deng2019arcface}" in wide.split(r"\bottomrule")[0]
    assert {*re.findall(r"\\cite\{([^}]+)", narrow)} == {*re.findall(r"\\cite\{([^}]+)", wide)}


def test_each_name_is_cited_once_where_it_first_stands():
    text = render_table(SPECS / "tinyface.yaml", "nowhere", mode="reported", cite=True)
    assert r"\caption[{TinyFace evaluations}]{TinyFace~\cite{cheng2018tinyface} evaluations" in text
    assert r"\textbf{ArcFace+ARoFace~\cite{saadabadi2024aroface}}" in text
    assert r"ArcFace+CFSM~\cite{deng2019arcface,liu2022cfsm}\arostar" in text
    assert r"MS1MV2~\cite{guo2016msceleb,deng2019arcface}" in text
    assert len(re.findall(r"\\cite\{", text)) == 10


def test_names_of_headings_are_cited_in_a_note():
    text = render_table(SPECS / "ablation_step.yaml", "nowhere", mode="reproduced", cite=True)
    assert r"Benchmarks: LFW~\cite{huang2007lfw}, CFP-FP~\cite{sengupta2016cfp}, AgeDB~\cite{" in text
    assert r"& LFW & CFP-FP & CFP-FF &" in text


def test_a_specification_cites_its_own_names(tmp_path: Path):
    content = (
        (SPECS / "tinyface.yaml")
        .read_text()
        .replace("name: tinyface\n", "name: tinyface\ncite: {URL: own2025, PFE: null}\n")
    )
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "tinyface.yaml").write_text(content)
    shutil.copy(FILE, tmp_path)
    path = folder / "tinyface.yaml"
    assert r"URL~\cite{own2025}" in render_table(path, "nowhere", mode="reported", cite=True)
    entries_of_it = bibtex(read_spec(path), make_grid(path, "nowhere", mode="reported"))
    assert "% own2025: an entry of your own bibliography." in entries_of_it
    assert "shi2020universal" not in entries_of_it


def test_no_citations_where_there_is_no_file(tmp_path: Path):
    assert citations_above(tmp_path / "specs" / "x.yaml") == Citations()
    shutil.copy(SPECS / "tinyface.yaml", tmp_path / "tinyface.yaml")
    assert r"\cite" not in render_table(tmp_path / "tinyface.yaml", "nowhere", mode="reported", cite=True)


def test_keys_keep_their_underscores():
    assert escape("A_b⟦c_d,e:f⟧ 5 %") == r"A\_b~\cite{c_d,e:f} 5 \%"


def test_an_unknown_key_is_one_line():
    with pytest.raises(InputError, match="no citation 'nobody2030'; expected one of deng2019arcface"):
        entries(["nobody2030"], citations())
    assert entries(["kim2022adaface"]).startswith(
        "@inproceedings{kim2022adaface,\n  title = {{AdaFace: Quality Adaptive"
    )


def test_the_command_writes_entries_of_all_that_is_cited(capsys: pytest.CaptureFixture[str]):
    assert main(["table", str(SPECS / "tinyface.yaml"), "--mode", "reported", "--bibtex"]) == 0
    found = capsys.readouterr().out
    cited = render_table(SPECS / "tinyface.yaml", "nowhere", mode="reported", cite=True)
    wanted = {key for keys in re.findall(r"\\cite\{([^}]*)\}", cited) for key in keys.split(",")}
    assert {*re.findall(r"@\w+\{([^,]+),", found)} == wanted


@pytest.mark.parametrize("style", STYLES)
def test_bibtex_reads_every_entry_without_a_warning(tmp_path: Path, style: str):
    """With fields left out that are not certain: publishers, addresses and pages."""
    found = citations()
    (tmp_path / "aroface.bib").write_text(entries(found.entries, found), encoding="utf-8")
    (tmp_path / "paper.aux").write_text(
        "\\relax\n\\citation{*}\n" + f"\\bibstyle{{{style}}}\n\\bibdata{{aroface}}\n", encoding="utf-8"
    )
    done = subprocess.run(["bibtex", "paper"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    warnings = [line for line in done.stdout.splitlines() if line.startswith("Warning--")]
    assert [line for line in warnings if not LEFT_OUT.match(line)] == []
    text = (tmp_path / "paper.bbl").read_text(encoding="utf-8")
    assert len(re.findall(r"^\\bibitem *[\[{]", text, re.MULTILINE)) == len(found.entries)
