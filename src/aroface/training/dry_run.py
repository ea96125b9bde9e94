"""A training of three steps on made-up images: does all of it fit together, into memory, into the time there is?"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aroface.datasets.corrupt_images import Corrupt
from aroface.datasets.loader import Batch
from aroface.distributed.process_group import ProcessGroup, process_group, share_of
from aroface.training.execution import ExecutionOptions
from aroface.training.recipe import RunRecipe
from aroface.training.trainer import Trainer

STEPS = 3
_SIZE = 112


@dataclass(frozen=True, slots=True)
class Noise:
    """Batches of noise, as many as an epoch of a training set would have.

    Attributes:
        batches_per_epoch: of that set; at least as many as a dry run takes.
        batch_size: images a batch on this process.
        num_classes: labels are drawn from these.
    """

    batches_per_epoch: int
    batch_size: int
    num_classes: int

    @property
    def corrupt(self) -> list[Corrupt]:
        """None of it."""
        return []

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Fresh noise for each batch."""
        for number in range(start, max(STEPS, self.batches_per_epoch)):
            draw = np.random.default_rng([epoch, number])
            images = draw.integers(0, 256, (self.batch_size, _SIZE, _SIZE, 3), np.uint8)
            labels = draw.integers(0, self.num_classes, self.batch_size)
            yield Batch(
                torch.from_numpy(images),
                torch.from_numpy(labels),
                np.arange(self.batch_size),
                torch.zeros(self.batch_size, dtype=torch.bool),
            )


def dry_run(
    run: RunRecipe, num_classes: int, images: int, execution: ExecutionOptions, folder: Path
) -> dict[str, Any] | None:
    """Build everything, do three steps on noise and say what the whole training would take.

    Args:
        run: what would be trained.
        num_classes: identities of its training set.
        images: of its training set.
        execution: how it would be carried out.
        folder: an empty one; nothing is left in it.

    Returns:
        Parameters, seconds a step, images a second, hours and memory, by name; None on all processes but the first.

    Raises:
        InputError: a batch that cannot be split, or a device that is not there.
    """
    with process_group(execution.device) as ranks:
        local, _ = share_of(run.recipe.batch_size, ranks, execution.micro_batch)
        noise = Noise(max(images // run.recipe.batch_size, 1), local, num_classes)
        trainer = Trainer(run, num_classes, noise, folder, folder, execution, ranks)
        seconds = trainer.dry_run(STEPS)
        return _report(run, trainer, ranks, seconds) if ranks.first else None


def _report(run: RunRecipe, trainer: Trainer, ranks: ProcessGroup, seconds: float) -> dict[str, Any]:
    if ranks.device.type != "cpu":
        memory, device = torch.cuda.max_memory_allocated(), torch.cuda.get_device_name()
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        memory, device = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "CPU"
    hours = seconds * trainer.steps / 3600
    return {
        "run": run.name,
        "device": device,
        "processes": ranks.world_size,
        "images_per_pass": trainer.pass_images,
        "backbone_parameters": sum(each.numel() for each in trainer.backbone.parameters()),
        "classes": trainer.num_classes,
        "classes_here": len(trainer.classifier.rows),
        "steps": trainer.steps,
        "seconds_per_step": seconds,
        "images_per_s": run.recipe.batch_size / seconds,
        "wall_hours": hours,
        "device_hours": hours * ranks.world_size,
        "peak_memory_bytes": memory,
    }


def describe(report: dict[str, Any]) -> str:
    """The report of a dry run as lines for a terminal."""
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
