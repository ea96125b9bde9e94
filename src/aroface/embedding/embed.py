"""Embed a benchmark with a finished run or another model: the features that every later evaluation starts from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aroface import result_versions
from aroface.datasets.identity import data_hash
from aroface.device import choose_device, gpu_facts
from aroface.distributed.process_group import ProcessGroup, process_group
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.collapse import distinct
from aroface.embedding.embedder import BATCH_SIZE, Embedder, load_embedder
from aroface.embedding.feature_store import Precision, Rows, write_index, write_rows
from aroface.embedding.image_source import Images, ImageSource
from aroface.embedding.protocols import find_protocol
from aroface.environment_lock import lock_state
from aroface.errors import InputError
from aroface.files import digest, read_json
from aroface.models.run_folder import read_checkpoint
from aroface.progress import track
from aroface.provenance import git_commit, hardware, versions
from aroface.results import CHECKPOINT, INDEX

SCHEMA = 1

_EVALUATION_ONLY = ("metric", "norm_weighting", "detector_weighting")  # options that leave the features alone
_AHEAD = 2  # batches decoded while one is embedded


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """Execution of an embedding; all but the precision leave the features alone, up to rounding.

    Attributes:
        batch_size: Number of images in one forward pass.
        threads: Number of threads of CPU arithmetic; torch's own choice by default.
        precision: Precision of the stored features, which are computed in float32.
    """

    batch_size: int = BATCH_SIZE
    threads: int | None = None
    precision: Precision = "float32"


def embed_benchmark(
    run_dir: str | PathLike[str],
    benchmark: Mapping[str, Any],
    out: str | PathLike[str],
    *,
    device: str | None = None,
    batch_size: int = BATCH_SIZE,
    threads: int | None = None,
    precision: Precision = "float32",
) -> Path:
    """Write the features of one benchmark under one run; do nothing where they are complete.

    An interrupted call resumes after its last complete shard. Other weights, another benchmark or other options than
    those of the existing features start again. Under torchrun each process embeds a part of the rows.

    Args:
        run_dir: ``results/runs/{run}``.
        benchmark: Specification, see :mod:`aroface.embedding.benchmark_spec`.
        out: ``results/features/{run}/{benchmark}``.
        device: Device of torch; by default the GPU if there is one.
        batch_size: Number of images in one forward pass.
        threads: Number of threads of CPU arithmetic; torch's own choice by default.
        precision: Precision of the stored features, which are computed in float32.

    Returns:
        The path of ``index.json``.

    Raises:
        InputError: A wrong specification, run, benchmark or weights; colours the network was not trained on; features
            that are not finite; no room on the disk.
    """
    spec = resolve(benchmark)
    checkpoint = read_checkpoint(run_dir)
    _check_color(checkpoint, spec["options"]["color"], run_dir)
    with process_group(choose_device(device).type) as group:
        options = EmbedOptions(batch_size, threads, precision)
        return embed_with(checkpoint, lambda: load_embedder(run_dir, device), spec, out, options, group)


def embed_with(
    checkpoint: Mapping[str, Any],
    load: Callable[[], Embedder],
    spec: Mapping[str, Any],
    out: str | PathLike[str],
    execution: EmbedOptions | None = None,
    group: ProcessGroup | None = None,
) -> Path:
    """Embed as :func:`embed_benchmark` does, with any embedder.

    Args:
        checkpoint: Description of the model in the form of ``checkpoint.json``.
        load: Function that loads the embedder; called only if there is something to embed.
        spec: Resolved specification.
        out: Folder of the features.
        execution: Batch size, threads and precision.
        group: Processes that share the rows; this one alone by default.

    Returns:
        The path of ``index.json``.

    Raises:
        InputError: See :func:`embed_benchmark`.
    """
    folder, options = Path(out), spec["options"]
    execution, group = execution or EmbedOptions(), group or ProcessGroup(torch.device("cpu"))
    index = _index(checkpoint, spec, execution.precision)
    if _is_complete(folder, index):
        return folder / INDEX
    protocol = find_protocol(spec["protocol"])
    source = protocol.open_source(Path(spec["path"]), options, checkpoint["input"]["size"])
    embedder = load()
    part = range(*(source.rows * rank // group.world_size for rank in (group.rank, group.rank + 1)))
    with _torch_threads(execution.threads), group.at_work():
        seconds = write_rows(
            folder,
            index["key"],
            (source.rows, embedder.dimension),
            lambda start: distinct(
                _batches(source, embedder, spec, execution.batch_size, range(start, part.stop)), checkpoint, spec
            ),
            part=part,
            precision=execution.precision,
        )
        environment = _environment(embedder, execution.batch_size)
    written = {"rows": source.rows, "dimension": embedder.dimension, "layout": dict(source.layout)}
    group.wait()  # all parts are there
    wall = round(max(group.gather(seconds)), 2)
    if group.first:
        write_index(folder, {**index, **written, "environment": environment, "wall_s": wall}, source.arrays)
    group.wait()
    return folder / INDEX


def _index(checkpoint: Mapping[str, Any], spec: Mapping[str, Any], precision: Precision) -> dict[str, Any]:
    """Part of the index that is known before the features are made; ``key`` hashes all that decides their values."""
    options, files = spec["options"], data_hash(Path(spec["path"]))
    weights = checkpoint["weights"]["sha256"]
    stored = {} if precision == "float32" else {"precision": precision}
    decisive = {
        "semantics": result_versions.EMBEDDING,
        "weights": weights,
        "arch": checkpoint["experiment"]["arch"],
        "input": checkpoint["input"],
        "benchmark": files,
        "protocol": spec["protocol"],
        "options": {name: value for name, value in options.items() if name not in _EVALUATION_ONLY},
        **stored,
    }
    described = {name: checkpoint[name] for name in ("run", "experiment", "source", "recipe", "recipe_hash", "data")}
    return {
        "schema": SCHEMA,
        "key": digest(decisive),
        **stored,
        "benchmark": spec["name"],
        "benchmark_manifest_hash": files,
        "protocol": {"name": spec["protocol"], "options": options},
        "checkpoint": {**described, "weights_sha256": weights},
    }


def _is_complete(folder: Path, index: Mapping[str, Any]) -> bool:
    if not (folder / INDEX).exists():
        return False
    stored = read_json(folder / INDEX)
    return all(stored.get(name) == value for name, value in index.items())


def _check_color(checkpoint: Mapping[str, Any], color: str, run_dir: str | PathLike[str]) -> None:
    trained_on = checkpoint["input"]["color"]
    if color != trained_on:
        raise InputError(
            f"the network was trained on {trained_on}",
            file=Path(run_dir) / CHECKPOINT,
            expected=f"{color} as the benchmark's options say",
            remedy="name the network's own order there",
        )


def _batches(
    source: ImageSource, embedder: Embedder, spec: Mapping[str, Any], batch_size: int, part: range
) -> Iterator[tuple[Images, Rows]]:
    """Yield images and embeddings of some rows; the next images are decoded while the network is busy."""
    options = spec["options"]
    bounds = [(low, min(low + batch_size, part.stop)) for low in part[::batch_size]]
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        pending = deque(pool.submit(source.images, *bound) for bound in bounds[:_AHEAD])
        for number in track(range(len(bounds)), f"embed {spec['name']}"):
            images = pending.popleft().result()
            pending.extend(
                pool.submit(source.images, *bound) for bound in bounds[number + _AHEAD : number + _AHEAD + 1]
            )
            rows = embedder.embed(images, flip=options["flip"], fusion=options["fusion"], batch_size=batch_size)
            if not np.isfinite(rows).all():
                first = bounds[number][0] + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
                raise InputError(
                    "the embedding is not finite",
                    file=spec["path"],
                    where=f"row {first}",
                    remedy="the weights are of no use, or take other input: colour order, mean, std",
                )
            yield images, rows


@contextmanager
def _torch_threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _environment(embedder: Embedder, batch_size: int) -> dict[str, Any]:
    return {
        "git_commit": git_commit(),
        "versions": versions(),
        "lock": lock_state(),
        "hardware": {**hardware(), **gpu_facts(embedder.device, tf32=False)},
        "device": embedder.device.type,
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
    }
