"""The training loop: one recipe in, one run folder out, through any number of interruptions."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aroface.datasets.corrupt import Corrupt, OnCorrupt
from aroface.datasets.loader import Batch, BatchLoader, to_network
from aroface.datasets.training_set import TrainingSet
from aroface.errors import InputError
from aroface.faces.augment import LowQualityOptions, low_quality
from aroface.faces.sheet import contact_sheet, write_sheet
from aroface.files import digest
from aroface.heads.classifier import Classifier
from aroface.heads.registry import build as build_head
from aroface.models.registry import build as build_backbone
from aroface.robustness.adversary import AlignmentAdversary, Warped
from aroface.training import state as states
from aroface.training.log import TrainingLog
from aroface.training.recipe import Recipe, Run
from aroface.training.schedule import learning_rate, strength

SHEET_IMAGES = 16
EXIT_INTERRUPTED = 75
"""Exit status of a training that saved its state and stopped on a signal: try again (``EX_TEMPFAIL``)."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal asked the training to stop; its state is saved."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a training is carried out; nothing of it changes the weights but the device, whose sums round differently.

    Attributes:
        device: ``cpu`` or ``cuda``.
        save_every: steps between two saved states.
        log_every: steps between two lines of the log.
        sheet_every: steps between two contact sheets of clean and warped images.
        loader_threads: threads that decode images.
        reader: of the records, see `TrainingSet.open`.
        on_corrupt: what to do about an image that cannot be used, see `BatchLoader`.
        max_corrupt_fraction: of images that may be skipped.
    """

    device: str = "cpu"
    save_every: int = 500
    log_every: int = 50
    sheet_every: int = 5000
    loader_threads: int = 2
    reader: Literal["native", "mxnet"] = "native"
    on_corrupt: OnCorrupt = "error"
    max_corrupt_fraction: float = 0.001


class Trainer:
    """One training from its newest saved state, or from the start, to its end.

    Args:
        run: what to train.
        data: the training set.
        run_dir: folder of the finished run; log and contact sheets go there.
        state_dir: folder of the resumable state, ``progress.json`` and the lock.
        conduct: how to carry it out.

    Raises:
        InputError: the training set has fewer images than one batch.
    """

    def __init__(self, run: Run, data: TrainingSet, run_dir: Path, state_dir: Path, conduct: Conduct) -> None:
        recipe = run.recipe
        self.run, self.recipe, self.conduct = run, recipe, conduct
        self.run_dir, self.state_dir = run_dir, state_dir
        self.device = torch.device(conduct.device)
        _configure(recipe)
        torch.manual_seed(_derive(run.seed, "initialisation"))
        self.backbone = build_backbone(recipe.arch, recipe.embedding_size).to(self.device).train()
        # 1.5 times as fast on a CPU, and what tensor cores want.
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        head = {**recipe.head}
        objective = build_head(head.pop("name"), **head)
        seed = _derive(run.seed, "classifier")
        self.classifier = Classifier(
            data.num_classes, recipe.embedding_size, objective, seed=seed, device=self.device
        ).train()
        self.adversary = AlignmentAdversary.from_mapping(recipe.adversary)
        self.optimiser = torch.optim.SGD(
            _parameter_groups(recipe, self.backbone, self.classifier),
            lr=recipe.optimiser.lr,
            momentum=recipe.optimiser.momentum,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.loader = BatchLoader(
            data,
            recipe.batch_size,
            run.seed,
            threads=conduct.loader_threads,
            flip=recipe.flip,
            on_corrupt=conduct.on_corrupt,
            max_corrupt_fraction=conduct.max_corrupt_fraction,
        )
        self._skipped_before: dict[int, Corrupt] = {}
        self.steps_per_epoch = self.loader.batches_per_epoch
        self.steps = recipe.epochs * self.steps_per_epoch
        self.step = 0
        self.seconds = 0.0
        self._signal: int | None = None

    @property
    def skipped(self) -> list[Corrupt]:
        """The images that could not be used so far, each once."""
        return [*(self._skipped_before | {each.position: each for each in self.loader.corrupt}).values()]

    def train(self) -> None:
        """Train to the end of the recipe; the weights are in ``self.backbone`` afterwards.

        Raises:
            Interrupted: a signal asked to stop; the state of the last finished step is saved.
            InputError: the loss is no longer finite, or there is no room for the state.
        """
        self._restore()
        log = TrainingLog(self.run.name, self.run_dir, self.state_dir, self.recipe.epochs, self.steps, self.step)
        try:
            with self._listening():
                self._run(log)
        finally:
            log.close()

    def _run(self, log: TrainingLog) -> None:
        began, since, counted = time.monotonic() - self.seconds, time.monotonic(), self.step
        speed = 0.0
        while self.step < self.steps:
            epoch, start = divmod(self.step, self.steps_per_epoch)
            for batch in self.loader.epoch(epoch, start):
                loss, numbers = self._update(batch, log)
                now = time.monotonic()
                if now - since > 1 or not speed:
                    speed = (self.step + 1 - counted) * self.recipe.batch_size / (now - since)
                    since, counted = now, self.step + 1
                self._report(log, batch, epoch, loss, speed, numbers)
                self.step += 1
                self.seconds = now - began
                if self._signal is not None:
                    self._save()
                    raise Interrupted(f"stopped by {signal.Signals(self._signal).name} after step {self.step}")
                if self.step % self.conduct.save_every == 0 or self.step == self.steps:
                    self._save()

    def _update(self, batch: Batch, log: TrainingLog) -> tuple[Tensor, Callable[[], dict[str, Any]]]:
        """One step of the optimiser; returns the loss and what else the log may want to know of it."""
        recipe, step = self.recipe, self.step
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(recipe.schedule, recipe.optimiser.lr, step, self.steps, self.steps_per_epoch)
        images = to_network(batch, self.device, channels_last=True)
        if recipe.low_quality is not None:
            draw = torch.Generator().manual_seed(_derive(self.run.seed, "low_quality", step))
            images = low_quality(images, draw, LowQualityOptions(**recipe.low_quality))
        labels = batch.labels.to(self.device, non_blocking=True)
        generator = torch.Generator(self.device).manual_seed(_derive(self.run.seed, "adversary", step))
        power = strength(self.adversary.warmup_epochs, step, self.steps_per_epoch)

        def adversary_loss(warped: Tensor, rows: Tensor) -> Tensor:
            return self.scaler.scale(self._loss(warped, labels[rows], main=False))

        mixed = self.adversary.augment(images, labels, adversary_loss, self.backbone, generator, strength=power)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(mixed.images, mixed.labels, main=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), recipe.optimiser.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if mixed.warped is not None and step % self.conduct.sheet_every == 0:
            self._sheet(log, images, mixed.warped)

        def numbers() -> dict[str, Any]:
            values: dict[str, Any] = {"lr": self.optimiser.param_groups[0]["lr"], "grad_norm": float(norm)}
            if self.skipped:
                values["skipped_images"] = len(self.skipped)
            if mixed.warped is not None:
                values |= {"adversary_strength": power, **mixed.warped.summary()}
            return values

        return loss.detach(), numbers

    def _loss(self, images: Tensor, labels: Tensor, *, main: bool) -> Tensor:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.recipe.precision]
        with torch.autocast(self.device.type, dtype=dtype, enabled=self.recipe.precision != "fp32"):
            embeddings = self.backbone(images.contiguous(memory_format=torch.channels_last))
        generator = torch.Generator().manual_seed(_derive(self.run.seed, "head", self.step, int(main)))
        loss: Tensor = self.classifier(
            embeddings, labels, update_statistics=main, weight_gradient=main, generator=generator
        )
        return loss

    def _report(
        self,
        log: TrainingLog,
        batch: Batch,
        epoch: int,
        loss: Tensor,
        speed: float,
        numbers: Callable[[], dict[str, Any]],
    ) -> None:
        step = self.step
        wanted = step % self.conduct.log_every == 0 or step + 1 == self.steps
        if wanted or self.device.type == "cpu":  # reading the loss is free on the CPU and a wait on CUDA
            value = float(loss)
            if not math.isfinite(value):
                raise InputError(
                    f"loss is {value} at step {step}, learning rate {self.optimiser.param_groups[0]['lr']:.3g}",
                    file=self.run.name,
                    record=f"batch of records {_shorten(batch.indices)}",
                    remedy="lower the learning rate or look at these records; the state before it is kept",
                )
            log.tick(step, epoch, value, speed)
            if wanted:
                log.scalars(step, {"epoch": epoch, "loss": value, "images_per_s": round(speed, 1), **numbers()})

    def _sheet(self, log: TrainingLog, images: Tensor, warped: Warped) -> None:
        """Draw the first images of the batch, each clean above warped."""
        count = min(SHEET_IMAGES, len(warped.images))
        pairs = torch.cat([images[warped.rows[:count]], warped.images[:count]]).permute(0, 2, 3, 1)
        pixels = (pairs.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        sheet = contact_sheet(pixels, columns=count)
        write_sheet(self.run_dir / "sheets" / f"step_{self.step:08d}.png", sheet)
        log.image(self.step, "clean above warped", sheet)

    def _save(self) -> None:
        state = {
            "recipe_hash": self.run.recipe_hash,
            "seconds": self.seconds,
            "skipped": [asdict(each) for each in self.skipped],
            "backbone": self.backbone.state_dict(),
            "classifier": self.classifier.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng_cpu": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        states.save(self.state_dir, self.step, state)

    def _restore(self) -> None:
        state = states.load(self.state_dir, self.run.recipe_hash)
        if state is None:
            return
        self.step, self.seconds = state["step"], state["seconds"]
        self._skipped_before = {each["position"]: Corrupt(**each) for each in state["skipped"]}
        self.backbone.load_state_dict(state["backbone"])
        self.classifier.load_state_dict(state["classifier"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng_cpu"])
        if state["rng_cuda"]:
            torch.cuda.set_rng_state_all(state["rng_cuda"])

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Let SIGTERM, SIGINT and SIGUSR1 end the training after the step under way; a second one acts at once."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

        def remember(number: int, frame: FrameType | None) -> None:
            self._signal = number
            signal.signal(number, signal.SIG_DFL)

        before = {number: signal.signal(number, remember) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _configure(recipe: Recipe) -> None:
    torch.set_num_threads(recipe.cpu_threads)
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # grid_sample's CUDA backward pass is listed as non-deterministic for the gradient of its input, which is
        # never asked for here; a warning, not an error, lets its deterministic gradient of the grid pass.
        torch.use_deterministic_algorithms(True, warn_only=True)


def _derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, so that no stream depends on how much another has drawn."""
    return int(digest([seed, *purpose], 16), 16) >> 1


def _parameter_groups(recipe: Recipe, backbone: nn.Module, classifier: nn.Module) -> list[dict[str, Any]]:
    """Split parameters by whether weight decay acts on them."""
    decay: list[Tensor] = [*classifier.parameters()]
    keep: list[Tensor] = []
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim > 1
            (decay if is_matrix or recipe.optimiser.decay_norm_and_bias else keep).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decay, "weight_decay": recipe.optimiser.weight_decay}]
    return [*groups, {"params": keep, "weight_decay": 0.0}] if keep else groups


def _shorten(indices: np.ndarray[Any, Any], shown: int = 8) -> str:
    numbers = ", ".join(str(index) for index in indices[:shown])
    return numbers if len(indices) <= shown else f"{numbers}, … ({len(indices)} in all)"
