"""A training step without the adversary, with it as released, cleaned up, and on the used quarter only.

All variants do the same work of the optimiser on the same random batch; the difference is the adversary's. Rounds
alternate between the variants, so that a busy machine is unfair to none; medians over the rounds and their ratios to
the plain step are printed.

    python benchmarks/step.py --arch r8s4 --batch 128
    python benchmarks/step.py --arch mbf --batch 32 --rounds 5
    python benchmarks/step.py --arch r100 --batch 128 --device cuda --precision fp16
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aroface.heads.classifier import Classifier
from aroface.heads.registry import build as build_head
from aroface.models.registry import build, measure
from aroface.robustness.adversary import AlignmentAdversary
from aroface.robustness.options import AdversaryOptions

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"name": "clean", "kind": "none"},
    "random": {"name": "clean", "kind": "random"},
    "official": {"name": "official"},
    "clean": {"name": "clean"},
    "clean, subset": {"name": "clean", "adversary_on": "subset"},
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Stepper:
    """One network, its optimiser and one batch, and a step of any variant on them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = torch.device(arguments.device)
        self.dtype = DTYPES[arguments.precision]
        layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
        self.backbone = build(arguments.arch).to(self.device, memory_format=layout).train()
        generator = torch.Generator().manual_seed(0)
        margin = build_head("arcface")
        self.classifier = Classifier(arguments.classes, 512, margin, generator).to(self.device).train()
        images = torch.rand(arguments.batch, 3, 112, 112, device=self.device) * 2 - 1
        self.images = images.contiguous(memory_format=layout)
        self.labels = torch.randint(arguments.classes, (arguments.batch,), device=self.device)
        self.trained = [parameter for parameter in self.backbone.parameters() if parameter.requires_grad]
        parameters = [*self.trained, *self.classifier.parameters()]
        self.optimiser = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=arguments.precision == "fp16")
        self.adversaries = {
            name: AlignmentAdversary(AdversaryOptions.profile(**options)) for name, options in VARIANTS.items()
        }

    def loss(self, images: Tensor, labels: Tensor, *, update_statistics: bool) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            embeddings = self.backbone(images)
        loss: Tensor = self.classifier(embeddings, labels, update_statistics=update_statistics)
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


def seconds(work: Callable[[], None], device: str) -> float:
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="r8s4")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10, help="steps of each variant that are measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=[*DTYPES], default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    stepper = Stepper(arguments)
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for turn in range(-2, arguments.rounds):
        for variant in VARIANTS:
            taken = seconds(lambda variant=variant: stepper.step(variant), arguments.device)
            if turn >= 0:  # the first two rounds warm up
                times[variant].append(taken)
    measures = measure(arguments.arch)
    print(
        f"{arguments.arch}: {measures.parameters / 1e6:.2f} M parameters, {measures.multiply_adds / 1e6:,.0f} M "
        f"multiply-adds; batch {arguments.batch}, {arguments.classes} classes, {arguments.device} {arguments.precision}"
    )
    plain = statistics.median(times["plain"])
    print(f"{'variant':<14}{'ms':>10}{'images/s':>10}{'ratio':>8}")
    for variant, taken_by in times.items():
        median = statistics.median(taken_by)
        print(f"{variant:<14}{1000 * median:>10.1f}{arguments.batch / median:>10,.0f}{median / plain:>8.2f}")


if __name__ == "__main__":
    main()
