"""Evaluate a model on files of labelled pairs, with nothing else there: no run folder, no registry."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.embed import EmbedOptions, embed_with
from aroface.embedding.embedder import seconds_an_image
from aroface.embedding.external_model import Model
from aroface.errors import InputError
from aroface.evaluation.evaluate import evaluate
from aroface.files import named_path
from aroface.results import INDEX

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
    keep: Path | None = None,
) -> Iterator[tuple[str, dict[str, Any] | InputError]]:
    """The records of a model under the protocol ``pairs``, each as soon as it is there.

    Features are kept only as long as that takes, unless ``keep`` names a folder for them.

    Args:
        model: Model of any kind.
        benchmarks: Paths of ``.bin`` files of aligned pairs by name.
        flip: True if the embedding of the mirrored image is added.
        batch_size: Number of images in one forward pass; by default as many as fit the device.
        threads: Number of threads of torch's arithmetic on the CPU.
        command: Command line, for the records' provenance.
        keep: Folder of features, RUN/BENCHMARK: what is there is not computed again, and an interrupted call resumes.

    Yields:
        Name of a benchmark and its record, or the error about its file: malformed, an embedding not finite.

    Raises:
        InputError: A name is none; before anything is embedded.
    """
    specs = _specs(model, benchmarks, flip)
    execution = EmbedOptions(batch_size or model.embedder.batch_size, threads)
    return ((spec["name"], _record(model, spec, execution, command, keep)) for spec in specs)


def _specs(model: Model, benchmarks: Mapping[str, Path], flip: bool) -> list[dict[str, Any]]:
    options = {"color": model.embedder.color, "flip": flip, "fusion": "sum", "alignment": ALIGNMENT}
    return [
        resolve({"name": name, "protocol": "pairs", "path": str(path), "options": options}, record_of(name, path))
        for name, path in benchmarks.items()
    ]


def evaluation_work(
    model: Model,
    benchmarks: Mapping[str, Path],
    *,
    flip: bool = True,
    batch_size: int | None = None,
    keep: Path | None = None,
) -> tuple[int, float]:
    """Estimate the images that `evaluate_model` embeds, and their time in seconds, by a trial batch.

    Args:
        model: Model of any kind.
        benchmarks: Paths of ``.bin`` files by name; a malformed one has no images.
        flip: True if the embedding of the mirrored image is added.
        batch_size: Number of images in one forward pass; by default as many as fit the device.
        keep: Folder of features; benchmarks whose features are complete there have no images.

    Raises:
        InputError: A name is none, or the model fails.
    """
    images = 0
    for spec in _specs(model, benchmarks, flip):
        if keep is not None and (keep / str(model.checkpoint["run"]) / spec["name"] / INDEX).exists():
            continue
        with contextlib.suppress(InputError):  # which its evaluation tells
            images += len(read_pairs(Path(spec["path"])).images)
    seconds = seconds_an_image(model.embedder, flip=flip, batch_size=batch_size) if images else 0.0
    return images, images * seconds


def _record(
    model: Model, spec: Mapping[str, Any], execution: EmbedOptions, command: str | None, keep: Path | None
) -> dict[str, Any] | InputError:
    """Evaluate one benchmark; return its record, or the error about it."""
    with contextlib.ExitStack() as stack:
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aroface-")))
        else:
            folder = keep / str(model.checkpoint["run"]) / spec["name"]
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
