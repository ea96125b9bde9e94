"""The verb ``aroface quality``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from aroface.cli.arguments import Arguments, Verbs, add_verb, listed, rate
from aroface.cli.detector import open_named_detector
from aroface.cli.embedded_set import add_embedded_set_options, open_embedded
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.files import check_place


def add_quality_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare ``aroface quality``."""
    verb = add_verb(
        verbs,
        "quality",
        "tell what measures of image quality are worth on pairs: errors against discards, and strata",
        "aroface quality --model mine=my.onnx --pairs lfw.bin --detector scrfd_2.5g --out quality\n"
        "  aroface quality --features results/features/RUN/lfw --csv serfiq.csv --out quality    # image,serfiq",
        _do_quality,
    )
    help_text = "folder for quality.html, .csv, strata.csv and the figure; of --model also the features"
    verb.add_argument("--out", type=Path, default=Path("quality"), help=f"{help_text} (%(default)s)")
    help_text = "qualities of other programs: a column image (a number, or a name of the .people.csv), and measures"
    verb.add_argument("--csv", type=Path, nargs="+", default=[], metavar="FILE", help=help_text)
    verb.add_argument("--columns", type=listed, metavar="NAMES", help="of --csv, with commas (all but image)")
    help_text = "false match rate that the threshold is for (%(default)s)"
    verb.add_argument("--fmr", type=rate, default=0.01, metavar="RATE", help=help_text)
    add_embedded_set_options(verb)


def _do_quality(options: Arguments) -> int:
    from aroface.evaluation.image_quality import image_qualities, measure_qualities, read_qualities
    from aroface.reporting.quality.figures import MOST
    from aroface.reporting.quality.files import findings, write_quality_report

    if options.columns and not options.csv:
        raise InputError("--columns is for --csv", remedy="leave it out")
    check_place(options.out / "quality.html")
    detector = open_named_detector(options, options.device)
    embedded, embedder = open_embedded(options, options.out / "features")
    if embedded.protocol != "pairs":
        what = f"features of the protocol {embedded.protocol}"
        raise InputError(what, file=embedded.features.folder, expected="pairs")
    given = [read_qualities(path, embedded, options.columns) for path in options.csv]
    qualities = image_qualities(embedded, detector=detector, embedder=embedder)
    for path, columns in zip(options.csv, given, strict=True):
        for name, values in columns.items():
            qualities[name if name not in qualities else f"{name} ({path.stem})"] = values
    if len(qualities) > MOST:
        raise InputError(f"{len(qualities)} measures", expected=f"at most {MOST}", remedy="choose some: --columns")
    report = measure_qualities(embedded, qualities, options.fmr)
    files = write_quality_report(report, options.out, command=shlex.join(["aroface", *options.words]))
    for subject, text in findings(report):
        print(f"{subject}: {text}")
    print(*files, sep="\n")
    return ExitStatus.DONE
