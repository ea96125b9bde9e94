"""Order of misalignment and reduction of a probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aroface.datasets.formats.pairs import read_pairs
from aroface.embedding.alignment_sweep import Variant, draw_directions, error_matrices
from aroface.embedding.benchmark_spec import resolve
from aroface.embedding.embedder import Embedder
from aroface.embedding.pairs import decode_numbers
from aroface.embedding.sensitivity import DEFAULTS, open_source, order_of, spoil
from aroface.embedding.worst_case import _reduce, misalign
from aroface.errors import InputError
from aroface.evaluation.robustness import SweepGrid
from aroface.faces.degrade import downsample
from aroface.faces.geometry import warp
from embedding_runs import network
from external_models import face_pairs

MAXIMUM = DEFAULTS["joint_maximum"]
OPTIONS = {
    **{"color": "RGB", "flip": True, "fusion": "sum", "alignment": "five_point", "qualities": [14], "metric": ["auc"]},
    **{"scale": [], "degrees": [], "shift": [0.06], "joint": [1.0]},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    return face_pairs(tmp_path_factory.mktemp("pairs") / "pairs.bin", 12)


@pytest.fixture(scope="module")
def images(pairs):
    return decode_numbers(read_pairs(pairs), pairs, np.arange(4), 112)


def spec(path: Path, **options):
    return resolve({"name": "fae", "protocol": "sensitivity", "path": str(path), "options": {**OPTIONS, **options}})


def warped(images, variant, directions):
    matrices = error_matrices(variant, directions, MAXIMUM, 112)
    return np.stack([warp(image, matrix, 112) for image, matrix in zip(images, matrices, strict=True)])


@pytest.mark.parametrize(
    ("resolution", "factor", "level"),
    [(14, "shift", 0.08), (24, "joint", 1.0), (24, "rotation", 10.0), (None, "scale", 0.1), (14, None, 0.0)],
)
def test_each_order_is_what_it_says(images, resolution, factor, level):
    variant, directions = Variant(resolution, factor, level), draw_directions(len(images), 0)
    move = (lambda each: warped(each, variant, directions)) if factor else (lambda each: each)
    reduce = (lambda each: downsample(each, resolution)) if resolution else (lambda each: each)
    camera = spoil(images, variant, directions, MAXIMUM, "camera")
    reduced_first = spoil(images, variant, directions, MAXIMUM, "reduced_first")
    assert np.array_equal(camera, reduce(move(images)))
    assert np.array_equal(reduced_first, move(reduce(images)))
    assert np.array_equal(camera, reduced_first) == (factor is None or resolution is None)


def test_a_specification_without_an_order_keeps_its_features_and_their_meaning(pairs):
    old, new = spec(pairs), spec(pairs, order="camera")
    assert "order" not in old["options"], "it would be another hash"
    assert (order_of(old["options"]), order_of(new["options"])) == ("reduced_first", "camera")
    rows = [open_source(pairs, each["options"], 112).images(12, 48) for each in (old, new)]
    aligned, moved = slice(0, 12), slice(12, 36)
    assert np.array_equal(rows[0][aligned], rows[1][aligned])
    assert not np.array_equal(rows[0][moved], rows[1][moved])
    with pytest.raises(InputError, match="order"):
        spec(pairs, order="sideways")


def test_what_is_new_says_camera(pairs):
    assert SweepGrid().spec(pairs, "RGB", SweepGrid().parts()[-1])["options"]["order"] == "camera"
    for file in ("config.yaml", *(f"workflow/configs/{name}.yaml" for name in ("released", "folder", "demo", "tiny"))):
        sweeps = [
            each["options"]
            for each in yaml.safe_load(Path(file).read_text())["benchmarks"]
            if isinstance(each, dict) and each.get("protocol") == "sensitivity"
        ]
        reduced = [options for options in sweeps if {*options["qualities"]} != {"hq"}]
        assert reduced, file
        assert {options["order"] for options in reduced} == {"camera"}, file


@pytest.mark.parametrize("resolution", [14, 24, 40])
def test_the_worst_case_is_reduced_as_the_probes_are(images, resolution):
    reduced = _reduce(torch.from_numpy(images).permute(0, 3, 1, 2).float(), resolution).permute(0, 2, 3, 1)
    assert np.abs(reduced.numpy() - downsample(images, resolution)).max() < 2


def test_the_worst_case_is_sought_through_the_reduction(images):
    """It is worse for the pairs than the opposite error, and its pixels lie on the sensor's grid."""
    embedder = Embedder(network(1), torch.device("cpu"), 112, "RGB", 127.5, 127.5, 8)
    partners = np.roll(embedder.embed(images), 1, axis=0)

    def similarity(same: bool) -> float:
        faces = misalign(embedder, images, partners, np.full(4, same), 0.1, MAXIMUM, 24)
        again = downsample(faces, 24)
        assert np.abs(again.astype(int) - faces).mean() < 3
        rows = embedder.embed(faces)
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(partners, axis=1)
        return float(((rows * partners).sum(1) / lengths).mean())

    assert similarity(True) < similarity(False)
