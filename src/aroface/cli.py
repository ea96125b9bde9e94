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
    _train(verbs)
    _embed(verbs)
    _evaluate(verbs)
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


def _embed(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(
        verbs,
        "embed",
        "compute and store the features of a benchmark",
        "aroface embed --run-dir results/runs/RUN --benchmark lfw.json --out results/features/RUN/lfw",
        _do_embed,
    )
    verb.add_argument("--run-dir", type=Path, required=True, help="a finished run")
    verb.add_argument("--benchmark", type=Path, required=True, help="JSON or YAML: name, protocol, path and options")
    verb.add_argument("--out", type=Path, required=True, help="folder for features.npy and index.json")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if any")
    verb.add_argument("--batch-size", type=_positive, default=256, metavar="N", help="images at once (%(default)s)")
    verb.add_argument("--threads", type=_positive, metavar="N", help="of CPU arithmetic (default: all cores)")


def _do_embed(options: Arguments) -> None:
    from aroface.embedding.benchmark import embed_benchmark
    from aroface.schemas import read_yaml

    device = None if options.device == "auto" else options.device
    benchmark = read_yaml(options.benchmark)
    sizes = {"batch_size": options.batch_size, "threads": options.threads}
    print(embed_benchmark(options.run_dir, benchmark, options.out, device=device, **sizes))


def _evaluate(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verb = _verb(
        verbs,
        "evaluate",
        "evaluate stored features and write the result record",
        "aroface evaluate --features results/features/RUN/lfw --out results/records/RUN/lfw.json",
        _do_evaluate,
    )
    verb.add_argument("--features", type=Path, required=True, help="folder that aroface embed wrote")
    verb.add_argument("--out", type=Path, required=True, help="the record; metrics are printed as well")


def _do_evaluate(options: Arguments) -> None:
    from aroface.evaluation.evaluate import evaluate_features

    command = f"aroface evaluate --features {options.features} --out {options.out}"
    record = evaluate_features(options.features, options.out, command=command)
    for name, value in record["metrics"].items():
        low, high = record["intervals"].get(name, (None, None))
        interval = "" if low is None else f"  [{low:.4f}, {high:.4f}]"
        print(f"{name:26} {value:.4f}{interval}")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _device(name: str) -> str:
    import torch

    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
