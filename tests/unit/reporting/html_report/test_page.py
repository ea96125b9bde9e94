"""The report: whole, self-contained, and true to the records, whatever is missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.reporting.test_document import latex as latex  # the fixture

from aroface.files import digest, write_json
from aroface.reporting.document import compile_document
from aroface.reporting.explain import explain
from aroface.reporting.figures.alignment_errors import figure_fae
from aroface.reporting.html_report.dag import Step, boxes, layers
from aroface.reporting.html_report.data import ReportedDataSet
from aroface.reporting.html_report.page import Material, Picture, render_report, write_report
from aroface.reporting.html_report.runs import ReportedRun, compare_runs, differences, flatten, settings
from aroface.reporting.records import RecordedExperiment
from aroface.reporting.tables.form import TableForm
from aroface.reporting.tables.latex import TEMPLATES
from aroface.reporting.tables.render import render_table, write_table
from aroface.reporting.tables.spec import read_spec
from aroface.reporting.tables.tex_text import escape, unescape
from aroface.results import Results
from made_up_records import sweep, write_record
from made_up_tables import fill_table
from rendered import unlinked
from repository import ROOT

SPECS = ROOT / "paper_tables" / "specs"
SOURCES = tuple(read_spec(path) for path in sorted(SPECS.glob("*.yaml")))
VOID = {"meta", "img", "br", "wbr", "hr", "input", "link"}


class Page(HTMLParser):
    """What a page consists of; elements that are not closed, or in another order, are refused."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert not any(name.startswith("on") for name in values)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if tag == "a" and "href" in values else []
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "poster", "action")]
        self.loads += [values["href"] or ""] if tag != "a" and "href" in values else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.images += [values] if tag == "img" else []
        if tag not in VOID and not (self._open and self._open[-1] == "svg" and tag in ("path", "rect")):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("path", "rect")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self._open:
            self.text.append(data)

    @property
    def words(self) -> str:
        """All text, spaces made one."""
        return " ".join(" ".join(self.text).split())


def a_run(folder: Path, record: Path, **recipe: object) -> ReportedRun:
    """The plan's side of a record's run, with a checkpoint."""
    written = json.loads(record.read_text())
    name, source = written["run"], written["provenance"]
    entry = {
        "schema": 1,
        "run": name,
        "experiment": written["experiment"],
        "recipe": {**(source["recipe"] or {}), **recipe},
        "recipe_hash": source["recipe_hash"],
        "data": source["data"],
        "semantics": 1,
    }
    checkpoint = {
        "weights": {"file": "model.safetensors", "sha256": source["weights_sha256"]},
        "source": "trained",
        "environment": {"git_commit": "b" * 40, "versions": {"torch": "2.13.0"}, "hardware": {"gpu": "A100"}},
        "cost": {"wall_s": 7200.0, "device_hours": 8.0},
    }
    write_json(folder / "runs" / name / "checkpoint.json", checkpoint)
    write_json(folder / "recipes" / f"{name}.json", entry)
    (folder / "runs" / name / "model.safetensors").write_bytes(b"weights")
    files = (folder / "runs" / name, folder / "recipes" / f"{name}.json")
    return ReportedRun(name, entry, *files, (written["benchmark"],))


def material(folder: Path, runs: tuple[ReportedRun, ...] = (), **changes: object) -> Material:
    """What a report of ``folder`` is made of: TinyFace and the authors' IJB-S."""
    experiments = dict.fromkeys(
        RecordedExperiment(*(run.entry["experiment"][key] for key in ("method", "dataset", "arch"))) for run in runs
    )
    values = {
        "note": "Numbers that nobody measured.",
        "specs": tuple(spec for spec in SOURCES if spec.name in ("tinyface", "ijbs")),
        "sources": SOURCES,
        "claims": SPECS.parent / "claims.yaml",
        "records": folder / "records",
        "results": folder,
        "experiments": tuple(experiments),
        "labels": {},
        "runs": runs,
        "data": (),
        "pictures": (),
        "document": None,
        "steps": (Step("train", tuple(run.checkpoint_file for run in runs)), Step("report", after=("train",))),
        "missing": (),
        "costs": (),
        "workflow": "snakemake --cores all",
    }
    return Material(**{**values, **changes})


