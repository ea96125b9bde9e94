"""The verb ``aroface figure``, which draws figures of several kinds."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, Verbs, add_selection, add_verb
from aroface.errors import InputError
from aroface.reporting.figures.form import FONTS, NARROWEST, PAGE_WIDTH, WIDEST, WIDTHS, figure_form, style
from aroface.reporting.figures.registry import FIGURE_KINDS
from aroface.results import Results


def add_figure_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "figure",
        "draw a figure of the paper as PDF and PNG, with its caption as LaTeX",
        "aroface figure fae --benchmark fae --records results/records --out results/figures/fae",
        _do_figure,
    )
    kinds = "; ".join(f"{kind.name}: {kind.title}" for kind in FIGURE_KINDS.values())
    verb.add_argument("kind", choices=tuple(FIGURE_KINDS), help=kinds)
    verb.add_argument(
        "--benchmark",
        nargs="+",
        metavar="BENCHMARK",
        help="key of the benchmark whose records are shown (fae, landmarks: of protocol sensitivity; fae_paper: some)",
    )
    verb.add_argument(
        "--faces", type=Path, help="fae, fae_paper: the benchmark's specification, to show some of its faces"
    )
    verb.add_argument("--metric", help="of fae and landmarks (tar_strict_at_far_1e-2)")
    verb.add_argument(
        "--unit", choices=("points", "percent"), help="fae_paper: of changes; percent is of the aligned rate (points)"
    )
    verb.add_argument(
        "--trained-on", nargs="+", metavar="DATASET", help="show experiments on these training sets of --runs-file only"
    )
    verb.add_argument(
        "--width",
        type=_width,
        metavar="column|text|MM",
        help=f"column: {WIDTHS['column']:g} mm, one of two columns (CVPR's; fits IEEE's, ACM's); text: "
        f"{WIDTHS['text']:g} mm, over both, as figure*; or a number of millimetres from {NARROWEST:g} to {WIDEST:g}. "
        "Panels are rearranged, type stays 7 to 9 pt: set it to the width that the paper shows the figure at "
        f"({PAGE_WIDTH:g}, the text of LNCS and ECCV)",
    )
    verb.add_argument(
        "--font",
        choices=FONTS,
        help="typeface, to match the paper's: serif is Computer Modern, sans its sans serif, times STIX, helvetica the "
        "first installed of Helvetica, TeX Gyre Heros, Nimbus Sans, Liberation Sans, Arial (serif)",
    )
    verb.add_argument("--out", type=Path, required=True, metavar="STEM", help="writes STEM.pdf, STEM.png and STEM.tex")
    verb.add_argument(
        "--runs-dir", type=Path, default=Results().runs, help="training, displacements: the runs (%(default)s)"
    )
    add_selection(verb)


def _width(text: str) -> str | float:
    if text in WIDTHS:
        return text
    try:
        return figure_form(float(text)).width
    except (ValueError, InputError):
        wanted = f"column, text or a number of millimetres from {NARROWEST:g} to {WIDEST:g}"
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {wanted}") from None


def _do_figure(options: Arguments) -> None:
    from aroface.reporting.records import read_runs_file

    kind = FIGURE_KINDS[options.kind]
    for name in ("benchmark", "faces", "metric", "unit"):
        if getattr(options, name) is not None and name not in kind.options:
            raise InputError(f"not of the figure {options.kind}", where=f"--{name}", remedy="see aroface figure --help")
    if options.out.suffix in (".pdf", ".png", ".tex"):
        stem = options.out.with_suffix("")
        raise InputError("a figure is three files", file=options.out, expected=f"what they share, {stem}")
    shown = _benchmarks if kind.several else _benchmark
    source = [options.records, shown(options)] if kind.protocols else [options.runs_dir]
    selection = read_runs_file(options.runs_file)
    if options.trained_on:
        if options.runs_file is None:
            raise InputError("not given", where="--runs-file", remedy="--trained-on chooses among its experiments")
        chosen = [each for each in selection["experiments"] or () if each.dataset in options.trained_on]
        selection = {**selection, "experiments": chosen}
    form = figure_form(options.width, options.font)
    style(form)  # a typeface that is not installed is said before anything is read
    command = shlex.join(["aroface", *options.words])
    choice = {**selection, "form": form, "command": command, "caption_note": options.caption_note}
    kind.load()(*source, options.out, **choice, **{name: _NEEDS[name](options) for name in kind.needs})
    print(options.out)


def _benchmarks(options: Arguments) -> list[str]:
    if options.benchmark is None:
        raise InputError("not given", where="--benchmark", remedy="see aroface figure --help")
    return [*options.benchmark]


def _benchmark(options: Arguments) -> str:
    first, *others = _benchmarks(options)
    if others:
        raise InputError(f"{1 + len(others)} benchmarks", where="--benchmark", expected=f"one for {options.kind}")
    return first


def _metric(options: Arguments) -> str:
    from aroface.reporting.text import DEFAULT_METRIC

    return options.metric or DEFAULT_METRIC


def _examples(options: Arguments) -> Any:
    """Contact sheets of some faces of the benchmark; None where they are not asked for."""
    if not options.faces:
        return None
    from aroface.embedding.example_faces import example_sheets
    from aroface.schemas import read_yaml

    return example_sheets(read_yaml(options.faces))


def _grids(options: Arguments) -> Any:
    """Faces of the benchmark, aligned and misaligned; None where they are not asked for."""
    if not options.faces:
        return None
    from aroface.embedding.example_faces import example_grids
    from aroface.schemas import read_yaml

    return example_grids(read_yaml(options.faces))


def _unit(options: Arguments) -> str:
    return options.unit or "points"


def _title(options: Arguments) -> str | None:
    """A benchmark's printed name, where the registry is here and knows it."""
    return _titles(options).get(_benchmark(options))


def _titles(options: Arguments) -> dict[str, str]:
    """Printed names of benchmarks, where the registry is here."""
    from aroface.datasets.registry import REGISTRIES, read_benchmarks
    from aroface.shipped import shipped

    known = shipped(REGISTRIES / "benchmarks.yaml")
    return {key: entry.title for key, entry in read_benchmarks(known).items()} if known.exists() else {}


_NEEDS: dict[str, Callable[[Arguments], Any]] = {
    "metric": _metric,
    "examples": _examples,
    "grids": _grids,
    "unit": _unit,
    "title": _title,
    "titles": _titles,
}
"""By name of an argument that not all kinds need, its value from the options."""
