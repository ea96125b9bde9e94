"""The training loop: one recipe in, the weights of one backbone out, through any number of interruptions."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from aroface.adversary.alignment import AlignmentAdversary, Warped
from aroface.datasets.corrupt_images import Corrupt
from aroface.datasets.loader import Batch, to_network
from aroface.device import set_tf32
from aroface.distributed.process_group import (
    Agreement,
    ProcessGroup,
    average_buffers,
    check_equal,
    pass_of,
    passes_of,
    take_first_buffers,
)
from aroface.errors import InputError
from aroface.faces.augment import LowQualityOptions, low_quality
from aroface.faces.sheet import contact_sheet, write_sheet
from aroface.files import digest
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build as build_head
from aroface.models.checkpoint import save_weights
from aroface.models.iresnet import IResNet
from aroface.models.registry import build as build_backbone
from aroface.progress import console
from aroface.training import state as states
from aroface.training import state_dict
from aroface.training.displacements import Displacements
from aroface.training.divergence import DivergenceDetector, LossQueue
from aroface.training.execution import ExecutionOptions, Interrupted, Validate
from aroface.training.log import TrainingLog
from aroface.training.lr_schedule import learning_rate, linear_scaling, strength
from aroface.training.recipe import Recipe, RunRecipe
from aroface.training.row_sgd import RowSGD
from aroface.training.sync_batchnorm import share_batch_norm
from aroface.training.throughput import ThroughputMeter

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SHEET_IMAGES = 16
BEST = "best.safetensors"
ECHO_S = 1.0
"""A signal that comes again within so many seconds is the same one, passed on."""

Numbers = Callable[[], dict[str, Any]]


class Batches(Protocol):
    """Where a training takes its batches from; `BatchLoader` is the one that reads images."""

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches of an epoch."""

    @property
    def corrupt(self) -> list[Corrupt]:
        """The images skipped so far."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch ``start`` on."""


