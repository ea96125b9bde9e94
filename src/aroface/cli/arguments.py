"""Declaration of a verb of the ``aroface`` command: a summary, an example in its help, an action."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from aroface.errors import InputError
from aroface.onnx_program import TIME_LIMIT
from aroface.results import Results

Arguments = argparse.Namespace
Verbs = argparse._SubParsersAction  # the type of add_subparsers()' result has no public name


def add_verb(
    verbs: Verbs[argparse.ArgumentParser],
    name: str,
    summary: str,
    example: str,
    action: Callable[[Arguments], int | None],
) -> argparse.ArgumentParser:
    """Declare one verb.

    Args:
        verbs: Group that the verb belongs to.
        name: Name as it is typed.
        summary: Purpose of the verb, in a line.
        example: Example of its use.
        action: Function that carries it out; returns the exit status, None for 0.
    """
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.register("type", Path, _path)  # of every option whose type is Path
    verb.set_defaults(action=action)
    return verb


def _path(text: str) -> Path:
    """A path of the command line; an empty one, as of an unset variable, would mean the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path; write . for the working directory")
    return Path(text)


def add_group(verbs: Verbs[argparse.ArgumentParser], name: str, summary: str) -> Verbs[argparse.ArgumentParser]:
    """Declare a verb that has verbs of its own; returns where they are declared."""
    description = f"{summary[0].upper()}{summary[1:]}."
    group: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=description)
    return group.add_subparsers(title="verbs", metavar="VERB", required=True)


def add_device(verb: argparse._ActionsContainer) -> None:
    """Declare the option that says which device computes."""
    verb.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )


def add_selection(verb: argparse.ArgumentParser) -> None:
    """Declare the options that say which runs a table or figure shows, and what its caption ends in."""
    verb.add_argument("--records", type=Path, default=Results().records, help="folder of records (%(default)s)")
    verb.add_argument("--runs-file", type=Path, help="the workflow's list of current runs; all records where left out")
    verb.add_argument("--caption-note", metavar="TEXT", help="last sentence of the caption")


def workflow_command(files: Iterable[Path]) -> str:
    """The command that makes the file whose name follows it, by these files of configuration."""
    return f"snakemake --cores all --configfile {shlex.join(map(str, files))}"


def check_suffix(path: Path | None, *suffixes: str) -> None:
    """Refuse the name of a file whose ending says something else than what is written into it.

    Args:
        path: File to write; None where it is not asked for.
        suffixes: Endings that fit, with the point.

    Raises:
        InputError: It has another ending, or none.
    """
    if path is not None and path.suffix.lower() not in suffixes:
        what = f"a name that ends in {path.suffix}" if path.suffix else "a name without an ending"
        raise InputError(what, file=path, expected=f"one that ends in {' or '.join(suffixes)}")


def positive(text: str) -> int:
    """A whole number from 1 on, as an option's value."""
    return int(_number(text, int, lambda number: 1 <= number <= _LARGEST, "a whole number from 1 on"))


def finite(text: str) -> float:
    """A finite number, as an option's value."""
    return _number(text, float, lambda number: True, "a finite number")


def above_zero(text: str) -> float:
    """A finite number above 0, as an option's value."""
    return _number(text, float, lambda number: number > 0, "a finite number above 0")


def listed(text: str) -> list[str]:
    """Names with commas between them, as an option's value."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text[:60]!r} has an empty name")
    return names


def natural(text: str) -> int:
    """A whole number from 0 on, such as a seed, as an option's value."""
    return int(_number(text, int, lambda number: 0 <= number <= _LARGEST, "a whole number from 0 on"))


def share(text: str) -> float:
    """A number from 0 to 1, as an option's value."""
    return _number(text, float, lambda number: 0 <= number <= 1, "a share, from 0 to 1")


def rate(text: str) -> float:
    """A number above 0 and below 1, such as a false match rate, as an option's value."""
    return _number(text, float, lambda number: 0 < number < 1, "a rate above 0 and below 1")


_LARGEST = 2**31 - 1  # what other libraries take


def _number(text: str, kind: Callable[[str], float], fits: Callable[[float], bool], words: str) -> float:
    try:
        number = kind(text)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not fits(number):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {words}")
    return number


def add_time_limit(verb: argparse._ActionsContainer) -> None:
    """Declare the option that ends an ONNX model's endless loop."""
    help_text = "that one batch of an ONNX model may take: a loop in it need not end (%(default)g)"
    verb.add_argument("--time-limit", type=above_zero, default=TIME_LIMIT, metavar="SECONDS", help=help_text)


def add_configuration(verb: argparse.ArgumentParser) -> None:
    """Declare the configuration's files, as for Snakemake."""
    verb.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[Path("config.yaml")],
        metavar="FILE",
        help="configuration, each file laid over the one before, as for snakemake (config.yaml)",
    )


def refuse_options(options: Arguments, names: Iterable[str], why: str) -> None:
    """Refuse options that what is asked for does not have, where they are given.

    Args:
        options: Options of the verb.
        names: Names of the options, without dashes.
        why: Purpose of them, such as ``is for photographs``.

    Raises:
        InputError: One is given.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False and value != []:
            raise InputError(f"--{name.replace('_', '-')} {why}", remedy="leave it out")
