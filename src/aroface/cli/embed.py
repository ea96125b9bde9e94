"""The verb ``aroface embed``."""

from __future__ import annotations

import argparse
from pathlib import Path

from aroface.cli.arguments import Arguments, Verbs, add_device, add_verb, positive
from aroface.exit_status import ExitStatus


def add_embed_verb(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs,
        "embed",
        "compute and store the features of a benchmark",
        "aroface embed --run-dir results/runs/RUN --benchmark lfw.json --out results/features/RUN/lfw",
        _do_embed,
    )
    verb.add_argument("--run-dir", type=Path, required=True, help="a finished run")
    verb.add_argument("--benchmark", type=Path, required=True, help="JSON or YAML: name, protocol, path and options")
    verb.add_argument("--out", type=Path, required=True, help="folder for features.npy and index.json")
    add_device(verb)
    verb.add_argument("--batch-size", type=positive, default=256, metavar="N", help="images at once (%(default)s)")
    verb.add_argument("--threads", type=positive, metavar="N", help="of CPU arithmetic (default: all cores)")
    verb.add_argument(
        "--processes", type=positive, default=1, metavar="N", help="on this machine, one a GPU (%(default)s)"
    )
    verb.add_argument(
        "--precision", choices=("float32", "float16"), default="float32", help="of the file (%(default)s)"
    )


def _do_embed(options: Arguments) -> int:
    from aroface.device import keep_freed_memory
    from aroface.distributed.launch import is_first, launch, under_torchrun
    from aroface.embedding.embed import embed_benchmark
    from aroface.schemas import read_yaml

    if options.processes > 1 and not under_torchrun():
        return launch(options.processes, options.words)
    keep_freed_memory()
    benchmark = read_yaml(options.benchmark)
    sizes = {"batch_size": options.batch_size, "threads": options.threads, "precision": options.precision}
    index = embed_benchmark(options.run_dir, benchmark, options.out, device=options.device, **sizes)
    if is_first():
        print(index)
    return ExitStatus.DONE
