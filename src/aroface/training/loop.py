"""Training loop: one recipe in, the weights of one backbone out, through any number of interruptions."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aroface.datasets.corrupt_images import Corrupt
from aroface.datasets.loader import Batch
from aroface.distributed.signals import StopRequest
from aroface.errors import InputError
from aroface.models.checkpoint import save_weights
from aroface.progress import console
from aroface.training import state as states
from aroface.training.data_parallel import Agreement, average_buffers, check_equal
from aroface.training.displacements import Displacements
from aroface.training.divergence import DivergenceDetector, LossQueue
from aroface.training.execution import Interrupted, Validate
from aroface.training.log import TrainingLog
from aroface.training.start import start_from
from aroface.training.step_report import StepReport
from aroface.training.throughput import ThroughputMeter
from aroface.training.trainer import Trainer

BEST = "best.safetensors"


class Batches(Protocol):
    """Source of a training's batches; `BatchLoader` is the one that reads images."""

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches of an epoch."""

    @property
    def corrupt(self) -> list[Corrupt]:
        """Images skipped so far."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch ``start`` on."""


class TrainingLoop:
    """Loop of one run from its newest saved state, or from the start, to its end; one of these on each process.

    Args:
        trainer: Trainer of the run.
        loader: Source of this process's share of the batches.
        run_dir: Folder of the finished run, which takes log, contact sheets and the best weights.
        state_dir: Folder of the resumable state and ``progress.json``.
        validate: Function that measures a backbone after each epoch, on rank 0; None for no validation.

    Attributes:
        seconds: Duration of all steps so far, over all starts.
        best: Epoch, step and metrics of the best validation; None before the first.
        validation: Metrics of the last validation.
        displacements: Histograms of the adversary's warps; None without an adversary, or where a part was not counted.
        stop: Signal that asked for a stop.
    """

    def __init__(
        self, trainer: Trainer, loader: Batches, run_dir: Path, state_dir: Path, validate: Validate | None = None
    ) -> None:
        self.trainer, self.loader, self.validate = trainer, loader, validate
        self.run_dir, self.state_dir = run_dir, state_dir
        attacked = trainer.adversary.options.kind != "none"
        self.displacements = Displacements(trainer.group.device) if attacked else None
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        self.validation: dict[str, float] = {}
        self.stop = StopRequest()
        self.divergence = DivergenceDetector()
        self._losses = LossQueue()
        self._throughput = ThroughputMeter(trainer.recipe.batch_size)
        self._skipped_before: dict[int, Corrupt] = {}
        self._log: TrainingLog | None = None

    @property
    def skipped(self) -> list[Corrupt]:
        """Images of this process's share that could not be used so far, each once."""
        return [*(self._skipped_before | {image.position: image for image in self.loader.corrupt}).values()]

    def run(self) -> None:
        """Train to the end of the recipe; the weights are in ``trainer.backbone`` afterwards.

        Raises:
            Interrupted: A signal asked to stop; the state of the last finished step is saved.
            InputError: The loss is no longer finite or has diverged, or the processes' weights differ.
            OSError: There is no room for the state.
        """
        trainer, group = self.trainer, self.trainer.group
        self.resume()
        if group.first:
            console.print(trainer.describe(), soft_wrap=True, highlight=False)
            epochs, steps = trainer.recipe.epochs, trainer.steps
            self._log = TrainingLog(trainer.run.name, self.run_dir, self.state_dir, epochs, steps, trainer.step)
        writer = states.CheckpointWriter(self.state_dir, group.rank, group.world_size, trainer.execution.keep)
        try:
            with self.stop.listening():
                self._train(writer)
            writer.wait()
            self._finish_statistics()
        finally:
            writer.close()
            if self._log is not None:
                self._log.close()

    def _train(self, writer: states.CheckpointWriter) -> None:
        trainer, execution = self.trainer, self.trainer.execution
        began = time.monotonic() - self.seconds
        self._throughput.start()
        agreement = Agreement(trainer.group, 2)
        due = False
        if self._validation_due():  # the state was saved before it
            self._validate()
        while trainer.step < trainer.steps:
            epoch, start = divmod(trainer.step, trainer.steps_per_epoch)
            for batch in self._throughput.waiting(self.loader.epoch(epoch, start)):
                report = trainer.train_step(batch)
                self._throughput.count()
                self.on_step(report, batch)
                del report  # not to keep its images through the next step
                trainer.step += 1
                self.seconds = time.monotonic() - began
                if trainer.step % execution.check_every == 0:
                    for module in (trainer.backbone, trainer.classifier.head):
                        check_equal(module, trainer.group, trainer.run.name, trainer.step)
                stop, busy = agreement.exchange(self.stop.number, writer.busy)
                if stop:
                    self._save(writer)
                    writer.wait()
                    raise Interrupted(f"stopped by {signal.Signals(stop).name} after step {trainer.step}")
                due = due or trainer.step % execution.save_every == 0
                if (due and not busy) or trainer.step == trainer.steps or self._validation_due():
                    self._save(writer)
                    due = False
            if self._validation_due():
                writer.wait()  # whatever befalls the validation, no step is lost
                self._validate()
        agreement.finish()

    def on_step(self, report: StepReport, batch: Batch) -> None:
        """Observe a step: count its warps, draw a contact sheet, check the loss, write the log.

        Args:
            report: Report of the step.
            batch: Batch that it was taken on.

        Raises:
            InputError: The loss is no longer finite or has diverged.
        """
        step, steps, execution = report.step, self.trainer.steps, self.trainer.execution
        if self.displacements is not None:
            in_last_epoch = step >= steps - self.trainer.steps_per_epoch
            for warped in report.warped:
                if warped is not None:
                    self.displacements.count(warped, last=in_last_epoch)
        if self._log is not None and step % execution.sheet_every == 0:
            self._log.sheet(report)
        is_logged = step % execution.log_every == 0 or step + 1 == steps
        self._losses.send(report.loss, step, batch.indices)
        loss = self._check_losses(wait=is_logged)
        if self._log is not None and loss is not None:
            epoch = step // self.trainer.steps_per_epoch
            self._log.tick(step, epoch, loss, self._throughput.images_per_s)
            if is_logged:
                values = {"epoch": epoch, "loss": loss, **self._throughput.numbers(), **report.numbers()}
                skipped = {"skipped_images": len(self.skipped)} if self.skipped else {}
                self._log.scalars(step, values | skipped)

    def _check_losses(self, *, wait: bool) -> float | None:
        """Check the losses that have arrived for divergence; return the last one.

        Args:
            wait: True to wait for those that are on their way from the device.
        """
        value = None
        for value, step, records in self._losses.arrived(all_of_them=wait):
            trouble = self.divergence.trouble(value, may_grow=self.trainer.loss_may_grow)
            if trouble is not None:
                raise InputError(
                    f"{trouble} at step {step}, learning rate {self.trainer.learning_rate(step):.3g}",
                    file=self.trainer.run.name,
                    where=f"batch of records {_shorten(records)}",
                    remedy="lower the learning rate or look at these records; the state before it is kept",
                )
        return value

    def _validation_due(self) -> bool:
        """Tell whether an epoch has just ended after which to validate."""
        epochs, steps = divmod(self.trainer.step, self.trainer.steps_per_epoch)
        if self.validate is None or steps or not epochs:
            return False
        return epochs % self.trainer.execution.validate_every == 0 or epochs == self.trainer.recipe.epochs

    def _validate(self) -> None:
        """Measure the backbone after an epoch, and keep its weights if they are the best so far.

        A validation file that cannot be read any more is reported, and the training goes on: its weights do not depend
        on the accuracy, and to end would end every later start at the same place.
        """
        self._finish_statistics()
        if self._log is not None and self.validate is not None:
            with self.trainer.group.at_work():
                try:
                    self.validation = self._measure(self.validate, self._log)
                except (InputError, OSError) as error:
                    self.validation = {}
                    message = f"no validation after step {self.trainer.step}: {error}"
                    console.print(message, style="yellow", soft_wrap=True, markup=False, highlight=False)
                else:
                    self._record(self._log)
        self.trainer.group.wait()

    def _measure(self, validate: Validate, log: TrainingLog) -> dict[str, float]:
        """Validate the backbone; each forward pass is a sign of life for the watch over hanging trainings."""
        backbone = self.trainer.backbone.eval()
        hook = backbone.register_forward_hook(lambda *_: log.alive())
        try:
            return validate(backbone)
        finally:
            hook.remove()
            backbone.train()

    def _record(self, log: TrainingLog) -> None:
        """Log a validation, and keep the weights if they are the best so far."""
        trainer = self.trainer
        epochs = trainer.step // trainer.steps_per_epoch
        log.scalars(trainer.step - 1, {"epoch": epochs - 1, **self.validation})
        mean = float(np.mean([*self.validation.values()]))
        if self.best is None or mean > self.best["mean"]:
            self.best = {"epoch": epochs, "step": trainer.step, "mean": mean, "metrics": self.validation}
            metadata = {"arch": trainer.recipe.arch, "run": trainer.run.name}
            save_weights(self.run_dir / BEST, trainer.backbone, metadata)

    def _finish_statistics(self) -> None:
        """Average batch norm's running statistics over the processes, if the recipe says so."""
        if self.trainer.recipe.batch_norm == "averaged":
            average_buffers(self.trainer.backbone, self.trainer.group)

    def _save(self, writer: states.CheckpointWriter) -> None:
        self._check_losses(wait=True)  # never let a diverged state replace a good one
        writer.save(self.trainer.step, *self.state_dict())

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state that all processes have in common, and the one that only this process has."""
        common, own = self.trainer.state_dict()
        common |= {
            "recipe_hash": self.trainer.run.recipe_hash,
            "num_classes": self.trainer.num_classes,
            "seconds": self.seconds,
            "watch": asdict(self.divergence),  # states on disk have this key
            "best": self.best,
        }
        own |= {
            "skipped": [asdict(image) for image in self.skipped],
            "displacements": None if self.displacements is None else self.displacements.counts,
        }
        return common, own

    def load_state_dict(self, common: Mapping[str, Any], shares: Mapping[int, Mapping[str, Any]]) -> None:
        """Load a state, whatever the number of processes that wrote it.

        Args:
            common: State that all processes had in common.
            shares: States of single processes by rank: this one's, or all where the number of processes has changed.
        """
        writers, group = common["world_size"], self.trainer.group
        self.trainer.load_state_dict(common, shares, writers)
        self.trainer.step, self.seconds, self.best = common["step"], common["seconds"], common["best"]
        self.divergence = DivergenceDetector(**common["watch"])
        is_heir = writers == group.world_size or group.first  # of what is summed over the processes
        self._load_counts([share.get("displacements") for share in shares.values()], is_heir=is_heir)
        if is_heir:
            skipped = [image for share in shares.values() for image in share["skipped"]]
            self._skipped_before = {image["position"]: Corrupt(**image) for image in skipped}

    def _load_counts(self, counts: Sequence[Any], *, is_heir: bool) -> None:
        """Continue the histograms; if a process had none, as in states of an earlier version, the sum is unknown."""
        known = [count for count in counts if count is not None]
        if self.displacements is not None and len(known) < len(counts):
            self.displacements = None
        elif self.displacements is not None and is_heir:
            self.displacements.restore(known)

    def resume(self) -> None:
        """Load the newest saved state; where there is none, what the recipe starts from.

        Raises:
            InputError: The folder holds the state of another recipe, or what it starts from is missing or does not fit.
            NoRoomError: The next state would not fit on the disk.
        """
        group = self.trainer.group
        if group.first:
            states.tidy(self.state_dir)

        def needed(writers: int) -> range:
            return range(group.rank, group.rank + 1) if writers == group.world_size else range(writers)

        saved = states.load(self.state_dir, self.trainer.run.recipe_hash, needed, group.all_agree)
        if saved is not None:
            common, owns = saved
            self.load_state_dict(common, dict(zip(needed(common["world_size"]), owns, strict=True)))
        else:
            start_from(self.trainer, self.run_dir.parent)


def _shorten(indices: NDArray[Any], shown: int = 8) -> str:
    numbers = ", ".join(str(index) for index in indices[:shown])
    return numbers if len(indices) <= shown else f"{numbers}, … ({len(indices)} in all)"
