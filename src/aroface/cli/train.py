"""Verb ``train`` of the ``aroface`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from aroface.cli.arguments import Arguments, Verbs, add_device, add_verb, positive, share
from aroface.errors import InputError
from aroface.exit_status import ExitStatus
from aroface.files import named_path
from aroface.training.execution import (
    DEVICES,
    READING,
    STATE_AND_LOG,
    ExecutionOptions,
    Interrupted,
    option_string,
)


def add_train_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verb ``train``."""
    verb = add_verb(
        verbs,
        "train",
        "train one run, resuming from its newest saved state",
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
    groups = {name: verb.add_argument_group(name) for name in (DEVICES, STATE_AND_LOG, READING)}
    add_device(groups[DEVICES])
    groups[DEVICES].add_argument(
        "--processes", type=positive, default=1, metavar="N", help="number on this machine, one a GPU (%(default)s)"
    )
    groups[STATE_AND_LOG].add_argument(
        "--validate",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="labelled pairs, those that exist, to measure the accuracy on; the best weights are kept as well",
    )
    _add_execution_options(groups)


def _add_execution_options(groups: Mapping[str, argparse._ArgumentGroup]) -> None:
    """Declare the fields of `ExecutionOptions`, but for the device, which `add_device` declares for all verbs."""
    types = get_type_hints(ExecutionOptions)
    for option in fields(ExecutionOptions):
        if option.metadata:
            arguments = _argument(types[option.name], option.default, option.metadata["metavar"])
            has_no_value = option.default is None or option.default is False
            text = option.metadata["help"] + ("" if has_no_value else " (%(default)s)")
            groups[option.metadata["group"]].add_argument(option_string(option.name), help=text, **arguments)


def _argument(kind: Any, default: Any, metavar: str | None) -> dict[str, Any]:
    """Return argparse's keywords for an option of a type: a number from 1 on, a share, a choice or a switch."""
    if kind is bool:
        return {"action": "store_true"}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind), "default": default}
    return {"type": share if kind is float else positive, "default": default, "metavar": metavar}


def _do_train(options: Arguments) -> int:
    from aroface.device import choose_device, keep_freed_memory
    from aroface.distributed.launch import is_first, launch, under_torchrun

    if not options.dry_run:
        for name in ("data", "run_dir", "state_dir"):
            if getattr(options, name) is None:
                raise InputError("not given", where=option_string(name), remedy="see aroface train --help")
    if options.processes > 1 and not under_torchrun():
        processes = _as_many_as_fit(options)
        if processes > 1:
            return launch(processes, options.words)
    keep_freed_memory()
    values = {option.name: getattr(options, option.name) for option in fields(ExecutionOptions)}
    execution = ExecutionOptions(**{**values, "device": choose_device(options.device).type})
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
    return ExitStatus.DONE


def _as_many_as_fit(options: Arguments) -> int:
    """Return the number of processes asked for, or fewer with a line on the reason; see `fitting_processes`."""
    from aroface.training.recipe import fitting_processes, read_run

    recipe = read_run(options.recipe).recipe
    asked: int = options.processes
    fit = fitting_processes(asked, recipe.batch_size, recipe.images_per_pass)
    if fit < asked:
        reason = f"{fit} of {asked} processes: the recipe takes {recipe.images_per_pass} images at once"
        print(f"aroface: {reason}, of a batch of {recipe.batch_size}", file=sys.stderr)
    return fit


def _do_dry_run(options: Arguments, execution: ExecutionOptions) -> int:
    from aroface.training.dry_run import describe, dry_run
    from aroface.training.recipe import read_run
    from aroface.training.train import size_of

    run = read_run(options.recipe)
    classes, images = size_of(run, options.data)
    report = dry_run(run, classes, images, execution)
    if report is not None:
        print(describe(report))
    return ExitStatus.DONE


def _named(words: Sequence[str]) -> dict[str, Path]:
    from aroface.distributed.launch import is_first

    named = {}
    names: set[str] = set()
    for word in words:
        name, path = named_path(word)
        if name is None:
            raise InputError(f"{word!r}", where="--validate", expected="NAME=FILE, such as lfw=data/lfw.bin")
        if name in names:
            raise InputError(f"two files are called {name!r}", where="--validate", remedy="give each a name of its own")
        names.add(name)
        if path.exists():
            named[name] = path
        elif is_first():
            print(f"aroface: {path} is not there: no validation on {name}", file=sys.stderr)
    return named