@pytest.fixture
def whole(tmp_path: Path) -> Material:
    """Three seeds of every row of TinyFace that a run could fill, a figure and two data sets."""
    records = tmp_path / "records"
    fill_table(records, SPECS / "tinyface.yaml")
    runs = tuple(a_run(tmp_path, path) for path in sorted(records.glob("*/tinyface.json")))
    for run in runs[:2]:
        experiment = run.entry["experiment"]
        series = sweep(0.9, 0.05)
        options = {"benchmark": "fae", "protocol": "sensitivity", "series": series}
        write_record(tmp_path / "swept", experiment["method"], {"auc_hq": 0.9}, seed=experiment["seed"], **options)
    figure_fae(tmp_path / "swept", "fae", tmp_path / "figures" / "fae", caption_note="5 % of <b> & {more}.")
    manifest = tmp_path / "data" / "ms1mv2" / "manifest.json"
    verdicts = {"complete": {"passed": True, "detail": "all there"}, "counts": {"passed": False, "detail": "3 fewer"}}
    content = {"name": "x", "kind": "training", "identity": {"files": {}}, "counts": {"images": 5822653}}
    write_json(manifest, {**content, "files": {"train.rec": {"size": 10**9, "sha256": "0" * 64}}, "verdicts": verdicts})
    terms = ("research only", "Somebody", "https://example.org/", "A paper")
    data = (
        ReportedDataSet("ms1mv2", "MS1MV2", "training", "d" * 64, manifest, "training", *terms),
        ReportedDataSet(
            "tinyface", "TinyFace", "tinyface", "e" * 64, tmp_path / "no.json", "evaluation", missing="Ask."
        ),
    )
    return material(tmp_path, runs, data=data, pictures=(Picture("fae", tmp_path / "figures" / "fae"),))


def cell(page: str, row: str, column: str) -> list[str]:
    """The texts of a cell's links in the order of the page."""
    return re.findall(rf'<td>(?:<span class="value">)?<a href="#cell-tinyface--{row}--{column}">(?:<b>)?([^<]*)', page)


def test_the_page_needs_nothing_beside_it_and_every_link_leads_somewhere(whole: Material, tmp_path: Path):
    write_report(whole, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert "url(" not in text.split("</style>")[0]
    assert "@import" not in text
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\(", text)
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("https://"):
            assert (tmp_path / link).is_file()
    assert str(tmp_path) not in " ".join(page.links)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(page.headings))
    assert [bool(image["alt"]) for image in page.images] == [True]
    assert '<html lang="en">' in text
    for scheme in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert scheme in text


def test_a_page_of_mistakes_is_linked_where_it_is_there(whole: Material, tmp_path: Path):
    assert ">mistakes</a>" not in render_report(whole, tmp_path)
    run = whole.runs[0].name
    page = Results(tmp_path).mistakes(run, "tinyface")
    page.parent.mkdir(parents=True)
    page.write_text("faces")
    assert render_report(whole, tmp_path).count(f'(<a href="mistakes/{run}/tinyface.html">mistakes</a>)') == 1


def test_a_claim_leads_to_the_cells_that_it_compares(whole: Material, tmp_path: Path):
    claims = render_report(whole, tmp_path).split('id="claims"')[1].split('id="findings"')[0]
    gain = claims.split("<code>tinyface_gain</code>")[1].split("</article>")[0]
    for side in ("paper", "reproduction"):
        line = gain.split(f">{side}</th>")[1].split("</tr>")[0]
        rows = ("ArcFace-ARoFace-MS1MV2", "ArcFace-CFSM-MS1MV2")
        assert re.findall(r'href="#([^"]*)"', line) == [f"cell-tinyface--{row}--rank1" for row in rows]


def test_numbers_are_the_tables_and_explanations_those_of_explain(whole: Material, tmp_path: Path):
    text = render_report(whole, tmp_path)
    assert cell(text, "ArcFace-ARoFace-MS1MV2", "rank1")[0] == "67.32"
    reported, reproduced, gap = cell(text, "AdaFace-ARoFace-WebFace12M", "rank1")[:3]
    assert reported == "74.00"
    assert float(reproduced) - 74 == pytest.approx(float(gap.replace("−", "-")), abs=1e-9)
    words = Page(text).words
    said = explain(
        "tinyface/AdaFace+ARoFace@WebFace12M/rank1",
        [SPECS / "tinyface.yaml"],
        whole.records,
        tmp_path,
        experiments=whole.experiments,
    )
    for line in said.splitlines():
        if line[13:].strip() and not line[13:].startswith("/"):
            assert " ".join(line[13:].split())[:60] in words
    assert words.count("3 seeds") > 5
    assert "✓" not in words  # the sign of a verdict is the style's, the word stands by itself
    assert "holds" in words
    assert "8.00 device-hours, 2.0 h on the clock" in words
    assert "gpu A100" in words
    assert "5,822,653 images in 1 file, 1.00 GB" in words
    assert "passed complete: all there" in words
    assert "failed counts: 3 fewer" in words
    assert "5 % of <b> & {more}." in words


def test_the_same_records_give_the_same_bytes(whole: Material, tmp_path: Path):
    first = render_report(whole, tmp_path)
    assert render_report(whole, tmp_path) == first
    newest = max(tmp_path.glob("records/*/*.json"), key=lambda path: path.stat().st_mtime)
    os.utime(newest, (86400 * 365 * 60, 86400 * 365 * 60))
    assert "17 December 2029, 00:00 UTC" in render_report(whole, tmp_path)


def test_nothing_at_all_is_a_page_of_reported_values(tmp_path: Path):
    text = render_report(material(tmp_path), tmp_path)
    page = Page(text)
    assert cell(text, "ArcFace-ARoFace-MS1MV2", "rank1") == ["67.32"]
    assert "none yet" in page.words
    assert "There are no two runs that differ." in page.words
    assert "not enough data" in page.words


def test_a_partial_run_has_gaps_and_says_what_is_missing(whole: Material, tmp_path: Path):
    gone = next(run for run in whole.runs if run.name.startswith("adaface_aroface-webface12m"))
    for run in whole.runs:
        if run.name.startswith("adaface_aroface-webface12m"):
            (tmp_path / "records" / run.name / "tinyface.json").unlink()
            run.checkpoint_file.unlink()
    (tmp_path / "figures" / "fae.png").unlink()
    text = render_report(whole, tmp_path)
    assert cell(text, "AdaFace-ARoFace-WebFace12M", "rank1") == ["74.00", "--", "--"]
    words = Page(text).words
    for part in (
        "3 runs:",
        "3 records: 3 of tinyface",
        "the figure fae",
        "Not drawn yet.",
        "12 of 14 values",
        gone.name,
    ):
        assert part in words


def test_records_that_do_not_go_together_are_said_where_their_table_would_be(whole: Material, tmp_path: Path):
    experiment = whole.runs[0].entry["experiment"]
    names = {key: experiment[key] for key in ("dataset", "arch", "seed")}
    path = write_record(tmp_path / "records", experiment["method"], {"rank1": 0.5, "rank5": 0.6}, lr=7.0, **names)
    rival = a_run(tmp_path, path)
    changed = material(tmp_path, (*whole.runs, rival))
    words = Page(render_report(changed, tmp_path)).words
    assert "This table cannot be filled:" in words
    assert f"has 2 runs of seed {experiment['seed']}" in words
    assert "61.65" in words, "the other table is there"


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&]]>{{ 7 * 7 }}"


