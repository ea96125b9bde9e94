"""Trainer: backbone, classifier and adversary of one run, and the step that trains them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from aroface.adversary.alignment import AlignmentAdversary, Mixed
from aroface.datasets.loader import Batch, to_network
from aroface.device import set_tf32
from aroface.distributed.process_group import ProcessGroup
from aroface.errors import InputError
from aroface.faces.augment import LowQualityOptions, low_quality
from aroface.heads.batch_losses.base import PassedBatch
from aroface.heads.batch_losses.registry import build as build_batch_loss
from aroface.heads.pair_terms.base import PairLoss
from aroface.heads.pair_terms.registry import build as build_pair_term
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build as build_head
from aroface.models.iresnet import IResNet
from aroface.models.module_contexts import frozen_statistics
from aroface.models.registry import build as build_backbone
from aroface.training import state_dict
from aroface.training.data_parallel import BatchSplit, broadcast_buffers
from aroface.training.execution import ExecutionOptions
from aroface.training.lr_schedule import adversary_strength, learning_rate, linear_scaling
from aroface.training.random_streams import RandomStreams
from aroface.training.recipe import Recipe, RunRecipe
from aroface.training.row_sgd import RowSGD
from aroface.training.step_report import StepReport
from aroface.training.sync_batchnorm import share_batch_norm

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Images of one forward pass of a step.

    Attributes:
        index: Number of the pass within the step, from 0.
        passes: Number of passes of the step.
        images: (m, 3, H, W) in [-1, 1].
        labels: Class of each, int64 (m,).
        weight: Weight of its loss: 1 unless an epoch's last batch splits unevenly.
    """

    index: int
    passes: int
    images: Tensor
    labels: Tensor
    weight: float

    @property
    def is_last(self) -> bool:
        """True for the pass after which the gradients of all processes are averaged."""
        return self.index == self.passes - 1

    def weigh(self, loss: Tensor) -> Tensor:
        """Multiply a mean loss over the micro-batch by :attr:`weight`."""
        return loss if self.weight == 1 else self.weight * loss


