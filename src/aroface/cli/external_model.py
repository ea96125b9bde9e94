"""Options of the verbs that take a model from anywhere, and the opening of such a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, above_zero, add_device, add_time_limit, finite, positive

MODEL_FORMS = "run folder, .onnx file, or checkpoint of insightface, ARoFace or AdaFace"
"""Forms of a model, for the help."""


OF_MODELS = ("color", "mean", "std", "size", "crop", "output")
"""Options of :func:`add_input_options` that say what a model takes."""


def add_input_options(verb: argparse.ArgumentParser) -> None:
    """Declare the options on the images that a model takes, and on how it runs."""
    group = verb.add_argument_group("what models take, where their files do not say it")
    group.add_argument("--color", choices=("RGB", "BGR"), help="order of the channels (RGB; AdaFace's checkpoints BGR)")
    group.add_argument("--mean", type=finite, metavar="M", help="subtracted from pixel values in 0..255 (127.5)")
    group.add_argument("--std", type=above_zero, metavar="S", help="what they are divided by afterwards (127.5)")
    add_program_options(group)
    group.add_argument("--no-flip", action="store_true", help="do not add the embedding of the mirrored image")
    add_device(group)
    group.add_argument("--batch-size", type=positive, metavar="N", help="images at once (what fits the device; told)")
    group.add_argument("--threads", type=positive, metavar="N", help="of CPU arithmetic (default: all cores)")
    add_time_limit(group)


def add_program_options(group: argparse._ActionsContainer) -> None:
    """Declare the options on the input and output of ONNX files."""
    group.add_argument("--size", type=positive, metavar="N", help="side of the images, if an ONNX file is open (112)")
    words = "part in the middle of the images that an ONNX model takes, as SphereFace's take 112x96"
    group.add_argument("--crop", type=_crop_size, metavar="HxW", help=words)
    group.add_argument("--output", metavar="NAME", help="an ONNX file's output (default: the first of N×D, D above 1)")


def _crop_size(text: str) -> tuple[int, int]:
    """Height and width of an argument such as ``112x96``."""
    try:
        height, width = map(positive, text.replace("×", "x").split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not HxW, such as 112x96") from None
    return height, width


def declared_by(options: Arguments) -> Any:
    """Declaration among the options, an :class:`aroface.embedding.onnx_network.Declared`."""
    from aroface.embedding.onnx_network import Declared

    return Declared(*(getattr(options, key) for key in ("color", "mean", "std", "size", "output", "crop")))


def open_declared(path: Path, name: str, options: Arguments) -> Any:
    """Open a model with the declarations among the options; see :func:`aroface.embedding.external_model.open_model`."""
    from aroface.embedding.external_model import open_model

    execution = {"device": options.device, "threads": options.threads, "time_limit": options.time_limit}
    execution["batch_size"] = options.batch_size
    return open_model(path, name=name, declared=declared_by(options), **execution)


def tell_batch(options: Arguments, models: Sequence[Any]) -> None:
    """Print how many images are embedded at once, unless the options or the models name a number."""
    sizes = sorted({model.embedder.batch_size for model in models if model.embedder.at_once is None})
    if sizes and options.batch_size is None:
        print(f"{' or '.join(map(str, sizes))} images at once (--batch-size)", file=sys.stderr)
