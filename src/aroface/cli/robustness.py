"""The verb ``aroface robustness``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, Verbs, above_zero, add_verb, finite, positive
from aroface.cli.external_model import MODEL_FORMS, add_input_options, open_declared, tell_batch
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.files import check_place


def add_robustness_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare ``aroface robustness``."""
    verb = add_verb(
        verbs,
        "robustness",
        "report on one page what alignment errors cost a model, or up to four on the same pairs",
        "aroface robustness --model mine=my.onnx theirs=backbone.pth --pairs lfw.bin --out robustness\n"
        "  aroface robustness --model my.onnx --pairs lfw.bin --max-pairs 500    # a quick look",
        _do_robustness,
    )
    verb.add_argument(
        "--model",
        nargs="+",
        action="extend",
        required=True,
        metavar="NAME=MODEL",
        help=f"one to four: each a {MODEL_FORMS}",
    )
    verb.add_argument(
        "--pairs", type=Path, required=True, metavar="FILE", help="labelled pairs of aligned faces (.bin)"
    )
    help_text = (
        "folder for robustness.pdf, .png, .html, .csv, and features: a call that was cut short goes on from them"
    )
    verb.add_argument("--out", type=Path, default=Path("robustness"), help=f"{help_text} (%(default)s)")
    verb.add_argument("--max-pairs", type=positive, metavar="N", help="an evenly spaced part of the pairs")
    help_text = "largest loss, in points, at which an error counts as tolerated (%(default)s)"
    verb.add_argument("--tolerance", type=above_zero, default=1.0, metavar="POINTS", help=help_text)
    help_text = "torch models only: also the errors of the sizes of --joint that raise the pair's own error most"
    verb.add_argument("--worst-case", action="store_true", help=help_text)
    help_text = "also blur, noise, JPEG, loss of contrast and occlusion of the probes, which leave the faces aligned"
    verb.add_argument("--corruptions", action="store_true", help=help_text)
    _add_grid_options(verb)
    add_input_options(verb)


def _add_grid_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("what is swept")
    help_text = "hq, and sides in pixels that probes are reduced to (hq 24 14)"
    group.add_argument("--qualities", nargs="+", metavar="Q", type=_quality, help=help_text)
    levels = {
        "scale": "relative errors of scale (0.05 0.1 0.15)",
        "degrees": "of rotation (5 10 20)",
        "shift": "fractions of the width (0.03 0.06 0.12)",
        "joint": "all three at once, multiples of 10 %%, 10 degrees and 6 %% (0.5 1)",
    }
    for option, help_text in levels.items():
        group.add_argument(f"--{option}", nargs="+", type=finite, metavar="L", help=help_text)
    help_text = "whether probes are misaligned before they are reduced, as by a camera, or after (%(default)s)"
    group.add_argument("--order", choices=("camera", "reduced_first"), default="camera", help=help_text)
    metrics = ("tar_strict_at_far_1e-2", "tar_strict_at_far_1e-1", "tar_strict_at_far_1e-3", "accuracy", "auc")
    group.add_argument("--metric", choices=metrics, help="that the page is about (tar_strict_at_far_1e-2)")


def _quality(text: str) -> str | int:
    return text if text == "hq" else positive(text)


def _do_robustness(options: Arguments) -> int:
    from aroface.evaluation.external_model import named_file
    from aroface.evaluation.robustness import SweepGrid, measure_robustness, remaining_work
    from aroface.humanize import seconds_text
    from aroface.reporting.robustness.files import write_report
    from aroface.reporting.robustness.findings import few_impostors

    swept = ("qualities", "scale", "degrees", "shift", "joint")
    changes: dict[str, Any] = {key: tuple(getattr(options, key)) for key in swept if getattr(options, key) is not None}
    if options.metric:
        changes["metrics"] = tuple(dict.fromkeys((options.metric, *SweepGrid().metrics)))
    changes |= {"worst_case": options.worst_case, "order": options.order, "corruptions": options.corruptions}
    grid = SweepGrid(max_pairs=options.max_pairs, flip=not options.no_flip, **changes)
    grid.check()
    if not 0 < options.tolerance < 100:
        raise InputError(f"{options.tolerance:g} points", where="--tolerance", expected="more than 0, less than 100")
    check_place(options.out / "robustness.html")
    models = []
    for word in options.model:
        name, path = named_file(word, "--model")
        models.append(open_declared(path, name, options))
    tell_batch(options, models)
    try:
        images, seconds = remaining_work(models, options.pairs, options.out, grid, batch_size=options.batch_size)
        if images:
            advice = "--max-pairs and --qualities make it shorter"
            print(f"{images:,} images to embed, about {seconds_text(seconds)}; {advice}", file=sys.stderr)
        measured = measure_robustness(
            models,
            options.pairs,
            options.out,
            grid,
            batch_size=options.batch_size,
            threads=options.threads,
            command=shlex.join(["aroface", *options.words]),
        )
        if few := few_impostors(measured):
            print(f"aroface: warning: {few}", file=sys.stderr)
        for line in write_report(measured, options.out, options.tolerance):
            print(line)
    except KeyboardInterrupt:
        kept = options.out / "features"
        print(f"aroface: interrupted; what is embedded is in {kept}: the same command goes on from it", file=sys.stderr)
        return 128 + signal.SIGINT
    return ExitStatus.DONE
