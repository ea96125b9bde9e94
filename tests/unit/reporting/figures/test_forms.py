"""Every kind of figure at every width and in every typeface, and its files."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import aroface.reporting.figures.form as form_module
from aroface.cli.main import main
from aroface.errors import InputError
from aroface.evaluation.metrics.operating_curves import tar_far
from aroface.reporting.figures.form import FONTS, FigureForm, figure_form, style
from aroface.reporting.figures.fragment import alt_text, caption_text, figure_label
from aroface.reporting.figures.layout import looks
from aroface.reporting.figures.registry import FIGURE_KINDS
from aroface.reporting.figures.save import picture
from aroface.reporting.figures.words import unbroken
from aroface.reporting.records import RecordedExperiment
from figure_layout import check_layout
from made_up_histories import write_history
from made_up_records import OPTIONS, sweep, write_record

METHODS = ("arcface", "arcface_aroface", "adaface", "adaface_aroface")
LABELS = {
    **{"arcface": "ArcFace", "arcface_aroface": "ArcFace+ARoFace", "adaface": "AdaFace"},
    **{"adaface_aroface": "AdaFace+ARoFace", "ms1mv2": "MS1MV2", "ms1mv3": "MS1MV3", "webface4m": "WebFace4M"},
}
PAIRS = ("fae_lfw", "fae_cfp_fp", "fae_cplfw", "fae_calfw", "fae_agedb_30")
WIDTHS = (83.3, 122.0, 174.6)
JOINT = {"scale": 0.1, "degrees": 10.0, "shift": 0.06}


def bar_point(metric: str, drop: float, level: float) -> dict[str, Any]:
    rate: dict[str, Any] = {"value": 0.9 - drop, "low": 0.88 - drop, "high": 0.92 - drop}
    ends = {"drop": drop, "drop_low": drop - 0.02, "drop_high": drop + 0.03}
    return {"quality": "hq", "factor": "adversary", "level": level, "metric": metric, **rate, **ends}


def jointly(clean: float, slope: float) -> list[dict[str, Any]]:
    """A sweep with errors of all kinds at once."""
    alone = sweep(clean, slope)
    together = [{**each, "factor": "joint", "level": 5 * each["level"]} for each in alone if each["factor"] == "scale"]
    return [*alone, *together]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records and runs that every kind can be drawn from."""
    root = tmp_path_factory.mktemp("figures")
    shared: dict[str, Any] = {"folder": root / "records", "metrics": {"x": 0.9}, "seed": 0}
    for number, method in enumerate(METHODS):
        each = {**shared, "method": method}
        swept = {**OPTIONS, "joint_maximum": JOINT}
        write_record(
            **each, benchmark="fae", protocol="sensitivity", options=swept, series=jointly(0.9, 0.1 / (number + 1))
        )
        for seed in range(2):
            write_history(
                root / "runs",
                method,
                seed=seed,
                adversary="gradient" if "_" in method else "none",
                floor=3 + 4 * number,
            )
        for dataset in ("ms1mv2", "ms1mv3", "webface4m"):
            rng = np.random.default_rng(number)
            curve = tar_far(rng.normal(1 + 0.1 * number, 0.3, 400), rng.normal(0, 0.3, 50_000))
            write_record(**each, dataset=dataset, benchmark="lfw", protocol="pairs", curves={"tar_far": curve})
            if dataset != "webface4m":
                found = {"fpir": curve["far"], "tpir": curve["tar"], "unknown": 50_000}
                write_record(**each, dataset=dataset, benchmark="ijbc", protocol="ijb", curves={"tpir_fpir": found})
        for benchmark in ("fae_ijbb", "fae_ijbc", *PAIRS):
            metrics = [f"tar_at_far_1e-{power}" for power in (5, 4, 3, 2)] if "ijb" in benchmark else ["accuracy"]
            series = [
                bar_point(metric, level * 0.1 * (number + 1), level) for metric in metrics for level in (0.0, 1.0)
            ]
            write_record(**each, dataset="ms1mv3", benchmark=benchmark, protocol="sensitivity", series=series)
    return root


