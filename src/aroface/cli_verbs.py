"""How a verb of the ``aroface`` command is declared: a summary, an example in its help, an action."""

from __future__ import annotations

import argparse
from collections.abc import Callable

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
        verbs: what it is one of.
        name: as it is typed.
        summary: what it does, in a line.
        example: of its use.
        action: what does it; returns the exit status, None for 0.
    """
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(action=action)
    return verb


def positive(text: str) -> int:
    """A whole number from 1 on, as an option's value."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
