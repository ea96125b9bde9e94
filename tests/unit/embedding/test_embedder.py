from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from aroface.embedding.embedder import Embedder, load_embedder
from aroface.errors import InputError
from aroface.files import read_json, write_json
from embedding_runs import DIMENSION, make_run, network

IMAGES = np.random.default_rng(0).integers(0, 256, size=(7, 112, 112, 3), dtype=np.uint8)


class Probe(nn.Module):
    """Nine pixels of the input as the embedding."""

    def forward(self, images):
        return images[:, :, 50, [0, 1, 111]].flatten(1)


def probe(color="RGB", mean=127.5, std=127.5):
    return Embedder(Probe(), torch.device("cpu"), 112, color, mean, std, 9)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), seed=0)


def network_input(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_embeddings_are_the_networks_in_evaluation_mode(run_dir):
    with torch.no_grad():
        plain, mirrored = (network(0)(network_input(each)) for each in (IMAGES, IMAGES[:, :, ::-1].copy()))
    expected = plain + mirrored
    found = load_embedder(run_dir, "cpu").embed(IMAGES)
    assert found.shape == (7, DIMENSION) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_batches_do_not_matter(run_dir):
    embedder = load_embedder(run_dir, "cpu")
    np.testing.assert_allclose(embedder.embed(IMAGES), embedder.embed(IMAGES, batch_size=2), rtol=1e-4, atol=1e-4)


def test_pixels_are_scaled_and_ordered_for_the_network():
    expected = (IMAGES[:, 50][:, [0, 1, 111]].astype(np.float32) - 127.5) / 127.5
    rgb = probe().embed(IMAGES, flip=False).reshape(7, 3, 3)
    np.testing.assert_allclose(rgb, expected.transpose(0, 2, 1), atol=1e-6)
    bgr = probe("BGR").embed(IMAGES, flip=False).reshape(7, 3, 3)
    np.testing.assert_array_equal(bgr, rgb[:, ::-1])
    unit_range = probe(mean=0.0, std=255.0).embed(IMAGES, flip=False)
    assert unit_range.min() >= 0 and unit_range.max() <= 1


def test_the_mirrored_image_is_added_before_normalising():
    plain, mirrored = (probe().embed(each, flip=False) for each in (IMAGES, IMAGES[:, :, ::-1]))
    np.testing.assert_allclose(probe().embed(IMAGES), plain + mirrored, atol=1e-6)
    scaled = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (plain, mirrored)]
    np.testing.assert_allclose(probe().embed(IMAGES, fusion="unit_sum"), scaled[0] + scaled[1], atol=1e-6)


def test_weights_that_changed_are_refused(run_dir, tmp_path):
    for name in ("checkpoint.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run_dir / name).read_bytes())
    with open(tmp_path / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(InputError, match=r"model.safetensors: sha256 .* as in checkpoint.json"):
        load_embedder(tmp_path, "cpu")


def test_weights_of_another_architecture_are_refused(run_dir, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((run_dir / "model.safetensors").read_bytes())
    checkpoint = read_json(run_dir / "checkpoint.json")
    checkpoint["experiment"]["arch"] = "mbf"
    write_json(tmp_path / "checkpoint.json", checkpoint)
    with pytest.raises(InputError, match=r"a checkpoint of mbf, not of r8s4"):
        load_embedder(tmp_path, "cpu")


def test_missing_weights_and_runs_are_one_line(run_dir, tmp_path):
    with pytest.raises(InputError, match=r"checkpoint.json: no such file"):
        load_embedder(tmp_path)
    (tmp_path / "checkpoint.json").write_bytes((run_dir / "checkpoint.json").read_bytes())
    with pytest.raises(InputError, match=r"model.safetensors: no such file"):
        load_embedder(tmp_path)
    write_json(tmp_path / "checkpoint.json", {"weights": {}})
    with pytest.raises(InputError, match=r"checkpoint.json: no checkpoint of a run"):
        load_embedder(tmp_path)


def test_a_missing_gpu_is_one_line(run_dir, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device"):
        load_embedder(run_dir, "cuda")