FACES = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
GRID = np.random.default_rng(0).integers(0, 256, (20, 160, 3), dtype=np.uint8)
SOURCES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "fae": (("fae",), {"examples": (FACES, FACES)}),
    "fae_paper": ((["fae_ijbb", "fae_ijbc", *PAIRS],), {"grids": (GRID, GRID)}),
    "landmarks": (("fae",), {}),
    "tar_far": (("lfw",), {"title": "LFW"}),
    "tpir_fpir": (("ijbc",), {"title": "IJB-C"}),
    "training": ((), {"titles": {"lfw": "LFW", "cfp_fp": "CFP-FP"}}),
    "displacements": ((), {}),
}


def draw(kind: str, folder: Path, out: Path, **options: Any) -> None:
    arguments, own = SOURCES[kind]
    source = folder / ("records" if FIGURE_KINDS[kind].protocols else "runs")
    FIGURE_KINDS[kind].load()(source, *arguments, out, labels=LABELS, **own, **options)


def read(out: Path) -> str:
    return out.with_suffix(".tex").read_text()


@pytest.fixture
def wide_helvetica(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typeface wider than Helvetica that is always there."""
    monkeypatch.setattr(form_module, "HELVETICA", ("DejaVu Sans",))
    form_module._helvetica.cache_clear()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved, each checked in the style that it is saved in."""
    figures: list[Figure] = []

    def check(figure: Figure, suffix: str, metadata: Any = None) -> bytes:
        if suffix == "pdf":
            figures.append(figure)
            check_layout(figure, figure.get_figwidth() * 25.4)
        return b""

    monkeypatch.setattr("aroface.reporting.figures.save.picture", check)
    return figures


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only fragments are of interest."""
    monkeypatch.setattr("aroface.reporting.figures.save.picture", lambda *_: b"")


@pytest.mark.usefixtures("wide_helvetica")
@pytest.mark.parametrize(
    ("width", "font"), [*((WIDTHS[0], font) for font in FONTS), *((width, "helvetica") for width in WIDTHS[1:])]
)
@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_no_text_is_cut_covered_or_small(
    kind: str,
    width: float,
    font: Any,
    folder: Path,
    tmp_path: Path,
    drawn: list[Figure],
    caplog: pytest.LogCaptureFixture,
):
    draw(kind, folder, tmp_path / kind, form=FigureForm(width, font))
    (figure,) = drawn
    assert figure.get_figwidth() * 25.4 == pytest.approx(width)
    assert "does not have a glyph" not in caplog.text


@pytest.mark.parametrize("kind", ["fae", "fae_paper", "landmarks", "tar_far", "displacements"])
def test_panels_are_rearranged_where_a_figure_is_narrow(kind: str, folder: Path, tmp_path: Path, drawn: list[Figure]):
    for width in WIDTHS:
        draw(kind, folder, tmp_path / kind, form=FigureForm(width))
    across = [len({round(axes.get_position().x0, 3) for axes in figure.axes}) for figure in drawn]
    assert across[0] < across[2]
    assert drawn[0].get_figheight() > drawn[1].get_figheight()


def test_two_looks_differ_in_marker_or_dashes_not_in_colour_alone():
    heads = ("arcface", "adaface", "cosface", "curricularface", "magface", "elasticface", "sphereface")
    for treatments in (("",), ("", "_aroface"), ("", "_random", "_aroface", "_other")):
        experiments = [RecordedExperiment(head + each, "a", "b") for head in heads for each in treatments]
        found = looks(experiments, {})
        assert len({(look.marker, str(look.dashes)) for look in found.values()}) == len(experiments)
    several = [RecordedExperiment(method, dataset, "b") for method in METHODS for dataset in "abcdef"]
    assert len({(look.marker, str(look.dashes)) for look in looks(several, {}).values()}) == len(several)


def test_a_method_looks_alike_in_figures_that_show_others():
    every = [RecordedExperiment(method, "ms1mv3", "r100") for method in METHODS]
    whole = looks(every, {})
    for part in (every[1::2], every[2:], [RecordedExperiment(each.method, "", "") for each in every[3:]]):
        for experiment, look in looks(part, {}, every).items():
            of_all = next(whole[each] for each in every if each.method == experiment.method)
            assert (look.colour, look.marker, look.dashes) == (of_all.colour, of_all.marker, of_all.dashes)


@pytest.mark.parametrize("kind", ["fae", "tar_far", "training", "displacements"])
def test_every_line_of_a_method_has_its_marker_or_dashes_in_the_panels(
    kind: str, folder: Path, tmp_path: Path, drawn: list[Figure]
):
    draw(kind, folder, tmp_path / kind)
    (figure,) = drawn
    markers = {str(line.get_marker()) for axes in figure.axes for line in axes.lines} - {"None", "", "none"}
    assert len(markers) == len([name for name in METHODS if "_" in name or kind != "displacements"])


def test_bars_of_methods_and_authors_have_hatches_of_their_own(folder: Path, tmp_path: Path, drawn: list[Figure]):
    draw("fae_paper", folder, tmp_path / "bars")
    (figure,) = drawn
    hatches = {bar.get_hatch() or "" for axes in figure.axes for bar in axes.patches}
    assert len(hatches) == len(METHODS) + 1


@pytest.mark.usefixtures("wide_helvetica")
@pytest.mark.parametrize("font", FONTS)
def test_fonts_are_embedded_as_truetype(font: Any, folder: Path, tmp_path: Path):
    for kind in ("landmarks", "training"):
        draw(kind, folder, tmp_path / kind, form=FigureForm(font=font))
        content = tmp_path.joinpath(f"{kind}.pdf").read_bytes()
        assert b"/Type3" not in content and b"/FontFile3" not in content
        assert content.count(b"/FontFile2") == content.count(b"/CIDFontType2") > 0


def test_a_typeface_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(form_module, "HELVETICA", ("No Such Face",))
    form_module._helvetica.cache_clear()
    with pytest.raises(InputError, match=r"^font: no typeface like Helvetica is installed .*; on Debian or Ubuntu: "):
        style(FigureForm(font="helvetica"))
    form_module._helvetica.cache_clear()


def test_a_font_without_truetype_outlines_is_passed_over(tmp_path: Path):
    (tmp_path / "a.otf").write_bytes(b"OTTO....")
    (tmp_path / "b.ttf").write_bytes(b"\x00\x01\x00\x00....")
    assert [form_module._is_truetype(tmp_path / name) for name in ("a.otf", "b.ttf", "c.ttf")] == [False, True, False]


def test_widths_are_named_or_millimetres():
    assert (figure_form().width, figure_form().environment) == (122.0, "figure")
    assert (figure_form("column").width, figure_form("column").environment) == (83.3, "figure")
    assert (figure_form("text").width, figure_form("text").environment) == (174.6, "figure*")
    assert figure_form(90).width == 90
    with pytest.raises(InputError, match=r"^width: a figure 40 mm wide; expected 80 to 185 mm$"):
        figure_form(40)
    with pytest.raises(InputError, match=r"^font: no typeface 'comic'; expected one of serif, sans, times, helvetica$"):
        FigureForm(font="comic")  # type: ignore[arg-type]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_fragments_say_where_they_come_from_and_what_is_seen(kind: str, folder: Path, tmp_path: Path):
    form = FigureForm(174.6, spanning=True, picture="sub/aroface-figure-it.pdf")
    draw(
        kind, folder, tmp_path / "aroface-figure-it_s", form=form, command="aroface figure\n…", caption_note="Made up."
    )
    text = read(tmp_path / "aroface-figure-it_s")
    lines = text.splitlines()
    assert lines[1] == "% command: aroface figure …"
    assert re.search(r"^% source: arcface\S*/\w+\.json sha256:[0-9a-f]{16}$", text, re.M)
    assert r"\begin{figure*}" in lines and r"\end{figure*}" in lines
    assert r"\includegraphics[width=\linewidth]{sub/aroface-figure-it.pdf}" in text
    assert r"  \label{fig:aroface:it-s}\arooldlabel{fig:it_s}" in lines
    caption = caption_text(text)
    assert caption.endswith("Made up.")
    assert len(re.findall(r"[.;?] ", caption)) <= 6
    assert not re.search(r"\d %|_|perturbed|(?<!\d)\.\d", caption)
    alt = alt_text(text)
    assert 2 <= len(re.findall(r"\.(?: |$)", alt)) <= 3
    assert "_" not in alt and any(label in alt for label in LABELS.values())


@pytest.mark.usefixtures("undrawn")
def test_descriptions_are_made_from_the_data(folder: Path, tmp_path: Path):
    for kind in FIGURE_KINDS:
        draw(kind, folder, tmp_path / kind)
    assert (
        "The largest drop is that of ArcFace under errors of scale at 14\u00a0px, from 50.0\u00a0% to 0.0\u00a0%."
        in (alt_text(read(tmp_path / "fae")))
    )
    assert "AdaFace+ARoFace is highest in 8 of 8 panels" in alt_text(read(tmp_path / "fae"))
    assert "largest drop is that of AdaFace+ARoFace on IJB-B: −40.0 points of TAR" in alt_text(
        read(tmp_path / "fae_paper")
    )
    assert "AdaFace+ARoFace is highest with a TAR of" in alt_text(read(tmp_path / "tar_far"))
    assert "lowest final loss is that of ArcFace" in alt_text(read(tmp_path / "training"))
    assert "pixels on average with" in alt_text(read(tmp_path / "displacements"))
    assert "The largest drop is that of ArcFace at 14\u00a0px: 60.0 points" in alt_text(read(tmp_path / "landmarks"))


def test_pictures_name_caption_command_and_sources(folder: Path, tmp_path: Path):
    draw("fae", folder, tmp_path / "fae", command="aroface figure fae --benchmark fae")
    image = Image.open(tmp_path / "fae.png")
    assert image.text["Description"] == alt_text(read(tmp_path / "fae"))
    found = subprocess.run(["pdfinfo", tmp_path / "fae.pdf"], capture_output=True, text=True)
    if found.returncode == 0:
        assert re.search(r"^Title: +Effect of face alignment errors on TAR at FAR = 1\W% *$", found.stdout, re.M)
        assert re.search(
            r"^Keywords: +command: aroface figure fae .*; source: adaface-\S+/fae.json sha256:", found.stdout, re.M
        )
    assert "CreationDate" not in found.stdout


def test_the_verb_takes_width_and_font(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["figure", "landmarks", "--benchmark", "fae", "--records", str(folder / "records")]
    words += ["--out", str(tmp_path / "marks"), "--font", "times"]
    assert main([*words, "--width", "text"]) == 0
    assert "\\begin{figure*}" in read(tmp_path / "marks")
    assert "\\linewidth=174.6mm" in read(tmp_path / "marks")
    assert "% command: aroface figure landmarks --benchmark fae " in read(tmp_path / "marks")
    assert Image.open(tmp_path / "marks.png").size[0] == int(174.6 / 25.4 * 300)
    with pytest.raises(SystemExit) as status:
        main([*words, "--width", "40"])
    assert status.value.code == 2
    assert "--width: '40' is not column, text or a number of millimetres from 80 to 185" in capsys.readouterr().err


def test_fragments_of_earlier_versions_can_be_read():
    old = "\\begin{figure}\n  \\caption{What it costs, 5 \\%. Bands: so.}\n  \\label{fig:fae}\n\\end{figure}\n"
    assert caption_text(old) == "What it costs, 5 %. Bands: so."
    assert alt_text(old) == "What it costs, 5 %"
    assert caption_text("nothing") == alt_text("nothing") == ""


def test_labels_hold_no_underscores():
    assert figure_label("tar_far_pairs") == figure_label("aroface-figure-tar_far_pairs") == "fig:aroface:tar-far-pairs"


def test_numbers_keep_their_units():
    assert unbroken("1 % of 24 px, 5 pairs") == "1\u00a0% of 24\u00a0px, 5 pairs"


def test_a_picture_has_no_date():
    assert b"CreationDate" not in picture(Figure(figsize=(1, 1)), "pdf")
    assert Image.open(io.BytesIO(picture(Figure(figsize=(1, 1)), "png", {"Description": "x"}))).text == {
        "Description": "x"
    }
