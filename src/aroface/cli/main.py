"""The ``aroface`` command: one subcommand a verb, no logic of its own.

Modules are imported by the verb that needs them: ``aroface table`` must not wait for torch.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from aroface import __version__
from aroface.cli.archive import add_archive_verbs
from aroface.cli.data import add_data_verbs
from aroface.cli.embed import add_embed_verb
from aroface.cli.evaluate import add_evaluate_verbs
from aroface.cli.export import add_export_verb
from aroface.cli.extras import missing_package
from aroface.cli.figure import add_figure_verb
from aroface.cli.mistakes import add_mistakes_verb
from aroface.cli.model import add_model_verbs
from aroface.cli.plan import add_plan_verb
from aroface.cli.quality import add_quality_verb
from aroface.cli.reporting import add_reporting_verbs, add_table_verb
from aroface.cli.robustness import add_robustness_verb
from aroface.cli.train import add_train_verb
from aroface.environment_lock import check_versions
from aroface.errors import InputError, escaped
from aroface.exit_status import ExitStatus
from aroface.files import FULL_DISK, REFUSED, NoPlaceError, refuse_special


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit status, see :class:`aroface.exit_status.ExitStatus`; 130 if it was ended by Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    options.words = sys.argv[1:] if arguments is None else [*arguments]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that is not text must not end a finished command
    try:
        _check_words(options.words)
        check_versions()
        status: int | None = options.action(options)
    except InputError as error:
        if options.debug:
            raise
        return _refuse(error)
    except ModuleNotFoundError as error:
        missing = missing_package(error, options.verb)
        if options.debug or missing is None:
            raise
        return _refuse(missing)
    except UnicodeEncodeError as error:  # the name of a file or folder in a hash or a list
        if options.debug or "surrogates" not in error.reason:
            raise
        begin, end = max(0, error.start - 40), error.end + 40
        return _refuse(f"{error.object[begin:end]!a} is not UTF-8; rename files and folders of such names")
    except KeyboardInterrupt:
        if options.debug:
            raise
        print("aroface: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.DONE
    except OSError as error:
        line = _line(error)
        if options.debug or line is None:
            raise
        return _refuse(line)
    return status or ExitStatus.DONE


def _refuse(reason: object) -> ExitStatus:
    """Print why the input cannot be used; return the exit status."""
    _defer_to_rank_zero()
    print(f"aroface: error: {escaped(str(reason))}", file=sys.stderr)  # an OSError's path holds what it holds
    return ExitStatus.BAD_INPUT


def _check_words(words: Sequence[str]) -> None:
    """Refuse what no record or log could hold and what is no file, before anything is computed."""
    for word in words:
        for path in (word, word.partition("=")[2]):  # --out=FILE, NAME=FILE
            refuse_special(path)
            if path.startswith("~/"):
                remedy = f"write the path out, or ./{path} for a folder of that name"
                raise InputError(f"{path!r} begins with '~', which no shell has filled in", remedy=remedy)
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise InputError(f"{word!a} is not UTF-8", remedy="rename the file or folder")


def _line(error: OSError) -> str | None:
    """Describe a refusal of the disk in a line; None for an error that only a programmer can read."""
    path = error.filename2 or error.filename
    prefix = f"{path}: " if path else ""
    if error.errno in FULL_DISK:
        remedy = "free some space and start again: what was done is kept"
        return f"{prefix}no room ({error.strerror}); {remedy}"
    return f"{prefix}{error.strerror}" if isinstance(error, NoPlaceError) or error.errno in REFUSED else None


def _defer_to_rank_zero() -> None:
    """Among several processes of torchrun's, leave an error to the first one if it has the same: it ends the others."""
    if "RANK" not in os.environ:  # a process of its own: no error has to wait for torch
        return
    from aroface.distributed.launch import is_first

    if not is_first():
        time.sleep(3)


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, as all others of the program are; its verbs' parsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is; exit with the status of bad input."""
        self.exit(ExitStatus.BAD_INPUT, f"aroface: error: {escaped(message)}; {self.prog} --help says more\n")


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="aroface",
        description="Face recognition that is robust to face alignment errors: data, training, evaluation, paper.",
        epilog="Each verb has its own help with an example: aroface train --help",
    )
    parser.add_argument("--version", action="version", version=f"aroface {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an input error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    add_data_verbs(verbs)
    add_model_verbs(verbs)
    add_plan_verb(verbs)
    add_train_verb(verbs)
    add_embed_verb(verbs)
    add_evaluate_verbs(verbs)
    add_robustness_verb(verbs)
    add_mistakes_verb(verbs)
    add_quality_verb(verbs)
    add_table_verb(verbs)
    add_figure_verb(verbs)
    add_reporting_verbs(verbs)
    add_export_verb(verbs)
    add_archive_verbs(verbs)
    return parser
