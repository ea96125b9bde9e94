"""The verbs of ``aroface model``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aroface.cli.arguments import Arguments, Verbs, above_zero, add_group, add_verb, finite, positive
from aroface.cli.detector import add_detector, open_named_detector
from aroface.cli.external_model import (
    MODEL_FORMS,
    add_input_options,
    add_program_options,
    declared_by,
    open_declared,
)
from aroface.results import Results


def add_model_verbs(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare ``aroface model`` and its verbs."""
    kinds = add_group(verbs, "model", "import released checkpoints, export trained ones, look at either")
    verb = add_verb(
        kinds,
        "import",
        "make a run folder of released weights, in any layout that `aroface model info` names, or of an ONNX file",
        "aroface model import adaface_ir101_webface4m.ckpt --out results/runs/adaface\n"
        "  aroface embed --run-dir results/runs/adaface --benchmark lfw.json --out results/features/adaface/lfw",
        _do_import,
    )
    verb.add_argument(
        "file", type=Path, help="state dict (.pt, .pth, .safetensors), Lightning's .ckpt, CVLface's folder, .onnx"
    )
    verb.add_argument("--out", type=Path, required=True, help="the run folder")
    _add_color(verb)
    verb.add_argument(
        "--mean", type=finite, metavar="M", help="subtracted from pixel values in 0..255 (127.5; MagFace's: 0)"
    )
    verb.add_argument(
        "--std", type=above_zero, metavar="S", help="what they are divided by afterwards (127.5; MagFace's: 255)"
    )
    verb.add_argument(
        "--classifier",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of the classifier that were released apart, in the order of their classes, to be kept",
    )
    add_program_options(verb)
    verb.add_argument("--arch", help="what the file must hold (default: whatever it holds)")
    verb.add_argument("--name", help="of the run (default: the folder's)")
    verb.add_argument("--method", default="released", help="that trained it, for tables (%(default)s)")
    verb.add_argument("--dataset", default="unknown", help="that it was trained on, for tables (%(default)s)")
    _export(kinds)
    verb = add_verb(
        kinds,
        "info",
        "say what a run folder, a file of weights or an ONNX file holds, and where it comes from",
        "aroface model info backbone.pth\n  aroface model info results/runs/RUN",
        _do_info,
    )
    verb.add_argument("model", type=Path, metavar="FILE_OR_FOLDER")
    _add_color(verb)
    _time(kinds)
    verb = add_verb(
        kinds,
        "list",
        "list the architectures, and the released weights that are registered with what is missing of them",
        "aroface model list",
        _do_list,
    )
    verb.add_argument("--data-dir", type=Path, default=Path("data"), help="where released weights lie (%(default)s)")


def _time(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "time",
        "measure the time of one face, from the photograph to the feature, against the limits of FRUITS",
        "aroface model time my.onnx --detector mtcnn --threads 1 --device cpu\n"
        "  aroface model time results/runs/RUN --detector scrfd_2.5g --photograph door.jpg",
        _do_time,
    )
    verb.add_argument("model", metavar="MODEL", help=MODEL_FORMS)
    add_detector(verb, "measured as well (default: none)")
    verb.add_argument("--photograph", type=Path, metavar="FILE", help="(default: a face that is drawn, 640x480)")
    verb.add_argument("--repeats", type=positive, default=20, metavar="N", help="measurements (%(default)s)")
    verb.add_argument("--data-dir", type=Path, default=Path("data"), help="where registered files lie (%(default)s)")
    add_input_options(verb)


def _export(kinds: Verbs[argparse.ArgumentParser]) -> None:
    verb = add_verb(
        kinds,
        "export",
        "write a run's backbone for other programs, or as a folder for a model hub, checked",
        "aroface model export results/runs/RUN --format onnx --out model.onnx --normalised\n"
        "  aroface model export results/runs/RUN --format onnx --out model.onnx --normalised --with-preprocessing\n"
        "  aroface model export results/runs/RUN --to hub --out hub/RUN",
        _do_export,
    )
    verb.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a finished run")
    form = verb.add_mutually_exclusive_group(required=True)
    form.add_argument("--format", choices=("safetensors", "pt", "onnx", "torch-export"), help="one file")
    form.add_argument(
        "--to", choices=("hub",), help="a folder as of Hugging Face: weights, network in PyTorch, card with the records"
    )
    verb.add_argument("--out", type=Path, required=True, help="the file, or the folder")
    verb.add_argument("--normalised", action="store_true", help="embeddings of unit length (onnx, torch-export)")
    verb.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="a program that takes pixels as they are, uint8 N×S×S×3, RGB (onnx, torch-export)",
    )
    group = verb.add_argument_group("the card of a folder")
    group.add_argument("--records", type=Path, metavar="DIR", help=f"of the run's results ({Results().records})")
    group.add_argument(
        "--licence", metavar="ID", help="of the weights, as the hub spells it: mit, cc-by-nc-4.0 (other)"
    )


