"""Options of the verbs that look at a benchmark's features together with its images, and the opening of these."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments
from aroface.cli.detector import add_detector
from aroface.cli.external_model import MODEL_FORMS, add_input_options, open_declared, tell_batch
from aroface.errors import InputError


def add_embedded_set_options(verb: argparse.ArgumentParser) -> None:
    """Declare the options on features or a model, on its data set, and on a detector."""
    subject = verb.add_mutually_exclusive_group(required=True)
    subject.add_argument("--features", type=Path, metavar="DIR", help="folder that aroface embed or the workflow wrote")
    subject.add_argument("--model", metavar="NAME=MODEL", help=f"with --pairs: {MODEL_FORMS}")
    help_text = "labelled pairs of aligned faces (.bin), with --model"
    verb.add_argument("--pairs", type=Path, metavar="FILE", help=help_text)
    help_text = "the set that --features are of (default: as the folder of results names it)"
    verb.add_argument("--data", type=Path, metavar="PATH", help=help_text)
    group = verb.add_argument_group("detector")
    add_detector(group, "scores faces and tells how well they are aligned (default: none)")
    help_text = "where registered files lie (%(default)s)"
    group.add_argument("--data-dir", type=Path, default=Path("data"), help=help_text)
    add_input_options(verb)


def open_embedded(options: Arguments, features: Path) -> tuple[Any, Any]:
    """The set among the options, and the network that its features are of where that is open.

    They are an :class:`aroface.evaluation.embedded_set.EmbeddedSet` and an
    :class:`aroface.embedding.embedder.Embedder`, or None.

    Args:
        options: Options of the command line.
        features: Folder for the features of a model that is no run.
    """
    from aroface.evaluation.embedded_set import embed_pair_set, open_embedded_set
    from aroface.evaluation.external_model import named_file

    if options.features is not None:
        if options.pairs is not None:
            raise InputError("--pairs is for --model", remedy="leave it out, or name the set by --data")
        return open_embedded_set(options.features, options.data), None
    if options.pairs is None or options.data is not None:
        raise InputError("--model needs --pairs, and no --data", expected="a .bin file of pairs")
    name, path = named_file(options.model, "--model")
    model = open_declared(path, name, options)
    tell_batch(options, [model])
    execution = {"batch_size": options.batch_size, "threads": options.threads}
    return embed_pair_set(model, options.pairs, features, flip=not options.no_flip, **execution), model.embedder
