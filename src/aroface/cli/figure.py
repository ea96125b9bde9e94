"""The verb ``aroface figure``, which draws figures of several kinds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, Verbs, add_selection, add_verb
from aroface.errors import InputError
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
    kinds = "; ".join(f"{kind}: {shows}" for kind, (shows, _, _) in FIGURES.items())
    verb.add_argument("kind", choices=tuple(FIGURES), help=kinds)
    verb.add_argument(
        "--benchmark", help="key of the benchmark whose records are shown (fae, landmarks: of protocol sensitivity)"
    )
    verb.add_argument("--faces", type=Path, help="fae: the benchmark's specification, to show some of its faces")
    verb.add_argument("--metric", help="of fae and landmarks (tar_strict_at_far_1e-2)")
    verb.add_argument("--out", type=Path, required=True, metavar="STEM", help="writes STEM.pdf, STEM.png and STEM.tex")
    verb.add_argument(
        "--runs-dir", type=Path, default=Results().runs, help="training, displacements: the runs (%(default)s)"
    )
    add_selection(verb)


def _do_figure(options: Arguments) -> None:
    from aroface.reporting.records import read_runs_file

    _, takes, draw = FIGURES[options.kind]
    for name in ("benchmark", "faces", "metric"):
        if getattr(options, name) is not None and name not in takes:
            raise InputError(
                f"not of the figure {options.kind}", record=f"--{name}", remedy="see aroface figure --help"
            )
    if options.out.suffix in (".pdf", ".png", ".tex"):
        stem = options.out.with_suffix("")
        raise InputError("a figure is three files", file=options.out, expected=f"what they share, {stem}")
    draw(options, {**read_runs_file(options.runs_file), "caption_note": options.caption_note})
    print(options.out)


def _benchmark(options: Arguments) -> str:
    if options.benchmark is None:
        raise InputError("not given", record="--benchmark", remedy="see aroface figure --help")
    return str(options.benchmark)


def _draw_fae(options: Arguments, choice: dict[str, Any]) -> None:
    from aroface.reporting.figures.alignment_errors import DEFAULT_METRIC, figure_fae

    examples = None
    if options.faces:
        from aroface.embedding.example_faces import example_sheets
        from aroface.schemas import read_yaml

        examples = example_sheets(read_yaml(options.faces))
    choice["metric"] = options.metric or DEFAULT_METRIC
    figure_fae(options.records, _benchmark(options), options.out, examples=examples, **choice)


def _draw_landmarks(options: Arguments, choice: dict[str, Any]) -> None:
    from aroface.reporting.figures.alignment_errors import DEFAULT_METRIC
    from aroface.reporting.figures.landmarks import figure_landmarks

    choice["metric"] = options.metric or DEFAULT_METRIC
    figure_landmarks(options.records, _benchmark(options), options.out, **choice)


def _draw_operating(options: Arguments, choice: dict[str, Any]) -> None:
    from aroface.reporting.figures.operating_curves import figure_operating

    benchmark = _benchmark(options)
    choice |= {"kind": options.kind, "title": _title(benchmark)}
    figure_operating(options.records, benchmark, options.out, **choice)


def _title(benchmark: str) -> str | None:
    """A benchmark's printed name, where the registry is here and knows it."""
    from aroface.datasets.registry import REGISTRIES, read_benchmarks
    from aroface.shipped import shipped

    known = shipped(REGISTRIES / "benchmarks.yaml")
    entry = read_benchmarks(known).get(benchmark) if known.exists() else None
    return None if entry is None else entry.title


def _draw_training(options: Arguments, choice: dict[str, Any]) -> None:
    from aroface.reporting.figures.training import figure_training

    figure_training(options.runs_dir, options.out, **choice)


def _draw_displacements(options: Arguments, choice: dict[str, Any]) -> None:
    from aroface.reporting.figures.displacements import figure_displacements

    figure_displacements(options.runs_dir, options.out, **choice)


FIGURES: dict[str, tuple[str, tuple[str, ...], Callable[[Arguments, dict[str, Any]], None]]] = {
    "fae": ("figure 1, what face alignment errors cost", ("benchmark", "faces", "metric"), _draw_fae),
    "landmarks": ("what they cost against how far they move landmarks", ("benchmark", "metric"), _draw_landmarks),
    "tar_far": ("TAR against FAR of pairs", ("benchmark",), _draw_operating),
    "tpir_fpir": ("TPIR against FPIR of a search in two galleries", ("benchmark",), _draw_operating),
    "training": ("loss, accuracy and learning rate over the training", (), _draw_training),
    "displacements": ("how the adversary scaled, turned and shifted", (), _draw_displacements),
}
"""By kind, what a figure shows, which it takes of the options that not all take, and what draws it, from the options
and from the choice of runs, experiments, labels and note."""