class Trainer:
    """Everything that one run trains, and the optimiser step that trains it; one of these on each process.

    Args:
        run: Run to train.
        num_classes: Number of identities of the training set.
        steps_per_epoch: Number of batches of an epoch.
        split: Split of the batch over processes and forward passes.
        execution: Execution options.
        group: Processes that train together.

    Attributes:
        step: Number of steps done; the caller advances it after each :meth:`train_step`.
        steps: Number of steps of the whole recipe.
        network: Backbone, compiled if asked for, whose gradients stay on this process: the adversary's way through it.
        model: The same network, whose gradients are averaged over the processes.
    """

    def __init__(
        self,
        run: RunRecipe,
        num_classes: int,
        steps_per_epoch: int,
        split: BatchSplit,
        execution: ExecutionOptions,
        group: ProcessGroup,
    ) -> None:
        self.run, self.recipe, self.execution, self.group = run, run.recipe, execution, group
        self.num_classes, self.split, self.steps_per_epoch = num_classes, split, steps_per_epoch
        self.steps = run.recipe.epochs * steps_per_epoch
        self.step = 0
        self.streams = RandomStreams(run.seed, group.rank, group.device)
        _configure(self.recipe)
        self._build_backbone()
        self._build_classifier()
        self._build_optimiser()
        self._build_model()
        self.adversary = AlignmentAdversary.from_mapping(self.recipe.adversary)

    def _build_backbone(self) -> None:
        recipe = self.recipe
        torch.manual_seed(self.streams.common_seed("initialisation"))
        backbone = build_backbone(recipe.arch, recipe.embedding_size, options=recipe.backbone)
        self.backbone = backbone.to(self.group.device).train()
        # 1.5 times as fast on a CPU, and the layout that tensor cores need.
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.batch_norm == "synchronised":
            share_batch_norm(self.backbone, self.group)
        if self.execution.checkpoint_activations:
            self.backbone.checkpoint_activations(True)

    def _build_classifier(self) -> None:
        recipe = self.recipe
        self.classifier = Classifier(
            self.num_classes,
            recipe.embedding_size,
            build_head(**recipe.head),
            seed=self.streams.common_seed("classifier"),
            sample_rate=recipe.sample_rate,
            device=self.group.device,
            initial=recipe.class_weights,
            dtype=self._rounding(),
            pairs=build_pair_term(**recipe.pairs) if recipe.pairs else None,
        ).train()
        self.batch_loss = build_batch_loss(**recipe.batch_loss) if recipe.batch_loss else None

    def _build_optimiser(self) -> None:
        recipe = self.recipe
        self.optimiser = RowSGD(
            _parameter_groups(recipe, self.backbone, self.classifier),
            lr=recipe.optimiser.lr,
            momentum=recipe.optimiser.momentum,
            every_row=recipe.class_update == "all",
        )
        self.scaler = _loss_scaler(recipe, self.group)

    def _build_model(self) -> None:
        # The adversary goes through the bare network: the reducer of gradients is not made for a second pass.
        self.network: nn.Module = self.backbone
        if self.execution.compile:
            self.network = torch.compile(self.backbone)  # type: ignore[assignment]
        self.model: nn.Module = self.network
        if self.group.world_size > 1:
            # Never a static graph: with the adversary's pass in between, the processes would drift apart in silence.
            self.model = DistributedDataParallel(
                self.network,
                device_ids=[self.group.device] if self.group.device.type == "cuda" else None,
                forward_sync_buffers=False,
                gradient_as_bucket_view=True,
            )
            if self.recipe.gradient_compression != "none":
                self.model.register_comm_hook(None, fp16_compress_hook)

    def _rounding(self) -> torch.dtype | None:
        """Set and return the type that the last layers and the cosines are rounded to; None for float32."""
        recipe = self.recipe
        if recipe.autocast == "convolutions" or recipe.precision == "fp32":
            return None
        if not isinstance(self.backbone, IResNet):
            raise InputError(f"autocast: everything for {recipe.arch}", where="recipe", expected="an IResNet")
        self.backbone.output_in_autocast = True
        return PRECISIONS[recipe.precision]

    def describe(self) -> str:
        """Describe the run and its execution in one line."""
        recipe, group, split = self.recipe, self.group, self.split
        lr, rule = recipe.optimiser.lr, linear_scaling(recipe.batch_size)
        scaling = "as" if math.isclose(lr, rule) else "where"
        accumulation = "" if split.passes == 1 else f" in {split.passes} passes of {split.per_pass}"
        task = f"{recipe.arch}, {self.num_classes:,} classes, {self.steps:,} steps of {recipe.batch_size:,} images"
        devices = f"{split.per_rank:,} on each of {group.world_size} {group.device.type}{accumulation}"
        return f"{self.run.name}: {task} ({devices}), learning rate {lr:g} {scaling} 0.1 · batch / 1024 = {rule:g}"

    def train_step(self, batch: Batch) -> StepReport:
        """Take one optimiser step on this process's share of a batch.

        The adversary replaces a part of each micro-batch by the misalignments that most increase the loss, and the
        network is trained on the mixture (ARoFace, arXiv 2407.14972). The gradients of the micro-batches are
        accumulated. Nothing here waits for a GPU.
        """
        lr = self._set_learning_rate()
        images = to_network(batch, self.group.device, channels_last=True)
        labels = batch.labels.to(self.group.device, non_blocking=True)
        strength = self._adversary_strength()
        if self.recipe.class_draw == "step":
            self.classifier.choose(labels, self._generator("classes"))
        self.optimiser.zero_grad(set_to_none=True)
        losses, warped = [], []
        for micro_batch in self._micro_batches(images, labels):
            with nullcontext() if micro_batch.is_last else self._no_sync():
                mixed = self._augment(micro_batch, strength)
                self._prepare_pass(mixed.labels, micro_batch)
                loss = micro_batch.weigh(self._loss(mixed, micro_batch))
                self.scaler.scale(loss / micro_batch.passes).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            warped.append(mixed.warped)
        norm, scale = self._optimiser_step()
        return StepReport(self.step, torch.stack(losses).mean(), lr, norm, scale, strength, images, tuple(warped))

    @property
    def loss_may_grow(self) -> bool:
        """True where the loss has a part that does not begin at its largest: that of pairs."""
        return isinstance(self.classifier.pairs, PairLoss)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        schedule, base = self.recipe.schedule, self.recipe.optimiser.lr
        return learning_rate(schedule, base, step, self.steps, self.steps_per_epoch)

    def _set_learning_rate(self) -> float:
        lr = self.learning_rate(self.step)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = lr
        return lr

    def _adversary_strength(self) -> float:
        return adversary_strength(self.adversary.warmup_epochs, self.step, self.steps_per_epoch)

    def _micro_batches(self, images: Tensor, labels: Tensor) -> Iterator[MicroBatch]:
        slices = self.split.slices(len(images))
        for index, rows in enumerate(slices):
            weight = len(labels[rows]) * len(slices) / len(labels)
            yield MicroBatch(index, len(slices), images[rows], labels[rows], weight)

    def _augment(self, micro_batch: MicroBatch, strength: float) -> Mixed:
        """Degrade the images, if the recipe says so, and let the adversary warp a part of them."""
        images, labels, index = micro_batch.images, micro_batch.labels, micro_batch.index
        torch.manual_seed(self.streams.step_seed("network", self.step, index))
        if self.recipe.low_quality is not None:
            draws = self.streams.generator("low_quality", self.step, index, device="cpu")
            images = low_quality(images, draws, LowQualityOptions(**self.recipe.low_quality))
        of_head = self._generator("adversary's head", index)

        def adversary_loss(warped: Tensor, warped_labels: Tensor) -> Tensor:
            if self.recipe.class_draw == "pass":
                self.classifier.choose(warped_labels, self._generator("adversary's classes", index))
            embeddings = self._embed(self.network, warped)
            loss = self._losses(embeddings, warped_labels, of_head, training=False).mean()
            return self.scaler.scale(loss) if self.adversary.options.scale_loss else loss

        generator = self._generator("adversary", index)
        return self.adversary.augment(images, labels, adversary_loss, self.backbone, generator, strength=strength)

    def _prepare_pass(self, labels: Tensor, micro_batch: MicroBatch) -> None:
        """Do what some recipes repeat before each forward pass: draw classes, share running statistics."""
        if self.recipe.class_draw == "pass":
            self.classifier.choose(labels, self._generator("classes", micro_batch.index))
        if self.recipe.batch_norm == "broadcast":
            broadcast_buffers([self.backbone, self.classifier.head], self.group)

    def _loss(self, mixed: Mixed, micro_batch: MicroBatch) -> Tensor:
        """Compute the loss of a mixed micro-batch: the mean over its samples, or what a batch loss makes of them."""
        embeddings = self._embed(self.model, mixed.images)
        generator = self._generator("head", micro_batch.index)
        losses = self._losses(embeddings, mixed.labels, generator, training=True)
        if self.batch_loss is None:
            return losses.mean()
        clean = micro_batch.images[mixed.rows]
        with torch.autocast(self.group.device.type, enabled=False):
            passed = PassedBatch(
                mixed.images, clean, mixed.rows, mixed.labels, embeddings.float(), losses, self._embed_more
            )
            loss: Tensor = self.batch_loss(passed)
        return loss

    def _embed(self, network: nn.Module, images: Tensor) -> Tensor:
        """Compute the embeddings (m, D) of images (m, 3, H, W) by :attr:`model` or :attr:`network`."""
        dtype = PRECISIONS[self.recipe.precision]
        # None of its own where it needs none, so that the adversary's can act.
        with nullcontext() if dtype == torch.float32 else torch.autocast(self.group.device.type, dtype=dtype):
            embeddings: Tensor = network(images.contiguous(memory_format=torch.channels_last))
        return embeddings

    def _embed_more(self, images: Tensor) -> Tensor:
        """Compute further embeddings of a pass; gradients meet those of the pass, running statistics stand still."""
        with frozen_statistics(self.backbone):
            return self._embed(self.network, images).float()

    def _losses(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator, *, training: bool) -> Tensor:
        """Compute the loss (B,) of each sample of all processes.

        Args:
            embeddings: Embeddings (m, D) of this process.
            labels: Class of each, int64 (m,).
            generator: Source of the head's random draws.
            training: True if class weights get a gradient and running statistics move; not so for the adversary.
        """
        return self.classifier.losses(
            embeddings,
            labels,
            update_statistics=training,
            weight_gradient=training,
            checked=self.group.device.type == "cpu",
            generator=generator,
        )

    def _no_sync(self) -> AbstractContextManager[None]:
        """Keep the gradients of a pass on this process: the last micro-batch's pass adds them up for all."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def _optimiser_step(self) -> tuple[Tensor, Tensor | None]:
        """Clip and apply the gradients; return their norm and fp16's loss scale after the step, on the device."""
        if self.recipe.gradient_compression == "fp16_always" and self.model is self.network:
            _round_gradients(self.backbone)
        self.scaler.unscale_(self.optimiser)
        limit = math.inf if self.recipe.optimiser.clip_norm is None else self.recipe.optimiser.clip_norm
        norm = nn.utils.clip_grad_norm_(self.backbone.parameters(), limit)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        # `get_scale` would wait for the device.
        scale = self.scaler.scale(torch.ones((), device=self.group.device)) if self.scaler.is_enabled() else None
        return norm, scale

    def _generator(self, purpose: str, micro_batch: int = 0) -> torch.Generator:
        return self.streams.generator(purpose, self.step, micro_batch)

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state that all processes have in common, and the one that only this process has."""
        common = {"scaler": self.scaler.state_dict(), **state_dict.backbone_state(self.backbone, self.optimiser)}
        own = {
            "buffers": dict(self.backbone.named_buffers()),
            **state_dict.classifier_state(self.classifier, self.optimiser),
        }
        return common, own

    def load_state_dict(self, common: Mapping[str, Any], shares: Mapping[int, Mapping[str, Any]], writers: int) -> None:
        """Load a state, whatever the number of processes that wrote it.

        Args:
            common: State that all processes had in common.
            shares: States of single processes by rank: this one's, or all where the number of processes has changed.
            writers: Number of processes that wrote the state.
        """
        self.scaler.load_state_dict(dict(common["scaler"]))
        first = next(iter(shares.values()))
        state_dict.load_backbone(common, first["buffers"], self.backbone, self.optimiser)
        state_dict.load_classifier(shares, writers, self.num_classes, self.classifier, self.optimiser)


def _round_gradients(module: nn.Module) -> None:
    """Round gradients as DistributedDataParallel's float16 compression does, which a single process never enters."""
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


def _loss_scaler(recipe: Recipe, group: ProcessGroup) -> torch.amp.GradScaler:
    """Scaler of the loss; one that does nothing unless the precision is fp16."""
    half, interval = recipe.precision == "fp16", recipe.growth_interval
    if half and group.world_size > 1:
        # Imported where it is needed: it takes a second, which every training would wait for.
        from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

        return ShardedGradScaler(group.device.type, growth_interval=interval)
    return torch.amp.GradScaler(group.device.type, growth_interval=interval, enabled=half)


def _parameter_groups(recipe: Recipe, backbone: nn.Module, classifier: nn.Module) -> list[dict[str, Any]]:
    """Split parameters by whether weight decay acts on them; learned scalars of the head count as biases."""
    decay: list[Tensor] = []
    keep: list[Tensor] = []
    for parameter in classifier.parameters():
        (decay if parameter.ndim > 1 or recipe.optimiser.decay_norm_and_bias else keep).append(parameter)
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