def test_hostile_names_are_only_text(tmp_path: Path):
    path = write_record(tmp_path / "records", "arcface", {"accuracy": 0.5}, benchmark="lfw", protocol="pairs")
    run = a_run(tmp_path, path, note=HOSTILE, **{HOSTILE: "</script>"})
    other = a_run(
        tmp_path, write_record(tmp_path / "records", "adaface", {"accuracy": 0.5}, benchmark="lfw", protocol="pairs")
    )
    data = (ReportedDataSet(HOSTILE, HOSTILE, HOSTILE, "0" * 64, tmp_path / "none", HOSTILE, *[HOSTILE] * 4, HOSTILE),)
    changed = material(
        tmp_path,
        (run, other),
        note=HOSTILE,
        labels={"arcface": HOSTILE, "ms1mv2": "</table>"},
        specs=(read_spec(SPECS / "lfw.yaml"),),
        data=data,
        missing=(HOSTILE,),
        workflow=HOSTILE,
        steps=(Step(HOSTILE, (tmp_path / "x",)),),
    )
    text = render_report(changed, tmp_path)
    page = Page(text)
    assert page.loads == []
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "{{ 7 * 7 }}" in page.words
    embedded = json.loads(page.scripts[0])
    assert embedded[run.name]["recipe.note"] == json.dumps(HOSTILE)
    assert len([name for name in page.ids if name.startswith("cell-lfw--")]) == 2 * 2 * 7  # cells and their titles


values = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]) | st.just([1, 2])
keys = st.sampled_from(["a", "b", "ab", "c"])
inner = st.dictionaries(keys, values, max_size=3)
recipes = st.dictionaries(keys, values | inner | st.dictionaries(keys, inner, max_size=2), max_size=3)


def naive(value: object, path: tuple[str, ...] = ()) -> set[tuple[tuple[str, ...], str]]:
    """Every leaf of a nested mapping with the way to it."""
    if isinstance(value, dict) and value:
        return {leaf for key, item in value.items() for leaf in naive(item, (*path, key))}
    return {(path, json.dumps(value))}


@given(recipes, recipes)
def test_two_recipes_differ_where_their_leaves_do(one: dict, other: dict):
    found = differences(flatten(one), flatten(other))
    expected = (naive(one) ^ naive(other)) if one or other else set()
    sides = {(key, text) for key, pair in found.items() for text in pair if text is not None}
    assert {(tuple(key.split(".")), text) for key, text in sides} == {leaf for leaf in expected if leaf[0]}
    assert all(first != second for first, second in found.values())


