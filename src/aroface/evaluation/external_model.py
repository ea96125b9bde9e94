"""Evaluate a model on files of labelled pairs, with nothing else there: no run folder, no registry."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.embed import EmbedOptions, embed_with
from aroface.embedding.external_model import Model
from aroface.errors import InputError
from aroface.evaluation.evaluate import evaluate
from aroface.files import named_path

ALIGNMENT = "as_stored"
_NAME = 200  # characters of a benchmark's name


def evaluate_model(
    model: Model,
    benchmarks: Mapping[str, Path],
    *,
    flip: bool = True,
    batch_size: int | None = None,
    threads: int | None = None,
    command: str | None = None,
) -> Iterator[tuple[str, dict[str, Any] | InputError]]:
    """The records of a model under the protocol ``pairs``, each as soon as it is there.

    Features are kept only as long as that takes.

    Args:
        model: Model of any kind.
        benchmarks: Paths of ``.bin`` files of aligned pairs by name.
        flip: True if the embedding of the mirrored image is added.
        batch_size: Number of images in one forward pass; by default as many as fit the device.
        threads: Number of threads of torch's arithmetic on the CPU.
        command: Command line, for the records' provenance.

    Yields:
        Name of a benchmark and its record, or the error about its file: malformed, an embedding not finite.

    Raises:
        InputError: A name is none; before anything is embedded.
    """
    options = {"color": model.embedder.color, "flip": flip, "fusion": "sum", "alignment": ALIGNMENT}
    specs = [
        resolve({"name": name, "protocol": "pairs", "path": str(path), "options": options}, record_of(name, path))
        for name, path in benchmarks.items()
    ]
    execution = EmbedOptions(batch_size or model.embedder.batch_size, threads)
    return ((spec["name"], _record(model, spec, execution, command)) for spec in specs)


def _record(
    model: Model, spec: Mapping[str, Any], execution: EmbedOptions, command: str | None
) -> dict[str, Any] | InputError:
    """Evaluate one benchmark; return its record, or the error about it."""
    with tempfile.TemporaryDirectory(prefix="aroface-") as folder:
        try:
            embed_with(model.checkpoint, lambda: model.embedder, spec, folder, execution)
            return evaluate(folder, command=command, source=spec["path"])
        except InputError as error:
            return error


def record_of(name: str, path: Path) -> str:
    """Name of a benchmark of the command line in error lines."""
    return f"--benchmark {name}={path}"


def named_file(word: str, option: str) -> tuple[str, Path]:
    """``NAME=PATH``, or a path alone, which is named by its stem; a path that is there wins.

    Raises:
        InputError: A part is empty, or the file is not there.
    """
    name, path = named_path(word)
    if path.exists() and word:
        return name or path.stem, path
    if not word or word.startswith("=") or word.endswith("="):
        raise InputError(f"{word!r}", where=option, expected="NAME=PATH or PATH")
    remedy = f"nor is there {word}" if name else None
    raise InputError("no such file or folder", file=path, remedy=remedy)


def benchmark_name(name: str) -> str:
    """A name that a record and its file may have: at most 200 lower-case letters, digits, ``-`` and ``_``."""
    return re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_-")[:_NAME] or "pairs"
