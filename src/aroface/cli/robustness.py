"""The verb ``aroface robustness``, and models from anywhere for ``aroface evaluate``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, Verbs, above_zero, add_device, add_time_limit, add_verb, finite, positive
from aroface.errors import InputError

_FORMS = "run folder, .onnx file, or checkpoint of insightface, ARoFace or AdaFace"


def add_foreign_options(verb: argparse.ArgumentParser, what: argparse._MutuallyExclusiveGroup) -> None:
    """Declare the options of ``aroface evaluate`` that are for a model and its benchmarks."""
    what.add_argument("--model", metavar="MODEL", help=_FORMS)
    words = "files of aligned pairs (.bin), with --model; the name is the file's where it is left out"
    verb.add_argument("--benchmark", nargs="+", action="extend", default=[], metavar="NAME=FILE", help=words)
    _add_input_options(verb)


def _add_input_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("what models take, where their files do not say it")
    group.add_argument("--color", choices=("RGB", "BGR"), help="order of the channels (RGB; AdaFace's checkpoints BGR)")
    group.add_argument("--mean", type=finite, metavar="M", help="subtracted from pixel values in 0..255 (127.5)")
    group.add_argument("--std", type=above_zero, metavar="S", help="what they are divided by afterwards (127.5)")
    group.add_argument("--size", type=positive, metavar="N", help="side of the images, if an ONNX file is open (112)")
    words = "part in the middle of the images that an ONNX model takes, as SphereFace's take 112x96"
    group.add_argument("--crop", type=_crop, metavar="HxW", help=words)
    group.add_argument("--output", metavar="NAME", help="an ONNX file's output (default: the first of N×D, D above 1)")
    group.add_argument("--no-flip", action="store_true", help="do not add the embedding of the mirrored image")
    add_device(group)
    group.add_argument("--batch-size", type=positive, metavar="N", help="images at once (what fits the device; told)")
    group.add_argument("--threads", type=positive, metavar="N", help="of CPU arithmetic (default: all cores)")
    add_time_limit(group)


def _crop(text: str) -> tuple[int, int]:
    try:
        height, width = map(positive, text.replace("×", "x").split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not HxW, such as 112x96") from None
    return height, width


def _open(path: Path, name: str, options: Arguments) -> Any:
    from aroface.embedding.external_model import Declared, open_model

    said = Declared(*(getattr(options, key) for key in ("color", "mean", "std", "size", "output", "crop")))
    how = {"device": options.device, "threads": options.threads, "time_limit": options.time_limit}
    return open_model(path, name=name, declared=said, **how)


def evaluate_foreign(options: Arguments, show: Callable[[dict[str, Any]], None]) -> int:
    """Evaluate ``--model`` on each ``--benchmark``; show each record, and write it where ``--out`` says so.

    Returns:
        The exit status: 2 if a file could not be evaluated, which is told when all others are done.
    """
    from aroface.evaluation.external_model import benchmark_name, evaluate_model, named_file
    from aroface.files import write_json

    if not options.benchmark:
        raise InputError("--model needs --benchmark", expected="NAME=FILE, such as lfw=lfw.bin")
    files = [named_file(word, "--benchmark") for word in options.benchmark]
    benchmarks = {benchmark_name(name): path for name, path in files}
    if len(benchmarks) < len(files):
        raise InputError("two benchmarks of one name", record="--benchmark", remedy="name them: NAME=FILE")
    one_file = options.out is not None and options.out.suffix == ".json"
    if one_file and len(benchmarks) > 1:
        remedy = "name a folder, which gets RUN/BENCHMARK.json of each"
        raise InputError(f"one file for {len(benchmarks)} records", file=options.out, remedy=remedy)
    name, path = named_file(options.model, "--model")
    model = _open(path, name, options)
    _tell_batch(options, [model])
    found = evaluate_model(
        model,
        benchmarks,
        flip=not options.no_flip,
        batch_size=options.batch_size,
        threads=options.threads,
        command=shlex.join(["aroface", *options.words]),
    )
    errors = []
    for benchmark, record in found:
        if isinstance(record, InputError):
            errors.append(record)
            continue
        show(record)
        if options.out is not None:
            write_json(options.out if one_file else options.out / record["run"] / f"{benchmark}.json", record)
    if errors and options.debug:
        raise errors[0]
    for error in errors:
        print(f"aroface: error: {error}", file=sys.stderr)
    return 2 if errors else 0


def _tell_batch(options: Arguments, models: Sequence[Any]) -> None:
    """Say how many images are embedded at once, where the user does not."""
    if options.batch_size is None:
        sizes = sorted({model.embedder.batch_size for model in models})
        print(f"{' or '.join(map(str, sizes))} images at once (--batch-size)", file=sys.stderr)


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
        "--model", nargs="+", action="extend", required=True, metavar="NAME=MODEL", help=f"one to four: each a {_FORMS}"
    )
    verb.add_argument(
        "--pairs", type=Path, required=True, metavar="FILE", help="labelled pairs of aligned faces (.bin)"
    )
    words = "folder for robustness.pdf, .png, .html, .csv, and features: a call that was cut short goes on from them"
    verb.add_argument("--out", type=Path, default=Path("robustness"), help=f"{words} (%(default)s)")
    verb.add_argument("--max-pairs", type=positive, metavar="N", help="an evenly spaced part of the pairs")
    words = "largest loss, in points, at which an error counts as tolerated (%(default)s)"
    verb.add_argument("--tolerance", type=above_zero, default=1.0, metavar="POINTS", help=words)
    words = "torch models only: also the errors of the sizes of --joint that raise the pair's own error most"
    verb.add_argument("--worst-case", action="store_true", help=words)
    _add_grid_options(verb)
    _add_input_options(verb)


def _add_grid_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("what is swept")
    words = "hq, and sides in pixels that probes are reduced to (hq 24 14)"
    group.add_argument("--qualities", nargs="+", metavar="Q", type=_quality, help=words)
    levels = {
        "scale": "relative errors of scale (0.05 0.1 0.15)",
        "degrees": "of rotation (5 10 20)",
        "shift": "fractions of the width (0.03 0.06 0.12)",
        "joint": "all three at once, multiples of 10 %%, 10 degrees and 6 %% (0.5 1)",
    }
    for option, words in levels.items():
        group.add_argument(f"--{option}", nargs="+", type=finite, metavar="L", help=words)
    words = "whether probes are misaligned before they are reduced, as by a camera, or after (%(default)s)"
    group.add_argument("--order", choices=("camera", "reduced_first"), default="camera", help=words)
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
    changes |= {"worst_case": options.worst_case, "order": options.order}
    grid = SweepGrid(max_pairs=options.max_pairs, flip=not options.no_flip, **changes)
    grid.check()
    if not 0 < options.tolerance < 100:
        raise InputError(f"{options.tolerance:g} points", record="--tolerance", expected="more than 0, less than 100")
    models = []
    for word in options.model:
        name, path = named_file(word, "--model")
        models.append(_open(path, name, options))
    _tell_batch(options, models)
    try:
        images, seconds = remaining_work(models, options.pairs, options.out, grid, batch_size=options.batch_size)
        if images:
            advice = "--max-pairs and --qualities make it shorter"
            print(f"{images:,} images to embed, about {seconds_text(seconds)}; {advice}", file=sys.stderr)
        found = measure_robustness(
            models,
            options.pairs,
            options.out,
            grid,
            batch_size=options.batch_size,
            threads=options.threads,
            command=shlex.join(["aroface", *options.words]),
        )
        if few := few_impostors(found):
            print(f"aroface: warning: {few}", file=sys.stderr)
        for line in write_report(found, options.out, options.tolerance):
            print(line)
    except KeyboardInterrupt:
        kept = options.out / "features"
        print(f"aroface: interrupted; what is embedded is in {kept}: the same command goes on from it", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0
