"""A benchmark with its features and its images: what is looked at beyond metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.formats.pair_people import PairRow, read_pair_rows
from aroface.datasets.identity import data_hash
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.embed import EmbedOptions, embed_with
from aroface.embedding.external_model import Model
from aroface.embedding.feature_store import StoredFeatures, open_features
from aroface.embedding.image_source import Images
from aroface.embedding.protocols import find_protocol
from aroface.errors import InputError
from aroface.evaluation.external_model import ALIGNMENT, benchmark_name
from aroface.evaluation.protocols.registry import protocol_of
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.files import if_there, list_files, read_json
from aroface.results import Results

Floats = NDArray[np.float64]

_BLOCK = 4096  # features that are looked at together


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSet:
    """Features of a benchmark, and the images that they are of.

    Attributes:
        features: Stored features.
        data: Path of the data set, or of the part of it that the benchmark's options choose.
        name: Name of the model or run.
    """

    features: StoredFeatures
    data: Path
    name: str

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return str(self.features.index["protocol"]["name"])

    @property
    def benchmark(self) -> str:
        """Name of the benchmark."""
        return str(self.features.index["benchmark"])

    def open_images(self) -> Callable[[Iterable[int]], Images]:
        """Function from rows of the features, one at least, to their images, uint8 (N, 112, 112, 3).

        Raises:
            InputError: The data set has gone or changed; later, an image is damaged.
        """
        options = self.features.index["protocol"]["options"]
        source = find_protocol(self.protocol).open_source(self.data, options, TEMPLATE_SIZE)
        return lambda rows: np.concatenate([source.images(row, row + 1) for row in rows])

    def norms(self) -> Floats:
        """Length of each feature (rows,): networks that were trained with a margin give poor images short ones."""
        values = self.features.values
        parts = [np.asarray(values[begin : begin + _BLOCK], np.float64) for begin in range(0, len(values), _BLOCK)]
        return np.concatenate([np.linalg.norm(part, axis=1) for part in parts])

    def pair_rows(self) -> list[PairRow] | None:
        """People and images of the pairs; None of other sets, and where no file tells."""
        return read_pair_rows(self.data, self.features.arrays["same"]) if self.protocol == "pairs" else None


def open_embedded_set(features_dir: str | PathLike[str], data: Path | None = None) -> EmbeddedSet:
    """Open features that ``aroface embed`` or the workflow wrote, with the data set that they are of.

    Args:
        features_dir: Folder of the features.
        data: Path of the data set; by default that of the specification in the folder of results.

    Raises:
        InputError: The features are incomplete or of an unknown protocol, or the data set is not there or another one.
    """
    features = open_features(features_dir)
    protocol_of(features)
    index = features.index
    places = [data] if data is not None else _specified(features.folder, index["benchmark"])
    found = [spec for spec in (_specification(index, place) for place in places) if spec.exists() or data is not None]
    for place in found:
        if data_hash(place) == index["benchmark_manifest_hash"]:
            return EmbeddedSet(features, place, index["checkpoint"]["run"])
    if data is not None:
        raise InputError(
            "the features are of another set", file=data, expected=f"the {index['benchmark']} of {features.folder}"
        )
    raise InputError(
        "the set of these features is not known", file=features.folder, remedy="name its path: --data PATH"
    )


def _specification(index: Any, data: Path) -> Path:
    protocol = index["protocol"]
    spec = {"name": index["benchmark"], "protocol": protocol["name"], "path": str(data), "options": protocol["options"]}
    return Path(resolve(spec)["path"])


def _specified(features: Path, benchmark: str) -> list[Path]:
    """Paths of the data sets of a benchmark's specifications, where the features lie in a folder of results."""
    root = features.resolve().parents
    folder = Results(root[2]).benchmark(benchmark, "").parent if len(root) > 2 else features
    specs = if_there(lambda: [read_json(path) for path in list_files(folder, f"{benchmark}-*.json")]) or []
    return [Path(spec["path"]) for spec in specs if isinstance(spec, dict) and isinstance(spec.get("path"), str)]


def embed_pair_set(
    model: Model,
    pairs: Path,
    out: str | PathLike[str],
    *,
    flip: bool = True,
    batch_size: int | None = None,
    threads: int | None = None,
) -> EmbeddedSet:
    """Embed a file of pairs with any model; what is there already is not made again.

    Args:
        model: Model.
        pairs: File of labelled pairs.
        out: Folder of the features.
        flip: True if the embedding of the mirrored image is added.
        batch_size: Number of images in one forward pass; by default as many as fit the device.
        threads: Number of threads of torch's arithmetic on the CPU.

    Raises:
        InputError: The file is malformed, or an embedding is not finite.
    """
    options = {"color": model.embedder.color, "flip": flip, "fusion": "sum", "alignment": ALIGNMENT}
    name = benchmark_name(pairs.stem)
    spec = resolve({"name": name, "protocol": "pairs", "path": str(pairs), "options": options})
    execution = EmbedOptions(batch_size or model.embedder.batch_size, threads)
    embed_with(model.checkpoint, lambda: model.embedder, spec, out, execution)
    features = replace(open_features(out), folder=pairs)
    return EmbeddedSet(features, pairs, model.name)
