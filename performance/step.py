"""A training step without the adversary, with it as released, cleaned up, on the used quarter only, and in bfloat16.

``running`` is on the used quarter too, by batch norm's running statistics.

All variants do the same work of the optimiser on the same random batch; the difference is the adversary's. Rounds
alternate between the variants, so that a busy machine is unfair to none. Printed are medians over the rounds, and of
the ratios to the plain step of the same round their median and quartiles. On a busy machine time CPU seconds of one
thread (--clock cpu --threads 1): they leave out what others take.

A plain step is a forward pass and two backward passes of about the same cost, towards activations and towards weights.
The adversary adds a forward pass and one towards activations: 2/3 of a step, so 1.67 is the least on the whole batch
and 1.17 on a quarter of it, unless its passes are cheaper than the training's.

    python performance/step.py --arch r8s4 --batch 128
    python performance/step.py --arch mbf --batch 32 --rounds 6
    python performance/step.py --arch r50 --batch 16 --rounds 5
    python performance/step.py --arch r100 --batch 128 --device cuda --precision fp16
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from aroface.adversary.alignment import AlignmentAdversary
from aroface.device import keep_freed_memory
from aroface.heads.partial_fc import Classifier
from aroface.heads.registry import build as build_head
from aroface.models.registry import build, measure

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"options": "clean", "kind": "none"},
    "random": {"options": "clean", "kind": "random"},
    "official": {"options": "official"},
    "clean": {"options": "clean"},
    "clean, bf16": {"options": "clean", "precision": "bf16"},
    "subset": {"options": "clean", "adversary_on": "subset"},
    "running": {"options": "clean", "adversary_on": "subset", "statistics": "running"},
    "subset, bf16": {"options": "clean", "adversary_on": "subset", "precision": "bf16"},
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Stepper:
    """One network, its optimiser and one batch, and a step of any variant on them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = torch.device(arguments.device)
        self.dtype = DTYPES[arguments.precision]
        layout = torch.contiguous_format if arguments.channels_first else torch.channels_last
        self.backbone = build(arguments.arch).to(self.device, memory_format=layout).train()
        self.classifier = Classifier(arguments.classes, 512, build_head("arcface"), seed=0, device=self.device).train()
        images = torch.rand(arguments.batch, 3, 112, 112, device=self.device) * 2 - 1
        self.images = images.contiguous(memory_format=layout)
        self.labels = torch.randint(arguments.classes, (arguments.batch,), device=self.device)
        self.trained = [parameter for parameter in self.backbone.parameters() if parameter.requires_grad]
        parameters = [*self.trained, *self.classifier.parameters()]
        self.optimiser = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=arguments.precision == "fp16")
        self.adversaries = {name: AlignmentAdversary(**VARIANTS[name]) for name in ["plain", *arguments.variants]}

    def loss(self, images: Tensor, labels: Tensor, *, update_statistics: bool) -> Tensor:
        with nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype):
            embeddings = self.backbone(images)
        main = update_statistics
        loss: Tensor = self.classifier(embeddings, labels, update_statistics=main, weight_gradient=main)
        return self.scaler.scale(loss)

    def step(self, variant: str) -> None:
        def adversary_loss(warped: Tensor, rows: Tensor) -> Tensor:
            return self.loss(warped, self.labels[rows], update_statistics=False)

        batch = self.adversaries[variant].augment(
            self.images, self.labels, adversary_loss, self.backbone, torch.Generator(self.device).manual_seed(0)
        )
        self.optimiser.zero_grad(set_to_none=True)
        self.loss(batch.images, batch.labels, update_statistics=True).backward()
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.trained, 5.0)
        self.scaler.step(self.optimiser)
        self.scaler.update()


def seconds(work: Callable[[], None], arguments: argparse.Namespace) -> float:
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    began = clock()
    work()
    if arguments.device == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="r8s4")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10, help="measured steps of each variant, 2 or more")
    parser.add_argument(
        "--warmup", type=int, default=5, help="rounds before those: so long a process may take to own its memory"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=[*DTYPES], default="fp32")
    parser.add_argument(
        "--channels-first", action="store_true", help="images and weights as PyTorch lays them by itself"
    )
    variants = [name for name in VARIANTS if name != "plain"]
    parser.add_argument("--variants", nargs="+", choices=variants, default=variants, metavar="VARIANT")
    arguments = parser.parse_args()
    keep_freed_memory()  # as `aroface train` does
    torch.set_num_threads(arguments.threads)
    stepper = Stepper(arguments)
    times: dict[str, list[float]] = {variant: [] for variant in stepper.adversaries}
    for turn in range(-arguments.warmup, arguments.rounds):
        for variant, taken in times.items():
            took = seconds(lambda variant=variant: stepper.step(variant), arguments)
            if turn >= 0:
                taken.append(took)
    measures = measure(arguments.arch)
    print(
        f"{arguments.arch}: {measures.parameters / 1e6:.2f} M parameters, {measures.multiply_adds / 1e6:,.0f} M "
        f"multiply-adds; batch {arguments.batch}, {arguments.classes} classes, {arguments.device} "
        f"{arguments.precision}; {arguments.threads} threads, {arguments.clock} time"
    )
    print(f"{'variant':<14}{'ms':>10}{'images/s':>10}{'ratio':>8}   quartiles")
    for variant, taken in times.items():
        median = statistics.median(taken)
        ratios = [mine / plain for mine, plain in zip(taken, times["plain"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, method="inclusive")
        rates = f"{1000 * median:>10.1f}{arguments.batch / median:>10,.0f}{middle:>8.2f}"
        print(f"{variant:<14}{rates}   {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
