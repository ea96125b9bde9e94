"""State dictionaries of backbone and classifier: weights and momentum, loadable on any number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aroface.distributed.sharding import shard
from aroface.heads.partial_fc import Classifier

_MOMENTUM = "momentum_buffer"


def backbone_state(backbone: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return parameters and momentum of the backbone, by name; the same on all processes.

    A parameter that was never updated has no momentum: see :func:`_momentum`.
    """
    momenta = {name: _momentum(optimiser, parameter) for name, parameter in backbone.named_parameters()}
    return {
        "backbone": dict(backbone.named_parameters()),
        "momentum": {name: momentum for name, momentum in momenta.items() if momentum is not None},
    }


def classifier_state(classifier: Classifier, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return this process's classes with their momentum, if they have one, and the head's statistics and scalars."""
    state = {
        "objective": classifier.head.state_dict(),  # the head; states on disk have this key
        "weight": classifier.weight,
        "weight_momentum": _momentum(optimiser, classifier.weight),
    }
    scalars = {name: _momentum(optimiser, scalar) for name, scalar in classifier.head.named_parameters()}
    return {**state, "objective_momentum": scalars} if scalars else state


def load_backbone(
    common: Mapping[str, Any], buffers: Mapping[str, Tensor], backbone: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Load the state produced by :func:`backbone_state`, plus the given buffers."""
    backbone.load_state_dict({**common["backbone"], **buffers})
    for name, parameter in backbone.named_parameters():
        if name in common["momentum"]:
            optimiser.state[parameter][_MOMENTUM] = common["momentum"][name].to(parameter, copy=True)


def load_classifier(
    shares: Mapping[int, Mapping[str, Any]],
    writers: int,
    num_classes: int,
    classifier: Classifier,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Load the classes of this process from the shares of those that had them.

    Args:
        shares: States produced by :func:`classifier_state`, by rank; the head's are those of the first.
        writers: Number of processes that wrote them.
        num_classes: Number of classes over all processes.
        classifier: Classifier to load the classes into.
        optimiser: Optimiser to load their momentum into.
    """
    own, weight = classifier.rows, classifier.weight
    targets = {"weight": weight.detach()}
    if any(share["weight_momentum"] is not None for share in shares.values()):
        optimiser.state[weight][_MOMENTUM] = torch.zeros_like(weight)
        targets["weight_momentum"] = optimiser.state[weight][_MOMENTUM]
    for writer, share in shares.items():
        theirs = shard(num_classes, writer, writers)
        begin, end = max(own.start, theirs.start), min(own.stop, theirs.stop)
        for key, target in targets.items() if begin < end else ():
            if share[key] is not None:
                target[begin - own.start : end - own.start] = share[key][begin - theirs.start : end - theirs.start]
    first = next(iter(shares.values()))
    classifier.head.load_state_dict(first["objective"])
    for name, scalar in classifier.head.named_parameters():
        momentum = first["objective_momentum"][name]
        if momentum is not None:
            optimiser.state[scalar][_MOMENTUM] = momentum.to(scalar, copy=True)


def _momentum(optimiser: torch.optim.Optimizer, parameter: Tensor) -> Tensor | None:
    """Return the momentum of a parameter; None before its first update (late under fp16), or without momentum."""
    momentum: Tensor | None = optimiser.state.get(parameter, {}).get(_MOMENTUM)
    return momentum
