"""The verb ``train`` of the ``aroface`` command."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aroface.cli.arguments import Arguments, Verbs, add_device, add_verb, positive, share
from aroface.errors import InputError
from aroface.files import named_path

_EXECUTION = (
    *("save_every", "keep", "log_every", "sheet_every", "check_every", "validate_every", "micro_batch", "compile"),
    *("checkpoint_activations", "loader_threads", "reader", "on_corrupt", "max_corrupt_fraction"),
)


def add_train_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare it."""
    verb = add_verb(
        verbs,
        "train",
        "train one run, going on from its newest saved state",
        "aroface train --recipe results/recipes/RUN.json --data data/ms1mv2 \\\n"
        "      --run-dir results/runs/RUN --state-dir results/state/RUN --processes 4",
        _do_train,
    )
    verb.add_argument("--recipe", type=Path, required=True, help="the run's recipe, as the workflow writes it")
    verb.add_argument("--data", type=Path, help="folder with train.rec, train.idx, property, manifest.json")
    verb.add_argument("--run-dir", type=Path, help="where checkpoint, weights and log go")
    verb.add_argument("--state-dir", type=Path, help="where the resumable state is kept")
    verb.add_argument(
        "--dry-run", action="store_true", help="three steps on made-up images: speed, memory, hours; needs no data"
    )
    _add_device(verb)
    _add_intervals(verb)
    _add_data(verb)


def _add_device(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("devices")
    add_device(group)
    group.add_argument(
        "--processes", type=positive, default=1, metavar="N", help="on this machine, one a GPU (%(default)s)"
    )
    group.add_argument(
        "--micro-batch", type=positive, metavar="IMAGES", help="most at once on a device; gradients add up (all)"
    )
    group.add_argument("--compile", action="store_true", help="let torch.compile make the backbone faster")
    group.add_argument(
        "--checkpoint-activations", action="store_true", help="half the memory for a third more arithmetic"
    )


def _add_intervals(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("state and log")
    steps: Any = {"type": positive, "metavar": "STEPS"}
    group.add_argument("--save-every", **steps, default=500, help="between states (%(default)s)")
    group.add_argument("--keep", type=positive, default=2, metavar="N", help="states that stay (%(default)s)")
    group.add_argument("--log-every", **steps, default=50, help="between log lines (%(default)s)")
    group.add_argument("--sheet-every", **steps, default=5000, help="between contact sheets (%(default)s)")
    group.add_argument("--check-every", **steps, default=500, help="between comparisons of processes (%(default)s)")
    group.add_argument(
        "--validate",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="labelled pairs, if they are there, to measure the accuracy on; the best weights are kept as well",
    )
    group.add_argument(
        "--validate-every", type=positive, default=1, metavar="EPOCHS", help="between validations (%(default)s)"
    )


def _add_data(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("reading")
    group.add_argument("--loader-threads", type=positive, default=2, metavar="N", help="image decoders (%(default)s)")
    group.add_argument("--reader", choices=("native", "mxnet"), default="native", help="of the records (%(default)s)")
    group.add_argument(
        "--on-corrupt",
        choices=("error", "skip"),
        default="error",
        help="at an image that cannot be used: stop, or take the next one and list it (%(default)s)",
    )
    group.add_argument(
        "--max-corrupt-fraction",
        type=share,
        default=0.001,
        metavar="SHARE",
        help="of images that may be skipped (%(default)s)",
    )


def _do_train(options: Arguments) -> int:
    from aroface.device import choose_device, keep_freed_memory
    from aroface.distributed.launch import is_first, launch, under_torchrun
    from aroface.exit_status import ExitStatus
    from aroface.training.execution import ExecutionOptions, Interrupted

    if not options.dry_run:
        for name in ("data", "run_dir", "state_dir"):
            if getattr(options, name) is None:
                raise InputError("not given", record=f"--{name.replace('_', '-')}", remedy="see aroface train --help")
    if options.processes > 1 and not under_torchrun():
        processes = _as_many_as_fit(options)
        if processes > 1:
            return launch(processes, options.words)
    keep_freed_memory()
    execution = ExecutionOptions(
        device=choose_device(options.device).type, **{name: getattr(options, name) for name in _EXECUTION}
    )
    if options.dry_run:
        return _do_dry_run(options, execution)
    from aroface.training.train import train

    validate = None
    if options.validate:
        from aroface.evaluation.validation import pair_validation

        named = _named(options.validate)
        validate = pair_validation(named, check_images=is_first()) if named else None
    try:
        checkpoint = train(options.recipe, options.data, options.run_dir, options.state_dir, execution, validate)
    except Interrupted as stop:
        if is_first():
            print(f"aroface: {stop}; start again to go on", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    if is_first():
        print(checkpoint)
    return 0


def _as_many_as_fit(options: Arguments) -> int:
    """The number of processes asked for, or fewer, with a line that says why; see `fitting_processes`."""
    from aroface.training.recipe import fitting_processes, read_run

    recipe = read_run(options.recipe).recipe
    asked: int = options.processes
    fit = fitting_processes(asked, recipe.batch_size, recipe.images_per_pass)
    if fit < asked:
        what = f"{fit} of {asked} processes: the recipe takes {recipe.images_per_pass} images at once"
        print(f"aroface: {what}, of a batch of {recipe.batch_size}", file=sys.stderr)
    return fit


def _do_dry_run(options: Arguments, execution: Any) -> int:
    from aroface.training.dry_run import describe, dry_run
    from aroface.training.recipe import read_run
    from aroface.training.train import size_of

    run = read_run(options.recipe)
    classes, images = size_of(run, options.data)
    with tempfile.TemporaryDirectory() as folder:
        report = dry_run(run, classes, images, execution, Path(folder))
    if report is not None:
        print(describe(report))
    return 0


def _named(words: Sequence[str]) -> dict[str, Path]:
    from aroface.distributed.launch import is_first

    named = {}
    for word in words:
        name, path = named_path(word)
        if name is None:
            raise InputError(f"{word!r}", record="--validate", expected="NAME=FILE, such as lfw=data/lfw.bin")
        if path.exists():
            named[name] = path
        elif is_first():
            print(f"aroface: {path} is not there: no validation on {name}", file=sys.stderr)
    return named
