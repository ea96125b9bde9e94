"""The verb ``aroface embed``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, Verbs, add_verb, positive, refuse_options
from aroface.cli.data import add_omission_options, add_photograph_options
from aroface.cli.detector import open_named_detector
from aroface.cli.external_model import MODEL_FORMS, OF_MODELS, add_input_options, open_declared, tell_batch
from aroface.errors import InputError
from aroface.exit_status import ExitStatus

_OF_RUNS = ("run_dir", "benchmark", "processes", "precision")
_OF_PHOTOGRAPHS = ("faces", "detect_size", "frame_step", "on_corrupt", "max_left_out")
_RUN_BATCH = 256


def add_embed_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "embed",
        "find, align and embed the faces in photographs, or embed a benchmark with a finished run",
        "aroface embed photographs --model my.onnx --out faces.parquet\n"
        "  aroface embed --run-dir results/runs/RUN --benchmark lfw.json --out results/features/RUN/lfw",
        _do_embed,
    )
    verb.add_argument(
        "photographs", type=Path, nargs="*", metavar="PHOTOS", help="files, folders (at any depth) and videos"
    )
    verb.add_argument("--model", metavar="MODEL", help=f"with photographs: {MODEL_FORMS}")
    help_text = "file of the faces (.parquet, .npz or .csv); of a benchmark, folder for features.npy and index.json"
    verb.add_argument("--out", type=Path, required=True, help=help_text)
    _add_photograph_options(verb)
    _add_run_options(verb)
    add_input_options(verb)


def _add_photograph_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("faces of photographs")
    group.add_argument(
        "--faces", choices=("largest", "best", "all"), help="to take of a photograph; best is by score (largest)"
    )
    add_photograph_options(group)
    group.add_argument(
        "--detect-size",
        type=positive,
        metavar="N",
        help="longer side to which a photograph is reduced for the detector (640); more finds smaller faces",
    )
    group.add_argument(
        "--frame-step", type=positive, metavar="N", help="of a video every N-th frame is taken (1, that is all)"
    )
    add_omission_options(group)


def _add_run_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("benchmarks")
    group.add_argument("--run-dir", type=Path, help="a finished run")
    group.add_argument("--benchmark", type=Path, help="JSON or YAML: name, protocol, path and options")
    group.add_argument("--processes", type=positive, metavar="N", help="on this machine, one a GPU (1)")
    group.add_argument("--precision", choices=("float32", "float16"), help="of the file (float32)")


def _do_embed(options: Arguments) -> int:
    if options.photographs:
        refuse_options(options, _OF_RUNS, "is for benchmarks")
        return _embed_photographs(options)
    if options.run_dir is None or options.benchmark is None:
        expected = "photographs and --model, or --run-dir and --benchmark"
        raise InputError("nothing to embed", expected=expected)
    refuse_options(options, ("model", "no_flip", *_OF_PHOTOGRAPHS, *OF_MODELS), "is for photographs")
    return _embed_benchmark(options)


def _embed_benchmark(options: Arguments) -> int:
    from aroface.device import keep_freed_memory
    from aroface.distributed.launch import is_first, launch, under_torchrun
    from aroface.embedding.embed import embed_benchmark
    from aroface.embedding.protocols import find_protocol
    from aroface.schemas import read_yaml, validate

    processes = options.processes or 1
    if processes > 1 and not under_torchrun():
        return launch(processes, options.words)
    keep_freed_memory()
    benchmark = read_yaml(options.benchmark)
    validate(benchmark, "benchmark_spec", file=options.benchmark)
    find_protocol(benchmark["protocol"], file=options.benchmark)
    execution = {"batch_size": options.batch_size or _RUN_BATCH, "threads": options.threads}
    execution["precision"] = options.precision or "float32"
    index = embed_benchmark(options.run_dir, benchmark, options.out, device=options.device, **execution)
    if is_first():
        print(index)
    return ExitStatus.DONE


def _embed_photographs(options: Arguments) -> int:
    from aroface.datasets.images import allow_megapixels
    from aroface.embedding.face_table import check_form
    from aroface.embedding.photographs import PhotographOptions, embed_to_file, tell
    from aroface.evaluation.external_model import named_file

    if options.model is None:
        raise InputError("photographs need --model", expected=MODEL_FORMS)
    check_form(options.out)
    allow_megapixels(options.max_megapixels)
    name, path = named_file(options.model, "--model")
    model = open_declared(path, name, options)
    detector = open_named_detector(options, options.device)
    assert detector is not None, "there is one by default"
    tell_batch(options, [model])
    given: dict[str, Any] = {key: getattr(options, key) for key in _OF_PHOTOGRAPHS}
    how = PhotographOptions(
        flip=not options.no_flip,
        batch_size=options.batch_size,
        threads=options.threads,
        **{key: value for key, value in given.items() if value is not None},
    )
    command = shlex.join(["aroface", *options.words])
    try:
        report = embed_to_file(options.photographs, model, detector, options.out, how, command=command)
    except KeyboardInterrupt:
        print("aroface: interrupted; what is embedded is kept: the same command goes on from it", file=sys.stderr)
        return 128 + signal.SIGINT
    tell(report["left_out"], report["corrupt"])
    counts = report["counts"]
    without = f"{counts['without_face']:,} without a face, {counts['several_faces']:,} with several"
    print(f"{options.out}  {counts['rows']:,} faces of {counts['images']:,} images, {without}")
    return ExitStatus.DONE
