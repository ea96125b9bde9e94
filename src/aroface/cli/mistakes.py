"""The verb ``aroface mistakes``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from aroface.cli.arguments import Arguments, Verbs, add_verb, positive, rate
from aroface.cli.detector import open_named_detector
from aroface.cli.embedded_set import add_embedded_set_options, open_embedded
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.files import check_place
from aroface.results import Results


def add_mistakes_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare ``aroface mistakes``."""
    verb = add_verb(
        verbs,
        "mistakes",
        "show the worst mistakes on a benchmark on one page: false accepts, false rejects, wrong best hits",
        "aroface mistakes --features results/features/RUN/tinyface    # results/mistakes/RUN/tinyface.html\n"
        "  aroface mistakes --model mine=my.onnx --pairs lfw.bin --detector scrfd_2.5g --out mistakes/lfw.html",
        _do_mistakes,
    )
    help_text = (
        "the page, NAME.html; NAME.csv and, of --model, NAME.features lie beside it "
        "(with --features: results/mistakes/RUN/BENCHMARK.html, which the report links)"
    )
    verb.add_argument("--out", type=Path, metavar="NAME.html", help=help_text)
    verb.add_argument("--most", type=positive, default=24, metavar="N", help="mistakes of a kind (%(default)s)")
    help_text = "false match rate that the threshold of pairs is for (%(default)s)"
    verb.add_argument("--fmr", type=rate, default=0.01, metavar="RATE", help=help_text)
    add_embedded_set_options(verb)


def _do_mistakes(options: Arguments) -> int:
    from aroface.evaluation.mistakes import find_mistakes
    from aroface.reporting.mistakes.files import write_mistakes

    if options.out is None and options.features is None:
        raise InputError("--model needs --out", expected="the page, NAME.html")
    if options.out is not None:
        if options.out.suffix != ".html":
            raise InputError("not the name of a page", file=options.out, expected="NAME.html")
        check_place(options.out)
    features = Path() if options.out is None else options.out.with_suffix(".features")
    detector = open_named_detector(options, options.device)
    embedded, _ = open_embedded(options, features)
    out = options.out or _place(options.features)
    found = find_mistakes(embedded.features, fmr=options.fmr, most=options.most)
    command = shlex.join(["aroface", *options.words])
    for file in write_mistakes(embedded, found, out, detector=detector, command=command):
        print(file)
    return ExitStatus.DONE


def _place(features: Path) -> Path:
    """Page of features ``results/features/RUN/BENCHMARK``.

    Raises:
        InputError: They lie elsewhere.
    """
    folder = features.resolve()
    if len(folder.parents) < 3 or folder.parents[1].name != "features":
        raise InputError("no folder results/features/RUN/BENCHMARK", file=features, remedy="name the page: --out")
    root = Results(features.absolute().parents[2])
    page = root.mistakes(folder.parent.name, folder.name)
    check_place(page)
    return page
