"""Validation of a backbone in training on small sets of labelled pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from aroface.datasets.formats.checks import check_pairs
from aroface.datasets.formats.pairs import pair_face, read_pairs
from aroface.embedding.embedder import BATCH_SIZE, Embedder
from aroface.embedding.pairs import decode_numbers
from aroface.evaluation.metrics.verification import accuracy, pair_distances
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.models.run_folder import INPUT


def pair_validation(sets: Mapping[str, Path], *, check_images: bool = True) -> Callable[[nn.Module], dict[str, float]]:
    """A function from a backbone, in evaluation mode, to its ten-fold accuracy on each set.

    The images are read anew each time: they take longer to embed than to decode, and half a gigabyte to keep.

    Args:
        sets: Files of labelled pairs (``.bin``) by name.
        check_images: True to decode all images once before, so that a damaged one is refused now and not after an
            epoch; of several processes one does it.

    Returns:
        The function; its keys are ``{name}_accuracy``, its values in [0, 1].

    Raises:
        InputError: A set is missing, malformed, without pairs of both kinds or with fewer than folds, or an image is
            damaged or not square.
    """
    read = {name: read_pairs(path) for name, path in sets.items()}
    for name, pairs in read.items():
        check_pairs(pairs.same, sets[name])
        for number, image in enumerate(pairs.images if check_images else ()):
            pair_face(image, sets[name], number, TEMPLATE_SIZE)

    def validate(network: nn.Module) -> dict[str, float]:
        device = next(network.parameters()).device
        with torch.no_grad():
            dimension = network(torch.zeros(1, 3, TEMPLATE_SIZE, TEMPLATE_SIZE, device=device)).shape[1]
        embedder = Embedder(network, device, **INPUT, dimension=dimension)
        accuracies = {}
        for name, pairs in read.items():
            count = len(pairs.images)
            batches = (range(begin, min(begin + BATCH_SIZE, count)) for begin in range(0, count, BATCH_SIZE))
            rows = np.concatenate(
                [embedder.embed(decode_numbers(pairs, sets[name], batch, TEMPLATE_SIZE)) for batch in batches]
            )
            accuracies[f"{name}_accuracy"] = accuracy(pair_distances(rows[0::2], rows[1::2]), pairs.same)[0].item()
        return accuracies

    return validate
