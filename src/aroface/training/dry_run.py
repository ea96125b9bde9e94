"""Dry run: three steps on random images, to check configuration, memory and speed."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from aroface.datasets.loader import Batch
from aroface.distributed.process_group import process_group
from aroface.errors import InputError
from aroface.faces.geometry import TEMPLATE_SIZE
from aroface.training.data_parallel import split_batch
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import RunRecipe
from aroface.training.trainer import Trainer

STEPS = 3


@dataclass(frozen=True, slots=True)
class NoiseBatches:
    """Batches of noise, as many as an epoch of a training set has, but enough for a dry run.

    Attributes:
        batches_per_epoch: Number of batches of an epoch.
        batch_size: Number of images of a batch on this process.
        num_classes: Number of classes of the labels.
    """

    batches_per_epoch: int
    batch_size: int
    num_classes: int

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield fresh noise for each batch."""
        for number in range(start, max(STEPS, self.batches_per_epoch)):
            draw = np.random.default_rng([epoch, number])
            images = draw.integers(0, 256, (self.batch_size, TEMPLATE_SIZE, TEMPLATE_SIZE, 3), np.uint8)
            labels = draw.integers(0, self.num_classes, self.batch_size)
            yield Batch(
                torch.from_numpy(images),
                torch.from_numpy(labels),
                np.arange(self.batch_size),
                torch.zeros(self.batch_size, dtype=torch.bool),
            )


def dry_run(run: RunRecipe, num_classes: int, images: int, execution: ExecutionOptions) -> dict[str, Any] | None:
    """Build everything, take three steps on noise and estimate the cost of the whole training.

    Args:
        run: Run to estimate.
        num_classes: Number of identities of its training set.
        images: Number of images of its training set.
        execution: Execution options.

    Returns:
        Parameters, seconds a step, images a second, hours and memory, by name; None on all processes but the first.

    Raises:
        InputError: The batch cannot be split, the device does not exist, or no step updated the weights, so that
            neither memory nor speed would be those of a training.
    """
    with process_group(execution.device) as group:
        split = split_batch(run.recipe, execution, group)
        noise = NoiseBatches(max(images // run.recipe.batch_size, 1), split.per_rank, num_classes)
        trainer = Trainer(run, num_classes, noise.batches_per_epoch, split, execution, group)
        seconds = _seconds_per_step(trainer, noise)
        return _report(trainer, seconds) if group.first else None


def _seconds_per_step(trainer: Trainer, batches: NoiseBatches) -> float:
    """Measure the duration of a step, without the first one."""
    if trainer.scaler.is_enabled():  # at the usual scale the first steps overflow and their updates are skipped
        trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 1.0})
    updates: list[None] = []  # not the optimiser's state, which a recipe without momentum never has
    trainer.optimiser.register_step_post_hook(lambda *_: updates.append(None))
    times = [time.monotonic()]
    for batch in islice(batches.epoch(0), STEPS):
        float(trainer.train_step(batch).loss)  # waits for the device
        times.append(time.monotonic())
    if not updates:
        remedy = "lower the learning rate, or choose another precision"
        raise InputError("no step of the dry run updated the weights", file=trainer.run.name, remedy=remedy)
    return (times[-1] - times[1]) / (len(times) - 2)


def _report(trainer: Trainer, seconds: float) -> dict[str, Any]:
    run, group = trainer.run, trainer.group
    if group.device.type != "cpu":
        memory, device = torch.cuda.max_memory_allocated(), torch.cuda.get_device_name()
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        memory, device = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "CPU"
    hours = seconds * trainer.steps / 3600
    return {
        "run": run.name,
        "device": device,
        "processes": group.world_size,
        "images_per_pass": trainer.split.per_pass,
        "backbone_parameters": sum(parameter.numel() for parameter in trainer.backbone.parameters()),
        "classes": trainer.num_classes,
        "classes_here": len(trainer.classifier.rows),
        "steps": trainer.steps,
        "seconds_per_step": seconds,
        "images_per_s": run.recipe.batch_size / seconds,
        "wall_hours": hours,
        "device_hours": hours * group.world_size,
        "peak_memory_bytes": memory,
    }


def describe(report: dict[str, Any]) -> str:
    """Format the report of a dry run as lines for a terminal."""
    rows = [
        ("run", report["run"]),
        ("device", f"{report['processes']} × {report['device']}"),
        ("backbone", f"{report['backbone_parameters']:,} parameters"),
        ("classifier", f"{report['classes']:,} classes, {report['classes_here']:,} of them on each device"),
        ("batch", f"{report['images_per_pass']} images a pass on each device"),
        ("memory", f"{report['peak_memory_bytes'] / 2**30:.2f} GiB at most on each device"),
        ("speed", f"{report['seconds_per_step']:.3f} s a step, {report['images_per_s']:,.0f} images/s in all"),
        ("training", f"{report['steps']:,} steps, {report['wall_hours']:,.1f} hours"),
        ("cost", f"{report['device_hours']:,.1f} device hours"),
    ]
    return "\n".join(f"{name:11} {value}" for name, value in rows)