def test_only_settings_in_which_runs_differ_are_listed(whole: Material):
    found = compare_runs(whole.runs)
    assert set(found.keys) == {
        key for key in settings(whole.runs[0]) if len({settings(run).get(key) for run in whole.runs}) > 1
    }
    assert "experiment.seed" in found.keys
    assert "recipe.optimiser.lr" not in found.keys
    assert "recipe_hash" not in found.settings[whole.runs[0].name]


def test_steps_stand_below_what_they_come_after():
    after = {"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("a", "nothing"), "f": ("d", "e")}
    rows = layers(after)
    level = {name: number for number, row in enumerate(rows) for name in row}
    assert all(level[name] > level[each] for name, others in after.items() for each in others if each in after)
    placed, width, height = boxes([Step(name, after=others) for name, others in after.items()])
    corners = [(box.x, box.y) for box in placed.values()]
    assert len({*corners}) == 6
    assert all(0 <= x <= width - 148 and 0 <= y <= height - 46 for x, y in corners)
    assert layers({}) == []


def test_a_step_counts_the_files_that_are_there(tmp_path: Path):
    (tmp_path / "a").touch()
    placed, _, _ = boxes([Step("x", (tmp_path / "a", tmp_path / "b"))])
    assert (placed["x"].done, placed["x"].planned) == (1, 2)


@given(st.text(st.sampled_from("aB1 \\~^&%$#_{}<>|±−×≥≤Δ°★≈∞→ηΩ–⁻⁶²\u00a0.,()"), max_size=30))
def test_a_caption_comes_back_from_latex(text: str):
    assert unescape(escape(text)) == text


def test_a_large_reproduction_takes_seconds(tmp_path: Path):
    for name in ("tinyface", "ijbs", "ijbb", "ijbc"):
        fill_table(tmp_path / "records", SPECS / f"{name}.yaml")
    paths: dict[str, Path] = {path.parent.name: path for path in sorted(tmp_path.glob("records/*/*.json"))}
    runs = tuple(a_run(tmp_path, path) for path in paths.values())
    shown = tuple(spec for spec in SOURCES if spec.name in ("tinyface", "ijbs", "ijbb", "ijbc"))
    start = time.process_time()
    text = render_report(material(tmp_path, runs, specs=shown), tmp_path)
    assert time.process_time() - start < 30
    assert text.count('class="why"') > 200
    assert len(text) < 8_000_000


@pytest.mark.latex
@pytest.mark.usefixtures("latex")
def test_the_documents_numbers_lead_into_the_report_and_its_pages_stay_the_same(whole: Material, tmp_path: Path):
    fragments = []
    for spec, mode in (("tinyface", "delta"), ("ijbs", "reported")):
        fragments.append(tmp_path / f"{spec}.tex")
        write_table(SPECS / f"{spec}.yaml", whole.records, fragments[-1], mode=mode, form=TableForm(links=True))
    pages = {}
    for name, report in (("plain", None), ("linked", tmp_path / "report.html"), ("again", tmp_path / "report.html")):
        out = tmp_path / name / "paper.pdf"
        compile_document(fragments, [], out, note="Made up.", report=report)
        subprocess.run(["pdftoppm", "-r", "100", out, out.with_suffix("")], check=True)
        pages[name] = [path.read_bytes() for path in sorted(out.parent.glob("*.ppm"))]
    assert pages["plain"] == pages["linked"]
    assert (tmp_path / "linked/paper.pdf").read_bytes() == (tmp_path / "again/paper.pdf").read_bytes()
    command = ["pdfinfo", "-url", tmp_path / "linked" / "paper.pdf"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    links = [line.split()[-1] for line in listed]
    ids = Page(render_report(whole, tmp_path)).ids
    assert len(links) == 10 * 6 + 8 * 9
    assert {link.partition("#")[0] for link in links} == {"../report.html"}
    assert {link.partition("#")[2] for link in links} <= {*ids}


def test_a_fragment_in_a_paper_has_no_links():
    text = (SPECS.parent / "tinyface.tex").read_text()
    assert r"\arorow" not in text
    assert r"\arocell" not in text
    linked = render_table(SPECS / "tinyface.yaml", "nowhere", mode="reported", form=TableForm(links=True))
    assert r"\arorow{tinyface--ArcFace-ARoFace-MS1MV2}%" in linked
    assert r"\arocell{rank1}{\textbf{67.32}}" in linked
    assert [line.split() for line in unlinked(linked).splitlines()] == [line.split() for line in text.splitlines()]
    style = (TEMPLATES / "aroface.sty").read_text()
    assert r"\providecommand{\arocell}[2]{#2}" in style
    assert "hyperref" not in style


def test_digests_are_those_of_the_weights(whole: Material, tmp_path: Path):
    run = whole.runs[0]
    assert f"sha256 {digest(run.name)}" in Page(render_report(whole, tmp_path)).words
