"""Snakemake without the two seconds that its imports take: a process that has imported it forks for each call.

Run as a script, it reads a call a line, as JSON with the keyword arguments of ``become``. It answers with two lines:
the number of the call's process, and its status once it has ended. It ends with its standard input.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def next_call() -> dict[str, Any]:
    """Fork for each call that is asked for; returns in its process only."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def become(folder: str, arguments: Sequence[str], environment: Mapping[str, str], output: str) -> None:
    """Be ``python -m snakemake`` with these arguments, in a session of its own."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    with open(os.devnull, "rb") as nothing, open(output, "wb") as file:
        for source, target in ((nothing, 0), (file, 1), (file, 2)):
            os.dup2(source.fileno(), target)
    sys.path[0] = folder
    sys.argv[1:] = arguments
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import jsonschema  # noqa: F401  # what the Snakefile imports beside the package itself, of which there are copies
    import smart_open  # noqa: F401  # what Snakemake imports only when it reads a Snakefile
    import snakemake.cli

    snakemake.cli.get_argument_parser()  # finds and imports its plug-ins
    gc.freeze()  # collections in the children then leave the memory that they share with this process
    become(**next_call())
