"""The ``aroface`` command: one subcommand a verb, no logic of its own.

Modules are imported by the verb that needs them: ``aroface table`` must not wait for torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aroface import __version__
from aroface.errors import InputError

Arguments = argparse.Namespace
Verbs = argparse._SubParsersAction  # the type of add_subparsers()' result has no public name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 2 bad input, 75 interrupted: start again)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status: int | None = options.action(options)
    except InputError as error:
        if options.debug:
            raise
        print(f"aroface: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aroface",
        description="Face recognition that is robust to face alignment errors: data, training, evaluation, paper.",
        epilog="Each verb has its own help with an example: aroface train --help",
    )
    parser.add_argument("--version", action="version", version=f"aroface {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an input error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _data(verbs)
    _train(verbs)
    _embed(verbs)
    _evaluate(verbs)
    _table(verbs)
    _figure(verbs)
    _document(verbs)
    _explain(verbs)
    return parser


def _verb(
    verbs: Verbs[argparse.ArgumentParser],
    name: str,
    summary: str,
    example: str,
    action: Callable[[Arguments], int | None],
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(action=action)
    return verb


def _train(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(
        verbs,
        "train",
        "train one run, going on from its newest saved state",
        "aroface train --recipe results/recipes/RUN.json --data data/ms1mv2 \\\n"
        "      --run-dir results/runs/RUN --state-dir results/state/RUN",
        _do_train,
    )
    verb.add_argument("--recipe", type=Path, required=True, help="the run's recipe, as the workflow writes it")
    verb.add_argument(
        "--data", type=Path, required=True, help="folder with train.rec, train.idx, property, manifest.json"
    )
    verb.add_argument("--run-dir", type=Path, required=True, help="where checkpoint, weights and log go")
    verb.add_argument("--state-dir", type=Path, required=True, help="where the resumable state is kept")
    verb.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    verb.add_argument("--save-every", type=_positive, default=500, metavar="STEPS", help="between states (%(default)s)")
    verb.add_argument(
        "--log-every", type=_positive, default=50, metavar="STEPS", help="between log lines (%(default)s)"
    )
    verb.add_argument(
        "--sheet-every", type=_positive, default=5000, metavar="STEPS", help="between contact sheets (%(default)s)"
    )
    verb.add_argument("--loader-threads", type=_positive, default=2, metavar="N", help="image decoders (%(default)s)")


def _do_train(options: Arguments) -> int:
    from aroface.training.loop import EXIT_INTERRUPTED, Conduct, Interrupted
    from aroface.training.run import train

    conduct = Conduct(
        _device(options.device), options.save_every, options.log_every, options.sheet_every, options.loader_threads
    )
    try:
        print(train(options.recipe, options.data, options.run_dir, options.state_dir, conduct))
    except Interrupted as stop:
        print(f"aroface: {stop}; start again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _device(name: str) -> str:
    import torch

    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
