"""A data-set format, a folder of faces and a list of names, and its protocol, written as anybody may add them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aroface.datasets.formats.base import COLUMNS, Findings, Pixels, SetFormat
from aroface.embedding.base import EmbeddingProtocol, listed_images
from aroface.embedding.feature_store import StoredFeatures
from aroface.embedding.image_source import Images, ImageSource
from aroface.evaluation.protocols.base import EvaluationProtocol
from aroface.evaluation.protocols.outcome import Outcome, outcome_of
from aroface.evaluation.statistics.people_metrics import PeopleMetrics, mean_of_items
from aroface.faces.geometry import TEMPLATE_SIZE

LIST = "album.txt"


class AlbumFormat(SetFormat):
    """A folder of faces and ``album.txt``, which names them and the person on each."""

    kind = "album"
    layout = f"a folder with {LIST}"
    default_name = "album"

    def matches(self, data: Path) -> bool:
        return (data / LIST).exists()

    def files(self, data: Path) -> tuple[Path, list[str]]:
        return data, [LIST, *(name for name, _ in read_album(data))]

    def facts(self, data: Path) -> dict[str, object]:
        people = [person for _, person in read_album(data)]
        return {"images": len(people), "people": len(set(people))}

    def preview(self, data: Path) -> list[list[Pixels]]:
        from aroface.datasets.formats.image_checks import read_file, stored_face

        files = [data / name for name, _ in read_album(data)]
        return [[stored_face(read_file(file), file, TEMPLATE_SIZE) for file in files[:COLUMNS]]]

    def check(self, data: Path, threads: int) -> Findings:
        from aroface.datasets.formats.image_checks import check_files, check_labels

        album = read_album(data)
        findings = Findings({"images": len(album)})
        check_labels(findings, lambda: None)
        check_files(findings, [data / name for name, _ in album], threads)
        return findings


def read_album(data: Path) -> list[tuple[str, str]]:
    """File and person of each image."""
    return [(name, person) for name, person in map(str.split, (data / LIST).read_text().splitlines())]


def open_source(path: Path, options: Mapping[str, Any], size: int) -> ImageSource:
    from aroface.datasets.formats.image_checks import read_file, stored_face

    album = read_album(path)

    def images(start: int, stop: int) -> Images:
        files = [path / name for name, _ in album[start:stop]]
        return np.stack([stored_face(read_file(file), file, size) for file in files])

    people = sorted({person for _, person in album})
    labels = np.array([people.index(person) for _, person in album])
    return ImageSource(len(album), images, {"labels": labels})


def _hits(features: StoredFeatures) -> np.ndarray:
    """Whether the nearest other image of each shows the same person."""
    units = features.values / np.linalg.norm(features.values, axis=1, keepdims=True)
    similarity = units @ units.T - 2 * np.eye(len(units))
    labels = features.arrays["labels"]
    return labels[similarity.argmax(axis=1)] == labels


def measure(features: StoredFeatures) -> list[PeopleMetrics]:
    return [mean_of_items({"nearest": _hits(features)}, features.arrays["labels"])]


def evaluate(features: StoredFeatures) -> Outcome:
    return outcome_of(measure(features), {"images": len(features.values)})


EMBEDDING = EmbeddingProtocol("album", "album", open_source, listed_images)
EVALUATION = EvaluationProtocol("album", evaluate, measure)