class Trainer:
    """One training from its newest saved state, or from the start, to its end; one of these on each process.

    Args:
        run: what to train.
        num_classes: identities of the training set.
        loader: this process's share of the batches.
        run_dir: folder of the finished run; log, contact sheets and the best weights go there.
        state_dir: folder of the resumable state and ``progress.json``.
        execution: how to carry it out.
        ranks: the processes.
        validate: what a backbone is worth, asked after each epoch on the first process; None for nothing.

    Raises:
        InputError: the batch cannot be split evenly over processes and passes.
    """

    def __init__(
        self,
        run: RunRecipe,
        num_classes: int,
        loader: Batches,
        run_dir: Path,
        state_dir: Path,
        execution: ExecutionOptions,
        ranks: ProcessGroup,
        validate: Validate | None = None,
    ) -> None:
        recipe = run.recipe
        self.run, self.recipe, self.execution, self.ranks = run, recipe, execution, ranks
        self.run_dir, self.state_dir = run_dir, state_dir
        self.num_classes, self.loader, self.validate = num_classes, loader, validate
        self.pass_images = pass_of(recipe.batch_size, ranks, execution.micro_batch, recipe.images_per_pass)
        _configure(recipe)
        self._build(num_classes)
        self.adversary = AlignmentAdversary.from_mapping(recipe.adversary)
        attacked = self.adversary.options.kind != "none"
        self.displacements = Displacements(ranks.device) if attacked else None
        self.steps_per_epoch = loader.batches_per_epoch
        self.steps = recipe.epochs * self.steps_per_epoch
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        self.validation: dict[str, float] = {}
        self._watch = DivergenceDetector()
        self._losses = LossQueue()
        self._skipped_before: dict[int, Corrupt] = {}
        self._signal = 0

    def _build(self, num_classes: int) -> None:
        recipe, execution, ranks = self.recipe, self.execution, self.ranks
        torch.manual_seed(_derive(self.run.seed, "initialisation"))
        backbone = build_backbone(recipe.arch, recipe.embedding_size, options=recipe.backbone)
        self.backbone = backbone.to(ranks.device).train()
        # 1.5 times as fast on a CPU, and what tensor cores want.
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.batch_norm == "synchronised":
            share_batch_norm(self.backbone, ranks)
        if execution.checkpoint_activations:
            self.backbone.checkpoint_activations(True)
        head = {**recipe.head}
        objective = build_head(head.pop("name"), **head)
        seed = _derive(self.run.seed, "classifier")
        self.classifier = Classifier(
            num_classes,
            recipe.embedding_size,
            objective,
            seed=seed,
            sample_rate=recipe.sample_rate,
            device=ranks.device,
            initial=recipe.class_weights,
            dtype=self._rounding(),
        ).train()
        self.optimiser = RowSGD(
            _parameter_groups(recipe, self.backbone, self.classifier),
            lr=recipe.optimiser.lr,
            momentum=recipe.optimiser.momentum,
            every_row=recipe.class_update == "all",
        )
        self.scaler = _loss_scaler(recipe, ranks)
        # The adversary goes through the bare network: the reducer of gradients is not made for a second pass.
        self.network: nn.Module = self.backbone
        if execution.compile:
            self.network = torch.compile(self.backbone)  # type: ignore[assignment]
        self.reduced: nn.Module = self.network
        if ranks.world_size > 1:
            # Never a static graph: with the adversary's pass in between, the processes would drift apart in silence.
            self.reduced = DistributedDataParallel(
                self.network,
                device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
                forward_sync_buffers=False,
                gradient_as_bucket_view=True,
            )
            if recipe.gradient_compression != "none":
                self.reduced.register_comm_hook(None, fp16_compress_hook)

    def _rounding(self) -> torch.dtype | None:
        """Set and return the type that the last layers and the cosines are rounded to; None for float32."""
        recipe = self.recipe
        if recipe.autocast == "convolutions" or recipe.precision == "fp32":
            return None
        if not isinstance(self.backbone, IResNet):
            raise InputError(f"autocast: everything for {recipe.arch}", record="recipe", expected="an IResNet")
        self.backbone.output_in_autocast = True
        return PRECISIONS[recipe.precision]

    @property
    def skipped(self) -> list[Corrupt]:
        """The images of this process's share that could not be used so far, each once."""
        return [*(self._skipped_before | {each.position: each for each in self.loader.corrupt}).values()]

    def describe(self) -> str:
        """What is about to be trained and how, in a line."""
        recipe, ranks = self.recipe, self.ranks
        lr, rule = recipe.optimiser.lr, linear_scaling(recipe.batch_size)
        scaling = "as" if math.isclose(lr, rule) else "where"
        local = recipe.batch_size // ranks.world_size
        parts = "" if local == self.pass_images else f" in parts of {self.pass_images}"
        what = f"{recipe.arch}, {self.num_classes:,} classes, {self.steps:,} steps of {recipe.batch_size:,} images"
        where = f"{local:,} on each of {ranks.world_size} {ranks.device.type}{parts}"
        return f"{self.run.name}: {what} ({where}), learning rate {lr:g} {scaling} 0.1 · batch / 1024 = {rule:g}"

    def dry_run(self, steps: int) -> float:
        """Do some steps that leave nothing behind; returns seconds a step, the first one not counted.

        Args:
            steps: at least 2.

        Raises:
            InputError: no step updated the weights, so that neither memory nor speed would be those of a training.
        """
        if self.scaler.is_enabled():  # at the usual scale the first steps overflow and their updates are left out
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": 1.0})
        times = [time.monotonic()]
        for _, batch in zip(range(steps), self.loader.epoch(0), strict=False):
            float(self._update(batch, None)[0])
            times.append(time.monotonic())
        if not self.optimiser.state:
            remedy = "lower the learning rate, or choose another precision"
            raise InputError("no step of the dry run updated the weights", file=self.run.name, remedy=remedy)
        return (times[-1] - times[1]) / (len(times) - 2)

    def train(self) -> None:
        """Train to the end of the recipe; the weights are in ``self.backbone`` afterwards.

        Raises:
            Interrupted: a signal asked to stop; the state of the last finished step is saved.
            InputError: the loss is no longer finite or runs away, or the processes' weights differ.
            OSError: there is no room for the state.
        """
        self._restore()
        log = None
        if self.ranks.first:
            console.print(self.describe(), soft_wrap=True, highlight=False)
            log = TrainingLog(self.run.name, self.run_dir, self.state_dir, self.recipe.epochs, self.steps, self.step)
        keeper = states.CheckpointWriter(self.state_dir, self.ranks.rank, self.ranks.world_size, self.execution.keep)
        try:
            with self._listening():
                self._run(log, keeper)
            keeper.wait()
            self._settle()
        finally:
            keeper.close()
            if log is not None:
                log.close()

    def _run(self, log: TrainingLog | None, keeper: states.CheckpointWriter) -> None:
        began = time.monotonic() - self.seconds
        pace = ThroughputMeter(self.recipe.batch_size)
        agreement = Agreement(self.ranks, 2)
        due = False
        if self._validation_due():  # the state was saved before it
            self._validate(log)
        while self.step < self.steps:
            epoch, start = divmod(self.step, self.steps_per_epoch)
            for batch in pace.waiting(self.loader.epoch(epoch, start)):
                loss, numbers = self._update(batch, log)
                pace.count()
                self._report(log, batch, epoch, loss, pace, numbers)
                self.step += 1
                self.seconds = time.monotonic() - began
                if self.step % self.execution.check_every == 0:
                    check_equal(self.backbone, self.ranks, self.run.name, self.step)
                stop, busy = agreement.exchange(self._signal, keeper.busy)
                if stop:
                    self._save(keeper)
                    keeper.wait()
                    raise Interrupted(f"stopped by {signal.Signals(stop).name} after step {self.step}")
                due = due or self.step % self.execution.save_every == 0
                if (due and not busy) or self.step == self.steps or self._validation_due():
                    self._save(keeper)
                    due = False
            if self._validation_due():
                keeper.wait()  # whatever befalls the validation, no step is lost
                self._validate(log)
        agreement.finish()

    def _update(self, batch: Batch, log: TrainingLog | None) -> tuple[Tensor, Numbers]:
        """One step of the optimiser; returns the loss over all processes and what else the log may want to know."""
        recipe, step, device = self.recipe, self.step, self.ranks.device
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate(step)
        images = to_network(batch, device, channels_last=True)
        labels = batch.labels.to(device, non_blocking=True)
        power = strength(self.adversary.warmup_epochs, step, self.steps_per_epoch)
        if recipe.class_draw == "step":
            self.classifier.choose(labels, self._generator("classes"))
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[Tensor] = []
        warped: Warped | None = None
        parts = passes_of(len(images), self.pass_images)
        for part, rows in enumerate(parts):
            together = nullcontext() if part == len(parts) - 1 else _no_sync(self.reduced)
            with together:
                loss, found = self._pass(images[rows], labels[rows], power, part)
                share = len(labels[rows]) * len(parts) / len(labels)  # 1 unless an epoch's last batch is a smaller one
                loss = loss if share == 1 else share * loss
                self.scaler.scale(loss / len(parts)).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            if found is not None and self.displacements is not None:
                self.displacements.count(found, last=step >= self.steps - self.steps_per_epoch)
            if part == 0:
                warped = found
                if log is not None and warped is not None and step % self.execution.sheet_every == 0:
                    self._sheet(log, images, warped)
        if recipe.gradient_compression == "fp16_always" and self.reduced is self.network:
            _round_gradients(self.backbone)
        self.scaler.unscale_(self.optimiser)
        limit = math.inf if recipe.optimiser.clip_norm is None else recipe.optimiser.clip_norm
        norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), limit)
        self.scaler.step(self.optimiser)
        self.scaler.update()

        def numbers() -> dict[str, Any]:
            length = float(norm)
            values: dict[str, Any] = {
                "lr": self.optimiser.param_groups[0]["lr"],
                "grad_norm": length if math.isfinite(length) else None,  # under fp16 such a step is left out
            }
            if self.scaler.is_enabled():
                values["loss_scale"] = self.scaler.get_scale()
            if self.skipped:
                values["skipped_images"] = len(self.skipped)
            if warped is not None:
                values |= {"adversary_strength": power, **warped.summary()}
            return values

        return torch.stack(losses).mean(), numbers

    def _learning_rate(self, step: int) -> float:
        schedule, lr = self.recipe.schedule, self.recipe.optimiser.lr
        return learning_rate(schedule, lr, step, self.steps, self.steps_per_epoch)

    def _pass(self, images: Tensor, labels: Tensor, power: float, part: int) -> tuple[Tensor, Warped | None]:
        """The loss of one forward pass, in the adversary's presence, and what it warped."""
        torch.manual_seed(self._seed("network", part))
        if self.recipe.low_quality is not None:
            draw = self._generator("low_quality", part, device="cpu")
            images = low_quality(images, draw, LowQualityOptions(**self.recipe.low_quality))
        main, other = self._generator("head", part), self._generator("adversary's head", part)
        drawn_anew = self.recipe.class_draw == "pass"

        def adversary_loss(warped: Tensor, theirs: Tensor) -> Tensor:
            if drawn_anew:
                self.classifier.choose(theirs, self._generator("adversary's classes", part))
            loss = self._loss(self.network, warped, theirs, other, main=False)
            return self.scaler.scale(loss) if self.adversary.options.scale_loss else loss

        generator = self._generator("adversary", part)
        mixed = self.adversary.augment(images, labels, adversary_loss, self.backbone, generator, strength=power)
        if drawn_anew:
            self.classifier.choose(mixed.labels, self._generator("classes", part))
        if self.recipe.batch_norm == "broadcast":
            take_first_buffers([self.backbone, self.classifier.objective], self.ranks)
        return self._loss(self.reduced, mixed.images, mixed.labels, main, main=True), mixed.warped

    def _loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, *, main: bool
    ) -> Tensor:
        dtype = PRECISIONS[self.recipe.precision]
        # None of its own where it needs none, so that the adversary's can act.
        with nullcontext() if dtype == torch.float32 else torch.autocast(self.ranks.device.type, dtype=dtype):
            embeddings = network(images.contiguous(memory_format=torch.channels_last))
        loss: Tensor = self.classifier(
            embeddings,
            labels,
            update_statistics=main,
            weight_gradient=main,
            checked=self.ranks.device.type == "cpu",
            generator=generator,
        )
        return loss

    def _seed(self, purpose: str, part: int = 0) -> int:
        """A stream of its own for each purpose, step, process and pass: nothing to save, nothing to restore."""
        place = [self.ranks.rank, part] if self.ranks.rank or part else []
        return _derive(self.run.seed, purpose, self.step, *place)

    def _generator(self, purpose: str, part: int = 0, device: torch.device | str | None = None) -> torch.Generator:
        return torch.Generator(device or self.ranks.device).manual_seed(self._seed(purpose, part))

    def _report(
        self, log: TrainingLog | None, batch: Batch, epoch: int, loss: Tensor, pace: ThroughputMeter, numbers: Numbers
    ) -> None:
        step = self.step
        wanted = step % self.execution.log_every == 0 or step + 1 == self.steps
        self._losses.send(loss, step, batch.indices)
        known = self._check(all_of_them=wanted)
        if log is not None and known is not None:
            log.tick(step, epoch, known, pace.images_per_s)
            if wanted:
                speed = {"images_per_s": round(pace.images_per_s, 1), "data_wait": round(pace.data_wait, 3)}
                log.scalars(step, {"epoch": epoch, "loss": known, **speed, **numbers()})

    def _check(self, *, all_of_them: bool) -> float | None:
        """The last of the losses that have arrived, all of which must be such that a training can go on."""
        value = None
        for value, step, records in self._losses.arrived(all_of_them=all_of_them):
            trouble = self._watch.trouble(value)
            if trouble is not None:
                raise InputError(
                    f"{trouble} at step {step}, learning rate {self._learning_rate(step):.3g}",
                    file=self.run.name,
                    record=f"batch of records {_shorten(records)}",
                    remedy="lower the learning rate or look at these records; the state before it is kept",
                )
        return value

    def _validation_due(self) -> bool:
        """Tell whether an epoch has just ended after which to validate."""
        epochs, steps = divmod(self.step, self.steps_per_epoch)
        if self.validate is None or steps or not epochs:
            return False
        return epochs % self.execution.validate_every == 0 or epochs == self.recipe.epochs

    def _validate(self, log: TrainingLog | None) -> None:
        """After an epoch: what the backbone is worth, and its weights if none before were worth more.

        A validation file that cannot be read any more is told, and the training goes on: its weights do not depend on
        the accuracy, and to end would end every later start at the same place.
        """
        self._settle()
        if log is not None and self.validate is not None:
            with self.ranks.at_work():
                try:
                    self.validation = self._measure(self.validate, log)
                except (InputError, OSError) as error:
                    self.validation = {}
                    what = f"no validation after step {self.step}: {error}"
                    console.print(what, style="yellow", soft_wrap=True, markup=False, highlight=False)
                else:
                    self._record(log)
        self.ranks.wait()

    def _measure(self, validate: Validate, log: TrainingLog) -> dict[str, float]:
        """Validate the backbone; each batch is a sign for the watch over hanging trainings."""
        self.backbone.eval()
        progress = self.backbone.register_forward_hook(lambda *_: log.alive())
        try:
            return validate(self.backbone)
        finally:
            progress.remove()
            self.backbone.train()

    def _record(self, log: TrainingLog) -> None:
        """Log a validation, and keep the weights if none before were worth more."""
        epochs = self.step // self.steps_per_epoch
        log.scalars(self.step - 1, {"epoch": epochs - 1, **self.validation})
        mean = float(np.mean([*self.validation.values()]))
        if self.best is None or mean > self.best["mean"]:
            self.best = {"epoch": epochs, "step": self.step, "mean": mean, "metrics": self.validation}
            save_weights(self.run_dir / BEST, self.backbone, {"arch": self.recipe.arch, "run": self.run.name})

    def _settle(self) -> None:
        """Make the running statistics what the recipe wants saved."""
        if self.recipe.batch_norm == "averaged":
            average_buffers(self.backbone, self.ranks)

    def _sheet(self, log: TrainingLog, images: Tensor, warped: Warped) -> None:
        """Draw the first images of the batch, each clean above warped."""
        count = min(SHEET_IMAGES, len(warped.images))
        pairs = torch.cat([images[warped.rows[:count]], warped.images[:count]]).permute(0, 2, 3, 1)
        pixels = (pairs.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        sheet = contact_sheet(pixels, columns=count)
        write_sheet(self.run_dir / "sheets" / f"step_{self.step:08d}.png", sheet)
        log.image(self.step, "clean above warped", sheet)

    def _save(self, keeper: states.CheckpointWriter) -> None:
        self._check(all_of_them=True)  # a state that has lost its way must not push out those that have not
        common, own = self._snapshot()
        keeper.save(self.step, common, own)

    def _snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a state holds: what all processes have in common, and what only this one has."""
        common = {
            "recipe_hash": self.run.recipe_hash,
            "num_classes": self.num_classes,
            "seconds": self.seconds,
            "watch": asdict(self._watch),
            "best": self.best,
            "scaler": self.scaler.state_dict(),
            **state_dict.of_backbone(self.backbone, self.optimiser),
        }
        own = {
            "buffers": dict(self.backbone.named_buffers()),
            "skipped": [asdict(each) for each in self.skipped],
            "displacements": None if self.displacements is None else self.displacements.counts,
            **state_dict.of_classifier(self.classifier, self.optimiser),
        }
        return common, own

    def _restore(self) -> None:
        """Go on from the newest state, whatever the number of processes that wrote it."""
        if self.ranks.first:
            states.tidy(self.state_dir)
        rank, size = self.ranks.rank, self.ranks.world_size

        def needed(writers: int) -> range:
            return range(rank, rank + 1) if writers == size else range(writers)

        found = states.load(self.state_dir, self.run.recipe_hash, needed, self.ranks.all_agree)
        if found is None:
            return
        common, owns = found
        writers = common["world_size"]
        self.step, self.seconds, self.best = common["step"], common["seconds"], common["best"]
        self._watch = DivergenceDetector(**common["watch"])
        self.scaler.load_state_dict(common["scaler"])
        state_dict.to_backbone(common, owns[0]["buffers"], self.backbone, self.optimiser)
        shares = dict(zip(needed(writers), owns, strict=True))
        state_dict.to_classifier(shares, writers, self.num_classes, self.classifier, self.optimiser)
        self._restore_counts([own.get("displacements") for own in owns], mine=writers == size or self.ranks.first)
        if writers == size or self.ranks.first:
            listed = [each for own in owns for each in own["skipped"]]
            self._skipped_before = {each["position"]: Corrupt(**each) for each in listed}

    def _restore_counts(self, counts: list[Tensor | None], *, mine: bool) -> None:
        """Go on counting; what an earlier version did not count is unknown, and so is the whole."""
        found = [each for each in counts if each is not None]
        if self.displacements is not None and len(found) < len(counts):
            self.displacements = None
        elif self.displacements is not None and mine:
            self.displacements.restore(found)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Let SIGTERM, SIGINT and SIGUSR1 end the training after the step under way; a second one acts at once.

        Unless it is the first one's echo: Slurm signals all processes of a step, and a container passes on what it got.
        """
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        first: dict[int, float] = {}

        def remember(number: int, frame: FrameType | None) -> None:
            self._signal = number
            if time.monotonic() > first.setdefault(number, time.monotonic()) + ECHO_S:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        before = {number: signal.signal(number, remember) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _no_sync(reduced: nn.Module) -> Any:
    """Leave the gradients of a pass on their process: a later one adds them up for all."""
    return reduced.no_sync() if isinstance(reduced, DistributedDataParallel) else nullcontext()


def _round_gradients(module: nn.Module) -> None:
    """Round gradients as DistributedDataParallel's compression to float16 does, which a single process goes without."""
    for parameter in module.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad.half().to(parameter.grad.dtype)


def _configure(recipe: Recipe) -> None:
    torch.set_num_threads(recipe.cpu_threads)
    set_tf32(recipe.tf32)
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # grid_sample's CUDA backward pass is listed as non-deterministic for the gradient of its input, which is
        # never asked for here; a warning, not an error, lets its deterministic gradient of the grid pass.
        torch.use_deterministic_algorithms(True, warn_only=True)


def _derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, so that no stream depends on how much another has drawn."""
    return int(digest([seed, *purpose], 16), 16) >> 1


def _loss_scaler(recipe: Recipe, ranks: ProcessGroup) -> torch.amp.GradScaler:
    """Scaler of the loss; one that does nothing unless the precision is fp16."""
    half, interval = recipe.precision == "fp16", recipe.growth_interval
    if half and ranks.world_size > 1:
        # Imported where it is needed: it takes a second, which every training would wait for.
        from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

        return ShardedGradScaler(ranks.device.type, growth_interval=interval)
    return torch.amp.GradScaler(ranks.device.type, growth_interval=interval, enabled=half)


def _parameter_groups(recipe: Recipe, backbone: nn.Module, classifier: nn.Module) -> list[dict[str, Any]]:
    """Split parameters by whether weight decay acts on them."""
    decay: list[Tensor] = [*classifier.parameters()]
    keep: list[Tensor] = []
    spared: set[Tensor] = set()
    if not recipe.optimiser.decay_batch_norm:
        norms = (module for module in backbone.modules() if isinstance(module, _BatchNorm))
        spared = {parameter for norm in norms for parameter in norm.parameters()}
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim > 1
            decays = is_matrix or (recipe.optimiser.decay_norm_and_bias and parameter not in spared)
            (decay if decays else keep).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decay, "weight_decay": recipe.optimiser.weight_decay}]
    return [*groups, {"params": keep, "weight_decay": 0.0}] if keep else groups


def _shorten(indices: np.ndarray[Any, Any], shown: int = 8) -> str:
    numbers = ", ".join(str(index) for index in indices[:shown])
    return numbers if len(indices) <= shown else f"{numbers}, … ({len(indices)} in all)"