def _add_color(verb: argparse.ArgumentParser) -> None:
    help_text = (
        "channels that the weights take (default: as a config beside them says; AdaFace's .ckpt BGR; others RGB)"
    )
    verb.add_argument("--color", choices=("RGB", "BGR"), help=help_text)


def _do_import(options: Arguments) -> None:
    from aroface.errors import InputError
    from aroface.models.info import describe
    from aroface.onnx_program import SUFFIX

    named = {name: getattr(options, name) for name in ("arch", "name", "method", "dataset")}
    if options.file.suffix.lower() == SUFFIX and not options.file.is_dir():
        from aroface.embedding.import_program import import_program

        if options.classifier:
            raise InputError("--classifier is for weights", file=options.file, remedy="leave it out")
        import_program(options.file, options.out, declared_by(options), **named)
    else:
        from aroface.models.import_released import import_checkpoint

        for key in ("size", "crop", "output"):
            if getattr(options, key) is not None:
                raise InputError(f"--{key} is for ONNX files", file=options.file, remedy="leave it out")
        form = {key: getattr(options, key) for key in ("color", "mean", "std")}
        import_checkpoint(options.file, options.out, classifiers=options.classifier, **form, **named)
    print(*describe(options.out), sep="\n")


def _do_export(options: Arguments) -> None:
    from aroface.errors import InputError

    form = {"normalised": options.normalised, "with_preprocessing": options.with_preprocessing}
    if options.to:
        for key in (key for key, given in form.items() if given):
            raise InputError(f"--{key.replace('_', '-')} is for programs", where="--to hub", remedy="leave it out")
        print(_export_to_hub(options))
        return
    for key in ("records", "licence"):
        if getattr(options, key) is not None:
            raise InputError(f"--{key} is for --to hub", remedy="leave it out")
    from aroface.models.export import export_model

    print(export_model(options.run_dir, options.out, options.format, **form))


def _export_to_hub(options: Arguments) -> Path:
    """Write the folder of ``--to hub``; say which records are not in its card."""
    from collections.abc import Mapping
    from typing import Any

    from aroface.datasets.registry import read_all
    from aroface.errors import InputError
    from aroface.models.hub_folder import write_hub_folder
    from aroface.reporting.model_card import OTHER_LICENCE, measured_benchmarks, model_card

    if options.records is not None and not options.records.is_dir():
        raise InputError("no such folder", file=options.records, where="--records", expected="as results/records")
    entries = read_all()
    titles = {key: entry.title for key, entry in entries.items()}

    def card(checkpoint: Mapping[str, Any], config: Mapping[str, Any]) -> str:
        records = options.records or Results().records
        measured, others = measured_benchmarks(records, checkpoint, titles)
        if others:
            print(f"{records}: left out, since of other weights: {', '.join(others)}", file=sys.stderr)
        if not measured:
            print(f"{records}: no record of {checkpoint['run']}: the card has no results (--records)", file=sys.stderr)
        entry = entries.get(checkpoint["data"]["name"])
        return model_card(checkpoint, config, measured, entry, options.licence or OTHER_LICENCE)

    return write_hub_folder(options.run_dir, options.out, card)


def _do_info(options: Arguments) -> None:
    from aroface.models.info import describe

    print(*describe(options.model, options.color), sep="\n")


def _do_time(options: Arguments) -> None:
    import torch

    from aroface.datasets.orientation import read_upright
    from aroface.embedding.face_time import FRUITS_LIMITS, time_face
    from aroface.evaluation.external_model import named_file

    if options.threads:
        torch.set_num_threads(options.threads)
    name, path = named_file(options.model, "MODEL")
    model = open_declared(path, name, options)
    detector = open_named_detector(options, options.device)
    photograph = None if options.photograph is None else read_upright(options.photograph)
    taken = time_face(model.embedder, detector, photograph, flip=not options.no_flip, repeats=options.repeats)
    size = "×".join(map(str, taken.size))
    if taken.detection is None or detector is None:
        print("detection   not measured: name one by --detector")
    else:
        print(f"detection   {taken.detection:8.1f} ms  {detector.name}, {size} pixels")
    print(f"alignment   {taken.alignment:8.1f} ms")
    images = "one image" if options.no_flip else "the image and its mirror image"
    print(f"embedding   {taken.embedding:8.1f} ms  {images}")
    spread = f"median of {taken.repeats}, 10th to 90th percentile {taken.fast:.1f} to {taken.slow:.1f}"
    print(f"together    {taken.whole:8.1f} ms  {spread}")
    limit = taken.limit()
    verdict = f"beyond {FRUITS_LIMITS[-1]:,} ms" if limit is None else f"within {limit:,} ms"
    part = "" if taken.detection is not None else ", without detection"
    print(
        f"FRUITS      {verdict} in nine of ten{part}; its limits are for one core of a CPU (--threads 1 --device cpu)"
    )


def _do_list(options: Arguments) -> None:
    from aroface.datasets.registry import checkpoint_listing
    from aroface.models.info import architectures

    print(*architectures(), "", *checkpoint_listing(options.data_dir), sep="\n")
