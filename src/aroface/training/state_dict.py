"""Weights and momentum of a training as they are saved, and back again on any number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aroface.distributed.sharding import shard
from aroface.heads.partial_fc import Classifier

_MOMENTUM = "momentum_buffer"


def of_backbone(backbone: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Parameters and momentum of the backbone, by name; the same on all processes.

    A parameter that was never updated has no momentum: see :func:`_momentum`.
    """
    momenta = {name: _momentum(optimiser, part) for name, part in backbone.named_parameters()}
    return {
        "backbone": dict(backbone.named_parameters()),
        "momentum": {name: momentum for name, momentum in momenta.items() if momentum is not None},
    }


def of_classifier(classifier: Classifier, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """This process's classes with their momentum, if they have one, and the objective's running statistics."""
    return {
        "objective": classifier.objective.state_dict(),
        "weight": classifier.weight,
        "weight_momentum": _momentum(optimiser, classifier.weight),
    }


def to_backbone(
    common: Mapping[str, Any], buffers: Mapping[str, Tensor], backbone: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Take up what :func:`of_backbone` said, and running statistics that a process had."""
    backbone.load_state_dict({**common["backbone"], **buffers})
    for name, part in backbone.named_parameters():
        if name in common["momentum"]:
            optimiser.state[part][_MOMENTUM] = common["momentum"][name].to(part, copy=True)


def to_classifier(
    shares: Mapping[int, Mapping[str, Any]],
    writers: int,
    num_classes: int,
    classifier: Classifier,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Take up the classes that are this process's now from the shares of those that had them.

    Args:
        shares: what :func:`of_classifier` said, by process. The statistics are taken from the first of these.
        writers: how many processes there were.
        num_classes: of all processes.
        classifier: gets its classes.
        optimiser: gets their momentum.
    """
    mine, weight = classifier.rows, classifier.weight
    places = {"weight": weight.detach()}
    if any(share["weight_momentum"] is not None for share in shares.values()):
        optimiser.state[weight][_MOMENTUM] = torch.zeros_like(weight)
        places["weight_momentum"] = optimiser.state[weight][_MOMENTUM]
    for writer, share in shares.items():
        theirs = shard(num_classes, writer, writers)
        begin, end = max(mine.start, theirs.start), min(mine.stop, theirs.stop)
        for key, place in places.items() if begin < end else ():
            if share[key] is not None:
                place[begin - mine.start : end - mine.start] = share[key][begin - theirs.start : end - theirs.start]
    classifier.objective.load_state_dict(next(iter(shares.values()))["objective"])


def _momentum(optimiser: torch.optim.Optimizer, parameter: Tensor) -> Tensor | None:
    """Momentum of a parameter; None before its first update, which under fp16 may come late, or without momentum."""
    momentum: Tensor | None = optimiser.state.get(parameter, {}).get(_MOMENTUM)
    return momentum
